"""The blocks of GLA-GCN: adaptive graph convolution, AGCN block, strided module.

Feature maps are [N,C,T,V] (batch, channels, frames, joints), stored channels-last, in the order N,T,V,C.  Every
operation is then one aligned matrix product or one regular convolution, without reordering a map:

theta, phi   rows [R,C] times the poses of a window, [C, T*V]: stored as [R, T*V], so that their product sums over rows
             and frames together
aggregation  three graphs [3*V, V] times every pose [V,C]: stored as [V, 3*C]
mix          [T*V, 3*C] times [3*C, C']

On a GPU, bfloat16 products are fast if all rows that they read or write are multiples of 16 bytes.  Joints are
therefore padded with zeros to a multiple of 8 if a product sums over them (`padded`).
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from glagcn.model.layers import BatchNorm, Dropout, Folded
from glagcn.model.widths import TEMPORAL_KERNEL

NUM_SUBSETS = 3  # K of Eq. 2: the joint itself, inward neighbours, outward neighbours
ALIGNMENT = 8  # numbers of bfloat16 in 16 bytes


class Conv(nn.Conv2d):
    """A 2D convolution with a bias."""

    bias: nn.Parameter


class GraphLinear(nn.Module):
    """W_k and b_k of Eq. 2 for the three subsets.  Only the sum of the biases is used."""

    maps_features = True  # optimisers treat its weight as a matrix, like that of a PyTorch layer

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, NUM_SUBSETS, 1))
        self.bias = nn.Parameter(torch.zeros(NUM_SUBSETS, out_channels), requires_grad=False)  # see ConvNorm


class ConvNorm(nn.Sequential):
    """A convolution and its BatchNorm, which also handles the convolution's bias.

    The bias is not trained, because the batch mean cancels it.  It exists for published weights.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(Conv(in_channels, out_channels, 1), BatchNorm(out_channels))
        self.conv.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N,C,T,V] to features [N,C',T,V]."""
        conv, norm = self.conv, cast(BatchNorm | Folded, self[1])
        return norm(F.conv2d(x, matching(conv.weight, x), norm.layer_bias(conv.bias)), conv.bias)

    @property
    def conv(self) -> Conv:
        """The convolution."""
        return cast(Conv, self[0])


class AdaptiveGraphConv(nn.Module):
    """Adaptive graph convolution, Eq. 2: ReLU(dropout(BN(sum_k (A_k + B_k + C_k) f W_k)) + skip(f)).

    A is an argument of forward, B is `free_graph`, and C (Eq. 3) is computed from the data: `embed` contains theta and
    phi of the three subsets, in the order theta_1..3, phi_1..3.  The skip is the identity, or a 1x1 convolution with
    BatchNorm if the number of channels changes.
    """

    def __init__(self, in_channels: int, out_channels: int, num_joints: int, dropout: float):
        super().__init__()
        # A quarter of the output channels, or three if that is zero (the sequence head), as published.
        self.embed_channels = out_channels // 4 or 3
        self.mixes_first = out_channels < in_channels
        self.free_graph = nn.Parameter(torch.full((NUM_SUBSETS, num_joints, num_joints), 1e-6))
        self.embed = Conv(in_channels, 2 * NUM_SUBSETS * self.embed_channels, 1)
        self.mix = GraphLinear(in_channels, out_channels)
        self.bn: BatchNorm | Folded = BatchNorm(out_channels)
        self.dropout = Dropout(dropout)
        self.skip = nn.Identity() if in_channels == out_channels else ConvNorm(in_channels, out_channels)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """`padded` features [N,C,T,P] and the fixed graph A [3,V,V] to features [N,C',T,V]."""
        v = adjacency.shape[-1]
        theta, phi, offset, mixed = self._theta_phi(x)
        size = theta.shape[1] * theta.shape[2]
        scores = JointProducts.apply(phi.flatten(1, 2), theta.flatten(1, 2)).to(self.free_graph.dtype)
        scores = scores + offset.to(self.free_graph.dtype).sum(2)
        graph = self._graph(scores[:, :v, :v] / size, adjacency)
        bias = self.mix.bias.sum(0)
        mixed = self._aggregate_mixed(mixed, graph, bias) if self.mixes_first else self._mix_aggregated(x, graph, bias)
        return F.relu_(self.dropout(self.bn(mixed, bias)).add_(self.skip(x[..., :v])))

    def _theta_phi(self, x: Tensor) -> tuple[Tensor, ...]:
        """Apply all linear maps per joint to `padded` features [N,C,T,P] in one product.

        Returns for each subset theta and phi [N*3,e,T,P], the term of the scores from phi's bias [N*3,1,T,P], and the
        mix W f [N*3,C',T,P], or [N*3,0,T,P] if the aggregation comes first.  Theta's bias is not needed: it adds the
        same to all scores of a softmax.
        """
        n, _, t, p = x.shape
        weight = self.joint_rows(matching(self.embed.weight, x))
        rows = JointRows.apply(x, weight.flatten(0, 1).to(x.dtype)).view(n * NUM_SUBSETS, -1, t, p)
        size = self.embed_channels
        return rows.split([size, size, 1, rows.shape[1] - 2 * size - 1], dim=1)

    def joint_rows(self, embed: Tensor) -> Tensor:
        """The weights [3,R,C] of what `_theta_phi` returns, from those of theta and phi [2*3*e,C,1,1]."""
        theta, phi = embed.flatten(1).unflatten(0, (2, NUM_SUBSETS, -1))
        bias = self.embed.bias.unflatten(0, (2, NUM_SUBSETS, -1, 1))[1]
        parts = [theta, phi, (bias * theta).sum(1, keepdim=True)]
        if self.mixes_first:
            parts.append(self.mix.weight.squeeze(3).permute(2, 0, 1))
        return torch.cat(parts, dim=1)

    def _graph(self, scores: Tensor, adjacency: Tensor) -> Tensor:
        """The transposes [N,3,V,V] of the graphs A + B + C of Eq. 2; a column of a graph is a receiving joint.

        C, from scores [N*3,V,V] (Eq. 3), keeps the parameters' precision under autocast.
        """
        learned = torch.softmax(scores, dim=-1).unflatten(0, (-1, NUM_SUBSETS))
        return learned + (adjacency + self.free_graph).transpose(1, 2)

    def _mix_aggregated(self, x: Tensor, graph: Tensor, bias: Tensor) -> Tensor:
        """The sum over k of Eq. 2: aggregate the three maps, then mix them in one product over 3*C channels."""
        n, c, t, p = x.shape
        v = graph.shape[-1]
        # [N,V,3,V]: the three sums of a receiving joint are adjacent, as the mix needs them.
        gather = F.pad(graph.transpose(1, 2), (0, p - v)).to(x.dtype).reshape(n, NUM_SUBSETS * v, p)
        gather = gather[:, None].expand(-1, t, -1, -1).reshape(n * t, NUM_SUBSETS * v, p)
        aggregated = torch.bmm(gather, x.permute(0, 2, 3, 1).reshape(n * t, p, c)).view(n, t, v, NUM_SUBSETS * c)
        weight = matching(self.mix.weight, x).permute(0, 2, 3, 1).flatten(1)  # [C',3*C]
        if is_plain(x):  # on a CPU, convolutions are up to twice as fast as matrix products
            return F.conv2d(aggregated.permute(0, 3, 1, 2), weight[..., None, None], self.bn.layer_bias(bias))
        return F.linear(aggregated, weight, self.bn.layer_bias(bias)).permute(0, 3, 1, 2)

    def _aggregate_mixed(self, mixed: Tensor, graph: Tensor, bias: Tensor) -> Tensor:
        """The sum over k of Eq. 2 from mixed maps [N*3,C',T,P]; cheaper if C' < C."""
        p, v = mixed.shape[3], graph.shape[3]
        gather = F.pad(graph.flatten(0, 1), (0, p - v, 0, p - v)).transpose(1, 2)
        aggregated = torch.bmm(mixed.flatten(1, 2), gather.to(mixed.dtype)).view(mixed.shape)
        summed = aggregated.unflatten(0, (-1, NUM_SUBSETS))[..., :v].sum(1)
        layer_bias = self.bn.layer_bias(bias)
        return summed if layer_bias is None else summed + layer_bias.to(summed.dtype)[:, None, None]


class JointRows(torch.autograd.Function):
    """A linear map of every joint, W [R,C] times [C,T*P] for every window, stored row by row.

    It has its own backward pass because autograd would store the gradient of the map channels-first.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """x [N,C,T,P] and weight [R,C] to [N,R,T*P]."""
        ctx.save_for_backward(x, weight)
        return torch.bmm(weight.expand(x.shape[0], -1, -1), x.flatten(2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        """[N,R,T*P] to the gradients of x and weight."""
        x, weight = ctx.saved_tensors
        n, c, t, p = x.shape
        inputs = None
        if ctx.needs_input_grad[0]:
            inputs = torch.bmm(gradient.transpose(1, 2), weight.expand(n, -1, -1))  # [N,T*P,C]
            inputs = inputs.view(n, t, p, c).permute(0, 3, 1, 2)
        return inputs, torch.bmm(gradient, x.flatten(2).transpose(1, 2)).sum(0)


class JointProducts(torch.autograd.Function):
    """The products of all joints of one map with all joints of another.

    It has its own backward pass because autograd would store one of the gradients joints-first.
    """

    @staticmethod
    def forward(ctx: Any, phi: Tensor, theta: Tensor) -> Tensor:
        """phi and theta [M,R,P] to [M,P,P]; rows are phi's joints."""
        ctx.save_for_backward(phi, theta)
        return torch.bmm(phi.transpose(1, 2), theta)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """[M,P,P] to the gradients of phi and theta."""
        phi, theta = ctx.saved_tensors
        return torch.bmm(theta, gradient.transpose(1, 2)), torch.bmm(phi, gradient)


class AGCN(nn.Module):
    """AGCN(C, C', S): graph convolution, then temporal convolution over 9 frames with stride S, with a residual.

    dropout       dropout of the graph convolution.
    last_dropout  dropout of the block's output.
    residual      False: no residual (the strided unit has an outer one).
    activation    False: no final ReLU (the output of a head can be negative).
    coordinates   True: the input is 2D coordinates; see `split`.
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
        # The published weight is [C',C,1,9], frames last.
        self.temporal = Conv(out_channels, out_channels, kernel, stride=(1, stride), padding=padding)
        self.temporal.bias.requires_grad_(False)  # see ConvNorm
        self.bn: BatchNorm | Folded = BatchNorm(out_channels)
        self.dropout = Dropout(last_dropout)
        self.residual: nn.Module | None = None
        if residual:
            self.residual = nn.Identity() if in_channels == out_channels else ConvNorm(in_channels, out_channels)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Features [N,C,T,V] and the fixed graph A [3,V,V] to features [N,C',ceil(T/S),V]."""
        v = x.shape[3]
        x = padded(split(x) if self.coordinates else x)
        skip = None if self.residual is None else self.residual(x[..., :v])
        return self._temporal(self.graph_conv(x, adjacency), skip)

    def _temporal(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """The convolution over frames [N,C',T,V] to [N,C',ceil(T/S),V], and the residual."""
        weight, bias = self.temporal.weight.transpose(2, 3), self.temporal.bias
        if not is_plain(x):
            weight = weight.contiguous(memory_format=torch.channels_last)
        stride, padding = (self.temporal.stride[1], 1), (TEMPORAL_KERNEL // 2, 0)
        x = self.bn(F.conv2d(x, weight, self.bn.layer_bias(bias), stride, padding), bias)
        if skip is not None:
            x = x.add_(skip)
        return self.dropout(F.relu_(x) if self.activation else x)


class StridedModule(nn.Module):
    """Strided learning (section 3.2): AGCN(C, C, 1), then AGCN(C, C, w), with an outer residual.

    The outer residual is the centre frame of every group of w frames, or its last frame in a causal model; T becomes
    T/w.
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
        """Features [N,C,T,V] to features [N,C,T/w,V]."""
        skip = x[:, :, self.kept :: self.width]
        return self.reduce(self.spread(x, adjacency), adjacency) + skip


def padded(x: Tensor) -> Tensor:
    """[N,C,T,V] to [N,C,T,P]: pad joints with zeros to a multiple of 8, except for float32 on a CPU."""
    return x if is_plain(x) else F.pad(x, (0, -x.shape[3] % ALIGNMENT))


def split(x: Tensor) -> Tensor:
    """Input [N,2 or 3,T,V] as input channels: unchanged for float32 on a CPU, else 8 aligned channels.

    Under autocast, bfloat16 would round the coordinates of a 2048-pixel image to steps of several pixels.  Each
    number therefore becomes two: its rounded value and the rounding error.  `matching` makes the weights
    for these channels.
    """
    autocast = x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)
    rounded = x.to(torch.bfloat16) if autocast else x
    if is_plain(rounded):
        return x
    rest = (x - rounded).to(rounded.dtype)
    return F.pad(torch.cat([rounded, rest], dim=1), (0, 0, 0, 0, 0, ALIGNMENT - 2 * x.shape[1]))


def matching(weight: Tensor, x: Tensor) -> Tensor:
    """The weight [C',C,...] expanded to [C',8,...] if x is a map from `split`, else unchanged."""
    if weight.shape[1] == x.shape[1]:
        return weight
    rest = ALIGNMENT - 2 * weight.shape[1]
    return torch.cat([weight, weight, weight.new_zeros(len(weight), rest, *weight.shape[2:])], dim=1)


def is_plain(x: Tensor) -> bool:
    """Whether products of x need no alignment: float32 on a CPU."""
    return x.device.type in ("cpu", "meta") and x.dtype != torch.bfloat16
