"""What a CPU trains faster with: the operations of a block as autograd functions that make fewer passes over memory.

Each gives what the plain operations beside it give, to rounding.  The plain ones serve everywhere else: on a GPU, under
autocast and under torch.compile, which make passes of their own.  Feature maps are as in blocks.py.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from glagcn.model import filtering

NUM_SUBSETS = 3  # K of Eq. 2: the joint itself, inward neighbours, outward neighbours
# With AVX-512 oneDNN's convolutions run at twice the speed of matrix products; without it they fall behind, from
# WIDE channels on, and from FILTERED on the sums of minimal filtering cost less than the products that it saves.
PRODUCTS = not torch.backends.cpu.get_cpu_capability().startswith("AVX512")
WIDE, FILTERED = 64, 128
UNFOLDED_FLOATS = 1 << 22  # what a part of an unfolded map may hold: it should stay in the cache


def serves(x: Tensor) -> bool:
    """Whether the functions below are for x: in plain arithmetic on a CPU."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.is_autocast_enabled("cpu")


def by_products(channels: int) -> bool:
    """Whether matrix products are faster than oneDNN's convolutions and weight gradients."""
    return PRODUCTS and channels >= WIDE


def rows(x: Tensor) -> Tensor:
    """[N,C,V,T] as [N,V,T,C], which is how it lies in memory."""
    return x.permute(0, 2, 3, 1).contiguous()


def maps(x: Tensor) -> Tensor:
    """[N,V,T,C] as [N,C,V,T]."""
    return x.permute(0, 3, 1, 2)


class Scores(torch.autograd.Function):
    """The products of phi and theta, [3,N,V,V] with phi's joints first, which a 1x1 convolution embeds.

    Autograd would put the two gradients side by side in one pass and bring them into order in another.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x [N,C,V,T], weight [6*E,C,1,1] and bias [6*E], of theta_1..3 and phi_1..3, to [3,N,V,V]."""
        n, c, v, t = x.shape
        embedded = F.linear(rows(x), weight.flatten(1), bias) if by_products(c) else rows(F.conv2d(x, weight, bias))
        parts = embedded.view(n * v * t, 2 * NUM_SUBSETS, -1).transpose(0, 1).reshape(2, NUM_SUBSETS * n, v, -1)
        ctx.save_for_backward(x, weight, parts)
        return torch.bmm(parts[1], parts[0].transpose(1, 2)).view(NUM_SUBSETS, n, v, v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        """[3,N,V,V] to the gradients of forward's arguments."""
        x, weight, parts = ctx.saved_tensors
        n, c, v, t = x.shape
        gradient = gradient.reshape(-1, v, v)
        given = torch.empty_like(parts)
        torch.bmm(gradient.transpose(1, 2), parts[1], out=given[0])
        torch.bmm(gradient, parts[0], out=given[1])
        places = n * v * t
        given = given.view(2 * NUM_SUBSETS, places, -1).transpose(0, 1).reshape(places, -1)
        inputs = None
        if by_products(c):
            weights = (given.t() @ rows(x).view(places, c)).view_as(weight)
            inputs = maps((given @ weight.flatten(1)).view(n, v, t, c))
        else:
            embedded = maps(given.view(n, v, t, -1))
            weights = _weight_gradient(embedded, x, weight)
            if ctx.needs_input_grad[0]:
                inputs = _input_gradient(embedded, x, weight)
        return inputs, weights, given.sum(0)


def graph_mix(x: Tensor, gather: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x [N,C,V,T], gather [N,3*V,V], weight [C',C,3,1] and bias [C'] to [N,C',V,T]; see GraphMix.

    Where the mix leaves fewer channels, as in the sequence head, it comes before the aggregation.
    """
    n, c, v, t = x.shape
    if len(weight) < c:
        mixed = F.linear(rows(x), weight.permute(2, 0, 1, 3).reshape(-1, c)).view(n, v, t, NUM_SUBSETS, -1)
        mixed = mixed.permute(0, 3, 1, 2, 4).reshape(n, NUM_SUBSETS * v, -1)
        summed = torch.bmm(gather.view(n, NUM_SUBSETS, v, v).transpose(1, 2).reshape(n, v, -1), mixed)
        return maps(summed.view(n, v, t, -1) + bias)
    return maps(rows(GraphMix.apply(x, gather, weight, bias)).view(n, v, t, -1))


class GraphMix(torch.autograd.Function):
    """Aggregation over the three graphs and the mix of channels, with gradients as products over long rows.

    The three aggregated maps, [3,V*T] places each, are one image of three rows: a convolution with three taps over
    that is a third faster in oneDNN than one with taps V joints apart.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gather: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x [N,C,V,T], gather [N,3*V,V], weight [C',C,3,1] and bias [C'] to [N,C',1,V*T]."""
        n, c, v, t = x.shape
        flat = rows(x).view(n, v, t * c)
        taps = torch.bmm(gather, flat).view(n, NUM_SUBSETS, v * t, c)
        ctx.save_for_backward(flat, gather, taps, weight)
        ctx.shape = x.shape
        return F.conv2d(maps(taps), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
        """[N,C',1,V*T] to the gradients of forward's arguments."""
        flat, gather, taps, weight = ctx.saved_tensors
        n, c, v, t = ctx.shape
        gradient = rows(gradient)
        received = rows(_input_gradient(maps(gradient), maps(taps), weight)).view(n, NUM_SUBSETS * v, t * c)
        inputs = torch.bmm(gather.transpose(1, 2), received) if ctx.needs_input_grad[0] else None
        if by_products(c):
            outputs = gradient.squeeze(1).transpose(1, 2)
            products = [torch.bmm(outputs, taps[:, k]).sum(0) for k in range(NUM_SUBSETS)]
            weights = maps(torch.stack(products, dim=1).unsqueeze(2))
        else:
            weights = _weight_gradient(maps(gradient), maps(taps), weight)
        return (
            None if inputs is None else maps(inputs.view(n, v, t, c)),
            torch.bmm(flat, received.transpose(1, 2)).transpose(1, 2),
            weights,
            gradient.flatten(0, 2).sum(0),
        )


def temporal_conv(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """x [N,C,V,T], weight [C',C,1,9] and bias [C'] to [N,C',V,ceil(T/stride)].

    Without gradients always the plain one: what a window is lifted to does not depend on how many come with it.
    """
    c = x.shape[1]
    if stride == 1 and by_products(c) and c >= FILTERED and torch.is_grad_enabled() and filtering.pays(x):
        return maps(FilteredConv.apply(rows(x), weight, bias))
    return TemporalConv.apply(x, weight, bias, stride)


class FilteredConv(torch.autograd.Function):
    """The convolution over frames by minimal filtering, forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x [N,V,T,C], weight [C',C,1,9] and bias [C'] to [N,V,T,C']."""
        ctx.save_for_backward(x, weight)
        return filtering.convolve(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N,V,T,C'] to the gradients of forward's arguments."""
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        return (
            filtering.input_gradient(gradient, weight),
            filtering.weight_gradient(x, gradient),
            gradient.flatten(0, 2).sum(0),
        )


class TemporalConv(torch.autograd.Function):
    """The convolution over frames, with its weight gradient as a matrix product over unfolded frames where that is
    faster; where minimal filtering pays, by that."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        """x [N,C,V,T], weight [C',C,1,K] and bias [C'] to [N,C',V,ceil(T/stride)]."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = (1, stride), (0, weight.shape[3] // 2)
        return F.conv2d(x, weight, bias, ctx.stride, ctx.padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """[N,C',V,ceil(T/stride)] to the gradients of forward's arguments."""
        x, weight = ctx.saved_tensors
        gradient = maps(rows(gradient))
        inputs = _input_gradient(gradient, x, weight, ctx.stride, ctx.padding)
        if not by_products(weight.shape[1]):
            weights = _weight_gradient(gradient, x, weight, ctx.stride, ctx.padding)
        elif ctx.stride[1] == 1 and filtering.pays(x):
            weights = filtering.weight_gradient(rows(x), rows(gradient))
        else:
            weights = _unfolded_weight_gradient(gradient, x, weight, ctx.stride[1])
        return inputs, weights, rows(gradient).flatten(0, 2).sum(0), None


class Drop(torch.autograd.Function):
    """x where draws > threshold and 0 elsewhere, scaled, in x's own memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, draws: Tensor, threshold: float, scale: float) -> Tensor:
        """x and draws of the same shape, type and order in memory."""
        _pass_where(x, draws, threshold, scale)
        ctx.mark_dirty(x)
        ctx.save_for_backward(draws)
        ctx.threshold, ctx.scale = threshold, scale
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """The gradient where x was kept, scaled."""
        gradient = torch.ops.aten.threshold_backward(gradient, ctx.saved_tensors[0], ctx.threshold)
        return gradient if ctx.scale == 1 else gradient.mul_(ctx.scale), None, None, None


class ReluDrop(torch.autograd.Function):
    """ReLU, then Drop, in x's own memory; what is not 0 afterwards is what the gradient passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, draws: Tensor, threshold: float, scale: float) -> Tensor:
        """x and draws of the same shape, type and order in memory."""
        _pass_where(x.relu_(), draws, threshold, scale)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """The gradient where forward's result is not 0, scaled."""
        passed = torch.ops.aten.threshold_backward(gradient, ctx.saved_tensors[0], 0)
        return passed.mul_(ctx.scale), None, None, None


def _pass_where(x: Tensor, draws: Tensor, threshold: float, scale: float) -> None:
    torch.ops.aten.threshold_backward.grad_input(x, draws, threshold, grad_input=x)
    if scale != 1:
        x.mul_(scale)


def _unfolded_weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The gradient [C',C,1,K]: the sum over positions of gradient times the K frames that each saw."""
    out_channels, c, _, kernel = weight.shape
    n, _, v, t = x.shape
    padded = F.pad(rows(x), (0, 0, kernel // 2, kernel // 2)).view(n * v, t + kernel - 1, c)
    seen = padded.unfold(1, kernel, stride).transpose(2, 3)  # [N*V,T',K,C]
    outputs = rows(gradient).view(n * v, -1, out_channels)
    result = gradient.new_zeros(out_channels, kernel * c)
    size = max(1, UNFOLDED_FLOATS // (outputs.shape[1] * kernel * c))
    for part, output in zip(seen.split(size), outputs.split(size), strict=True):
        result.addmm_(output.reshape(-1, out_channels).t(), part.reshape(-1, kernel * c))
    return maps(result.view(out_channels, 1, kernel, c))


def _input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: Any = (1, 1), padding: Any = (0, 0)) -> Tensor:
    return _convolution_backward(gradient, x, weight, stride, padding, [True, False, False])[0]


def _weight_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Any = (1, 1), padding: Any = (0, 0)
) -> Tensor:
    return _convolution_backward(gradient, x, weight, stride, padding, [False, True, False])[1]


def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Any, padding: Any, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, [weight.shape[0]], stride, padding, (1, 1), False, [0, 0], 1, wanted
    )
