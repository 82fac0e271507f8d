"""The blocks of GLA-GCN: adaptive graph convolution, AGCN block, strided module, output layers.

Feature maps are [N,C,V,T] (batch, channels, joints, frames), stored channels-last, that is in the order N,V,T,C.
Then each pose graph acts on one matrix [V, T*C], each mix of channels is one matrix product over the last axis,
and no operation below has to reorder a feature map.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glagcn.model import host
from glagcn.model.dropout import Dropout
from glagcn.model.host import NUM_SUBSETS
from glagcn.widths import TEMPORAL_KERNEL


class SubsetMix(nn.Module):
    """The sum over k of W_k in Eq. 2: [N,C,3*V,T], the three aggregated maps one after the other, to [N,C',V,T].

    Three 1x1 convolutions that are summed equal one convolution along the joint axis with three taps, V joints apart;
    as such they are a single pass over the input.  Each W_k keeps its own bias, as published.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, NUM_SUBSETS, 1))
        self.bias = nn.Parameter(torch.zeros(NUM_SUBSETS, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """The sum over the subsets: [N,C,3*V,T] to [N,C',V,T]."""
        return F.conv2d(x, self.weight, self.bias.sum(0), dilation=(x.shape[2] // NUM_SUBSETS, 1))


class AdaptiveGraphConv(nn.Module):
    """Adaptive graph convolution, Eq. 2: ReLU(dropout(BN(sum_k (A_k + B_k + C_k) f W_k)) + skip(f)).

    A is given to forward, B is `free_graph`, C (Eq. 3) comes from the data: `embed` computes theta and phi of the
    three subsets at once, in the order theta_1..3, phi_1..3.  The skip is the identity, or a 1x1 convolution with
    BatchNorm where the number of channels changes.
    """

    def __init__(self, in_channels: int, out_channels: int, num_joints: int, dropout: float):
        super().__init__()
        # A quarter of the output channels, but three where that is nothing (the sequence head), as published.
        self.embed_channels = out_channels // 4 or 3
        self.free_graph = nn.Parameter(torch.full((NUM_SUBSETS, num_joints, num_joints), 1e-6))
        self.embed = nn.Conv2d(in_channels, 2 * NUM_SUBSETS * self.embed_channels, 1)
        self.mix = SubsetMix(in_channels, out_channels)
        self.bn = nn.BatchNorm2d(out_channels)
        self.dropout = Dropout(dropout)
        self.skip = nn.Identity() if in_channels == out_channels else _conv_bn(in_channels, out_channels)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Features [N,C,V,T] and the fixed graph A [3,V,V] to features [N,C',V,T]."""
        n, c, v, t = x.shape
        # A column of a graph is a receiving joint, so its transpose gathers: [3*V senders' sums] from [V joints].
        graph = (adjacency + self.free_graph).transpose(1, 2).unsqueeze(1) + self._attention(x)
        gather = graph.transpose(0, 1).reshape(n, NUM_SUBSETS * v, v)
        if host.serves(x):
            mixed = host.graph_mix(x, gather, self.mix.weight, self.mix.bias.sum(0))
            return F.relu_(self.dropout.after_norm(self.bn, mixed).add_(self.skip(x)))
        aggregated = torch.bmm(gather, x.permute(0, 2, 3, 1).reshape(n, v, t * c))
        mixed = self.mix(aggregated.view(n, NUM_SUBSETS * v, t, c).permute(0, 3, 1, 2))
        return F.relu_(self.dropout(self.bn(mixed)).add_(self.skip(x)))

    def _attention(self, x: Tensor) -> Tensor:
        """The transposes of the data-dependent graphs C of Eq. 3, [3,N,V,V]; each row sums to 1.

        The softmax keeps the parameters' precision under autocast.
        """
        n, _, v, t = x.shape
        size = self.embed_channels * t
        if host.serves(x):
            scores = host.Scores.apply(x, self.embed.weight, self.embed.bias)
        else:
            parts = self.embed(x).permute(0, 2, 3, 1).reshape(n, v, t, 2, NUM_SUBSETS, self.embed_channels)
            theta, phi = parts.permute(3, 4, 0, 1, 2, 5).reshape(2, NUM_SUBSETS, n, v, size)
            scores = phi @ theta.transpose(-1, -2)
        return torch.softmax(scores.to(self.free_graph.dtype) / size, dim=-1)


class AGCN(nn.Module):
    """AGCN(C, C', S): graph convolution, then a temporal convolution over 9 frames with stride S, in a residual.

    dropout       of the graph convolution.
    last_dropout  of the block's output.
    residual      False leaves out the residual (the strided unit, which has an outer one).
    activation    False leaves out the last ReLU (a head, whose output may be negative).
    coordinates   True for the block that reads 2D coordinates: under autocast it reads them in float32, because
                  the 8 bits of bfloat16 would round a 2048-pixel image to steps of several pixels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_joints: int,
        *,
        stride: int = 1,
        dropout: float = 0.1,
        last_dropout: float = 0.0,
        residual: bool = True,
        activation: bool = True,
        coordinates: bool = False,
    ):
        super().__init__()
        kernel, padding = (1, TEMPORAL_KERNEL), (0, TEMPORAL_KERNEL // 2)
        self.activation = activation
        self.coordinates = coordinates
        self.graph_conv = AdaptiveGraphConv(in_channels, out_channels, num_joints, dropout)
        self.temporal = nn.Conv2d(out_channels, out_channels, kernel, stride=(1, stride), padding=padding)
        self.bn = nn.BatchNorm2d(out_channels)
        self.dropout = Dropout(last_dropout)
        self.residual: nn.Module | None = None
        if residual:
            same = in_channels == out_channels and stride == 1
            self.residual = nn.Identity() if same else _conv_bn(in_channels, out_channels, stride)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Features [N,C,V,T] and the fixed graph A [3,V,V] to features [N,C',V,ceil(T/S)]."""
        with full_precision(x) if self.coordinates else nullcontext():
            skip = None if self.residual is None else self.residual(x)
            x = self.graph_conv(x, adjacency)
        if host.serves(x):
            x = host.temporal_conv(x, self.temporal.weight, self.temporal.bias, self.temporal.stride[1])
        else:
            x = self.temporal(x)
        x = self.bn(x)
        if skip is not None:
            x = x.add_(skip)  # in x's type: under autocast the first skip is float32, and all maps after it would be
        return self.dropout.after_relu(x) if self.activation else self.dropout(x)


class StridedModule(nn.Module):
    """Strided learning (section 3.2): AGCN(C, C, 1), then AGCN(C, C, w), with an outer residual.

    The outer residual is the centre of every group of w frames, in a causal model its last frame; T becomes T/w.
    """

    def __init__(self, channels: int, num_joints: int, width: int, dropout: float, causal: bool = False):
        super().__init__()
        self.width = width
        self.kept = width - 1 if causal else width // 2
        self.spread = AGCN(channels, channels, num_joints, dropout=dropout, last_dropout=dropout)
        self.reduce = AGCN(
            channels, channels, num_joints, stride=width, dropout=dropout, last_dropout=dropout, residual=False
        )

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Features [N,C,V,T] to features [N,C,V,T/w]."""
        skip = x[..., self.kept :: self.width]
        return self.reduce(self.spread(x, adjacency), adjacency) + skip


def full_precision(x: Tensor) -> AbstractContextManager:
    """A context in which autocast is off on x's device; x itself must be float32 already."""
    return torch.autocast(x.device.type, enabled=False) if x.device.type != "meta" else nullcontext()


def _conv_bn(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride=(1, stride)), nn.BatchNorm2d(out_channels))
