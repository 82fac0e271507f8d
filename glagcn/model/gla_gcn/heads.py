"""Output layers, from the features of a joint to its 3D position (Eq. 5 and 6), and the sequence head."""

import math

import torch
from torch import Tensor, nn

from glagcn.model.gla_gcn.blocks import AGCN
from glagcn.model.layers import without_autocast

HEADS = {"unshared": 1.0, "shared": 0.0, "mixed": 0.5}  # the share of the unshared layer


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

    kind  "unshared": one linear layer per joint (Eq. 5); "shared": one for all joints (Eq. 6); "mixed": the mean of
          both.  Their shares are fixed, because learned ones would only rescale learned weights.

    The head ignores autocast: bfloat16 would round one metre to steps of 4 mm.
    """

    def __init__(self, channels: int, num_joints: int, kind: str):
        super().__init__()
        if kind not in HEADS:
            raise ValueError(f"unknown head {kind!r}: must be one of {', '.join(HEADS)}")
        self.mix = HEADS[kind]
        self.unshared = UnsharedLinear(channels, num_joints) if kind != "shared" else None
        self.shared = nn.Linear(channels, 3) if kind != "unshared" else None

    def forward(self, x: Tensor) -> Tensor:
        """Features [N,C,T,V] to positions [N,T,V,3] in metres."""
        x = x.permute(0, 2, 3, 1).to(next(self.parameters()).dtype)
        with without_autocast(x):
            outputs = [] if self.unshared is None else [self.unshared(x)]
            if self.shared is not None:
                outputs.append(_outputs(x, self.shared.weight.t(), self.shared.bias))
            return outputs[0] if len(outputs) == 1 else self.mix * outputs[0] + (1 - self.mix) * outputs[1]


class SequenceHead(nn.Module):
    """The head of the global loss (section 3.1): AGCN(C, 3, 1), then a linear output layer.

    The paper's head is AGCN(C, 3, 1) alone, which ends in a ReLU and cannot output negative coordinates.  Here the
    block has no final ReLU, and a JointHead adds a scale and a bias.
    """

    def __init__(self, channels: int, num_joints: int, kind: str, dropout: float):
        super().__init__()
        self.block = AGCN(channels, 3, num_joints, dropout=dropout, activation=False)
        self.output = JointHead(3, num_joints, kind)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Features [N,C,V,T] and the fixed graph [3,V,V] to positions [N,T,V,3] in metres."""
        return self.output(self.block(x, adjacency))


def _outputs(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x [...,C] times weight [...,C,3] plus bias [...,3], computed as sums.

    A matrix product with rows of three numbers is slow on a GPU; the sums cost less than one pass over x.
    """
    return (x.unsqueeze(-1) * weight).sum(-2) + bias
