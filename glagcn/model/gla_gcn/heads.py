"""Weight initialisation: as published, and the tuned one, which learns faster."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from glagcn.model.gla_gcn.blocks import AGCN, NUM_SUBSETS, AdaptiveGraphConv, Conv, GraphLinear
from glagcn.model.interface import BatchNorm, check_mean_pose
from glagcn.model.pose_input import full_precision
from glagcn.skeletons import Skeleton

# ---- Output layers, from the features of a joint to its 3D position (Eq. 5 and 6), and the sequence head.


HEADS = ("unshared", "shared", "mixed")


class UnsharedLinear(nn.Module):
    """One linear layer per joint, Eq. 5: [N,T,V,C] to [N,T,V,3]."""

    def __init__(self, channels: int, num_joints: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_joints, channels, 3))
        self.bias = nn.Parameter(torch.empty(num_joints, 3))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise every joint's layer like a linear layer of PyTorch."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N,T,V,C] to positions [N,T,V,3]."""
        return _outputs(x, self.weight, self.bias)


class JointHead(nn.Module):
    """Features [N,C,T,V] to positions [N,T,V,3] in metres.

    kind  "unshared": one linear layer per joint (Eq. 5); "shared": one for all joints (Eq. 6); "mixed": mix * unshared
          + (1 - mix) * shared.  The mix is fixed, because a learned one would only rescale learned weights.

    The head ignores autocast: bfloat16 would round one metre to steps of 4 mm.
    """

    def __init__(self, channels: int, num_joints: int, kind: str, mix: float = 0.5):
        super().__init__()
        if kind not in HEADS:
            raise ValueError(f"unknown head {kind!r}: must be one of {', '.join(HEADS)}")
        if not 0 < mix < 1:
            raise ValueError(f"invalid mix {mix}: must be between 0 and 1")
        self.mix = {"unshared": 1.0, "shared": 0.0, "mixed": mix}[kind]
        self.unshared = UnsharedLinear(channels, num_joints) if kind != "shared" else None
        self.shared = nn.Linear(channels, 3) if kind != "unshared" else None

    def forward(self, x: Tensor) -> Tensor:
        """Features [N,C,T,V] to positions [N,T,V,3] in metres."""
        x = x.permute(0, 2, 3, 1).to(next(self.parameters()).dtype)
        with full_precision(x):
            outputs = [] if self.unshared is None else [self.unshared(x)]
            if self.shared is not None:
                outputs.append(_outputs(x, self.shared.weight.t(), self.shared.bias))
            return outputs[0] if len(outputs) == 1 else self.mix * outputs[0] + (1 - self.mix) * outputs[1]


class SequenceHead(nn.Module):
    """The head of the global loss (section 3.1): AGCN(C, 3, 1), then a linear output layer.

    The paper's head is AGCN(C, 3, 1) alone, which ends in a ReLU and cannot output negative coordinates.  Here the
    block has no final ReLU, and a JointHead adds a scale and a bias.
    """

    def __init__(self, channels: int, num_joints: int, kind: str, mix: float, dropout: float):
        super().__init__()
        self.block = AGCN(channels, 3, num_joints, dropout=dropout, activation=False)
        self.output = JointHead(3, num_joints, kind, mix)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Features [N,C,V,T] and the fixed graph [3,V,V] to positions [N,T,V,3] in metres."""
        return self.output(self.block(x, adjacency))


def _outputs(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x [...,C] times weight [...,C,3] plus bias [...,3], computed as sums.

    A matrix product with rows of three numbers is slow on a GPU; the sums cost less than one pass over x.
    """
    return (x.unsqueeze(-1) * weight).sum(-2) + bias


# ---- Weight initialisation: as published, and the tuned one, which learns faster.


OUTPUT_SCALE = 0.1  # factor on the output layers' weights in the tuned initialisation


@torch.no_grad()
def init_published(model: nn.Module) -> None:
    """Initialise as the published code does.

    2D convolutions: Kaiming normal over the fan-out, bias 0.  W_k: normal with variance 2 / (C' * C * 3), bias 0.
    B: 1e-6.  BatchNorm: gamma 1 (in graph convolutions 1e-6), beta 0.  Output layers: PyTorch's default.
    """
    for module in model.modules():
        if isinstance(module, Conv):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
        elif isinstance(module, GraphLinear):
            out_channels, in_channels = module.weight.shape[:2]
            nn.init.normal_(module.weight, std=math.sqrt(2 / (out_channels * in_channels * NUM_SUBSETS)))
            nn.init.zeros_(module.bias)
        elif isinstance(module, BatchNorm | UnsharedLinear | nn.Linear):
            module.reset_parameters()
    for module in model.modules():
        if isinstance(module, AdaptiveGraphConv):
            # The published code has six convolutions, each with a sixth of the fan-out of the fused one.
            nn.init.normal_(module.embed.weight, std=math.sqrt(2 / module.embed_channels))
            nn.init.constant_(module.free_graph, 1e-6)
            nn.init.constant_(cast(BatchNorm, module.bn).weight, 1e-6)


@torch.no_grad()
def init_tuned(model: nn.Module, skeleton: Skeleton, mean_pose: Tensor) -> None:
    """Initialise as published, but with active graph convolutions and an output near the mean training pose.

    mean_pose  [V,3] metres relative to the root, the mean over the training frames.

    The BatchNorm of graph convolutions has gamma 1.  The weights of output layers are multiplied by 0.1, and their bias
    is the mean pose; a shared layer has one bias for all joints, the mean over joints.
    Raises ValueError if mean_pose has another shape.
    """
    check_mean_pose(skeleton, mean_pose)
    init_published(model)
    for module in model.modules():
        if isinstance(module, AdaptiveGraphConv):
            nn.init.ones_(cast(BatchNorm, module.bn).weight)
        elif isinstance(module, JointHead):
            _start_at(module, mean_pose)


def _start_at(head: JointHead, mean_pose: Tensor) -> None:
    """Make a head predict about `mean_pose` [V,3] for any input."""
    layers = [layer for layer in (head.unshared, head.shared) if layer is not None]
    for layer in layers:
        layer.weight.mul_(OUTPUT_SCALE)
    if head.shared is not None:
        head.shared.bias.copy_(mean_pose.mean(dim=0))
    if head.unshared is not None:
        # In a mixed head, the unshared bias adds the part that the shared bias cannot represent.
        rest = mean_pose if head.shared is None else mean_pose - (1 - head.mix) * mean_pose.mean(dim=0)
        head.unshared.bias.copy_(rest / head.mix)
