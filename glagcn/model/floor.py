"""The floor: the fewest operations and bytes that the model needs, and how long they take at this machine's peaks.

It is a bound, not a plan: whatever is done, each of these operations and each of these bytes has to be paid for.

    seconds = max(operations / peak of a matrix product, bytes / peak of a copy)

One block, C to C' channels over T frames and V joints with stride S, K = 3 subsets, e = C' // 4 embedding channels:

    operations, forward   two per multiplication and addition:
        theta and phi     2 T V C 2Ke        their product       2 K V V e T
        aggregation       2 K V V T min(C, C'), before or after the mix, whichever is less
        mix (W)           2 K T V C C'       temporal            2 9 (T/S) V C' C'
        1x1 convolutions of skip and residual, where there are any
    numbers moved, forward in training   the statistics of a BatchNorm are known only when its whole input is, so each
        block writes the inputs of its two and reads them again; everything else is done on the way:
        read f twice (graph, skip), and once more for a residual; write and read the mix, T V C'; write and read
        the temporal map and write the result, 3 (T/S) V C'
    numbers moved, forward in evaluation   BatchNorm is part of the convolutions: read f, write the result

The backward pass needs twice the operations (gradients of inputs and of weights) and moves twice the numbers (every
map again, and its gradient as often).  The optimiser, Adam with amsgrad, reads and writes 9 numbers a weight, and
the gradient is written once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from glagcn.model.fold_batchnorm import folded
from glagcn.model.network import LiftingNetwork
from glagcn.widths import TEMPORAL_KERNEL

SUBSETS = 3
OPTIMISER_NUMBERS = 10  # per weight: read weight, gradient, 3 moments; write weight, 3 moments; and the gradient once
BACKWARD = 2  # times the forward pass


@dataclass(frozen=True)
class Peaks:
    """The best this machine does with the threads of one process, or with its GPU.

    flops  floating-point operations per second of a large matrix product in the precision of training.
    bytes  bytes per second read and written by a copy much larger than the caches.
    """

    flops: float
    bytes: float


@dataclass(frozen=True)
class Block:
    """The shape of an AGCN block; see the module."""

    before: int
    after: int
    frames: int
    joints: int
    stride: int = 1
    residual: bool = True

    @property
    def flops(self) -> int:
        """Operations of one window forward."""
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
        """Numbers of one window that are moved forward."""
        places, left = self.frames * self.joints, self.frames // self.stride * self.joints
        if not training:
            return places * self.before + left * self.after
        return (2 + self.residual) * places * self.before + 2 * places * self.after + 3 * left * self.after


@dataclass(frozen=True)
class Cost:
    """What some work needs at least: floating-point operations, and bytes moved."""

    flops: int
    bytes: int

    def seconds(self, peaks: Peaks) -> float:
        """The least time at these peaks."""
        return max(self.flops / peaks.flops, self.bytes / peaks.bytes)


def blocks(model: LiftingNetwork) -> Iterator[Block]:
    """The blocks of a model, input first."""
    channels, joints, frames = model.channels, model.skeleton.num_joints, model.frames
    yield Block(2, channels, frames, joints)
    for _ in model.sequence:
        yield Block(channels, channels, frames, joints)
    if model.sequence_head is not None:
        yield Block(channels, 3, frames, joints)
    for width in model.widths:
        yield Block(channels, channels, frames, joints)
        yield Block(channels, channels, frames, joints, stride=width, residual=False)
        frames //= width


def forward_flops(model: LiftingNetwork) -> int:
    """Operations of lifting one window: the blocks and the output layers."""
    layers = 2 if model.head_kind == "mixed" else 1
    heads = model.channels + (3 * model.frames if model.sequence_head is not None else 0)
    return sum(block.flops for block in blocks(model)) + 2 * 3 * layers * model.skeleton.num_joints * heads


def training_cost(model: LiftingNetwork, windows: int, number_bytes: int = 4) -> Cost:
    """One optimiser step on `windows` windows; feature maps hold numbers of `number_bytes` (bfloat16: 2)."""
    weights = sum(weight.numel() for weight in model.parameters())
    moved = sum(block.numbers(training=True) for block in blocks(model))
    return Cost(
        flops=(1 + BACKWARD) * forward_flops(model) * windows,
        bytes=(1 + BACKWARD) * moved * windows * number_bytes + OPTIMISER_NUMBERS * 4 * weights,
    )


def evaluation_cost(model: LiftingNetwork, windows: int, flip: bool) -> Cost:
    """Lifting `windows` windows in float32 without the sequence head, and their mirror images where `flip`."""
    model = folded(model)
    lifted = windows * (2 if flip else 1)
    moved = sum(block.numbers(training=False) for block in blocks(model))
    return Cost(flops=forward_flops(model) * lifted, bytes=moved * lifted * 4)


def input_cost(model: LiftingNetwork, windows: int) -> Cost:
    """Making `windows` windows: every number of inputs and targets read once and written once."""
    joints = 2 * model.skeleton.num_input_joints + 3 * model.skeleton.num_joints
    return Cost(flops=0, bytes=2 * 4 * windows * model.frames * joints)
