"""Make a network faster for prediction: drop the sequence head, and fold BatchNorm into convolutions."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from glagcn.model.gla_gcn.blocks import AGCN, AdaptiveGraphConv, Conv, ConvNorm, SubsetMix
from glagcn.model.norm import BatchNorm, Folded

Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def folded(model: Network) -> Network:
    """A faster copy of `model` in eval mode that predicts the same center up to rounding; `model` is not changed.

    It has no sequence head, whose output only the loss uses.  Weights are folded in float64 and rounded once.
    """
    result = copy.deepcopy(model).eval()
    result.sequence_head = None  # type: ignore[assignment]
    for module in result.modules():
        if isinstance(module, AdaptiveGraphConv):
            _fold(module.mix, module.bn)
            module.bn = Folded()
        elif isinstance(module, AGCN):
            _fold(module.temporal, module.bn)
            module.bn = Folded()
        elif isinstance(module, ConvNorm):
            _fold(module.conv, module[1])
            module[1] = Folded()
    return result


def _fold(layer: Conv | SubsetMix, norm: nn.Module) -> None:
    """Fold the scale and shift of `norm` into `layer`; a SubsetMix has three biases, of which the sum counts."""
    assert isinstance(norm, BatchNorm), "a model is folded once"
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    shift = norm.bias.double() - norm.running_mean.double() * scale
    bias = layer.bias.double() * scale
    first = bias[0] if bias.dim() == 2 else bias
    first += shift
    _set(layer.weight, layer.weight.double() * scale.view(-1, 1, 1, 1))
    _set(layer.bias, bias)


def _set(parameter: Tensor, value: Tensor) -> None:
    parameter.copy_(value.to(parameter.dtype))
