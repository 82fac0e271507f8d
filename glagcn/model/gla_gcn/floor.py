"""The minimum operations and numbers moved of a GLA-GCN, for its roofline.

One block, C to C' channels over T frames and V joints with stride S, K = 3 subsets, e = C' // 4 embedding channels:

    operations, forward   two per multiplication and addition:
        theta and phi     2 T V C 2Ke        their product       2 K V V e T
        aggregation       2 K V V T min(C, C'), before or after the mix, whichever is less
        mix (W)           2 K T V C C'       temporal            2 9 (T/S) V C' C'
        1x1 convolutions of skip and residual, if any
    numbers moved, forward in training   a BatchNorm needs its whole input for its statistics, so the inputs of both
        BatchNorms of a block are written and read again; all other operations are fused:
        read f twice (graph, skip), and once more for a residual; write and read the mix, T V C'; write and read
        the temporal map and write the result, 3 (T/S) V C'
    numbers moved, forward in evaluation   BatchNorm is folded into the convolutions: read f, write the result
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from glagcn.model.interface import Floor
from glagcn.widths import TEMPORAL_KERNEL

SUBSETS = 3


@dataclass(frozen=True)
class Block:
    """The shape of an AGCN block."""

    before: int
    after: int
    frames: int
    joints: int
    stride: int = 1
    residual: bool = True

    @property
    def flops(self) -> int:
        """Operations of the forward pass of one window."""
        places, left = self.frames * self.joints, self.frames // self.stride * self.joints
        embedding = self.after // 4 or 3
        pairs = SUBSETS * self.joints**2 * self.frames
        total = 2 * places * self.before * 2 * SUBSETS * embedding  # theta, phi
        total += 2 * pairs * embedding
        total += 2 * pairs * min(self.before, self.after)
        total += 2 * SUBSETS * places * self.before * self.after
        total += 2 * TEMPORAL_KERNEL * left * self.after**2
        if self.before != self.after:
            total += 2 * places * self.before * self.after
            total += 2 * left * self.before * self.after * self.residual
        return total

    def numbers(self, training: bool) -> int:
        """Numbers moved by the forward pass of one window."""
        places, left = self.frames * self.joints, self.frames // self.stride * self.joints
        if not training:
            return places * self.before + left * self.after
        return (2 + self.residual) * places * self.before + 2 * places * self.after + 3 * left * self.after


def blocks(model: Any) -> Iterator[Block]:
    """The blocks of a model, from input to output."""
    channels, joints, frames = model.channels, model.skeleton.num_joints, model.frames
    yield Block(len(model.input), channels, frames, joints)
    for _ in model.sequence:
        yield Block(channels, channels, frames, joints)
    if model.sequence_head is not None:
        yield Block(channels, 3, frames, joints)
    for width in model.widths:
        yield Block(channels, channels, frames, joints)
        yield Block(channels, channels, frames, joints, stride=width, residual=False)
        frames //= width


def forward_flops(model: Any) -> int:
    """Operations of the forward pass of one window: the blocks and the output layers."""
    layers = 2 if model.head_kind == "mixed" else 1
    heads = model.channels + (3 * model.frames if model.sequence_head is not None else 0)
    return sum(block.flops for block in blocks(model)) + 2 * 3 * layers * model.skeleton.num_joints * heads


def network_floor(model: Any, training: bool) -> Floor:
    """The operations and numbers of the forward pass of one window of a LiftingNetwork."""
    return Floor(forward_flops(model), sum(block.numbers(training) for block in blocks(model)))
