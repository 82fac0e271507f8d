"""The names and shapes of the weights of the published code, and their places in our weights.

The published S-AGCN has one module per subset and factor; ours stores them in one tensor.  Each published tensor is
therefore a slice of one of ours, and both forms contain the same numbers.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from glagcn.errors import UserError
from glagcn.model.gla_gcn.blocks import AGCN, NUM_SUBSETS, AdaptiveGraphConv, StridedModule
from glagcn.model.network import LiftingNetwork

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
CONVOLUTION = ("weight", "bias")
INPUT_NORM = "data_bn."


def published_state(content: Any, path: Path) -> dict[str, Tensor]:
    """The weights in the `content` of a published file: a state dict, or one under "model_pos"; without "module.".

    Raises UserError that names `path` if there are none.
    """
    state = content.get("model_pos", content) if isinstance(content, Mapping) else None
    if not state or not isinstance(state, Mapping):
        raise UserError(f"{path}: no weights found; must be a state dict, or a dict with one under 'model_pos'")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UserError(f"{path}: not a state dict: the entry {name!r} is not a named tensor")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
            raise UserError(f"{path}: the weights {name!r} are not a plain tensor of real numbers; use another file")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


class Place(NamedTuple):
    """The place of a published tensor: `name` in our state dict, slice `part` of it, and its published `shape`."""

    name: str
    part: tuple[int | slice, ...]
    shape: tuple[int, ...]

    def of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The published tensor's values in `tensors` (our weights, or their gradients), in its published shape."""
        return tensors[self.name][self.part].reshape(self.shape)


def published_places(model: LiftingNetwork) -> dict[str, Place]:
    """The place of every published tensor, by published name without "module.".

    Raises UserError for a model without a published form: with a sequence stage or an unshared head.
    """
    if len(model.sequence) or model.head.unshared is not None:
        raise UserError("only a model without sequence layers and with a shared head has a published form")
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    pairs = [] if model.input_norm is None else _copies("input_norm", INPUT_NORM, BATCH_NORM)
    places = {theirs: Place(ours, (), shapes[ours]) for ours, theirs in pairs}
    places |= _block(model.expand, "expand", "expand_gcn.", shapes)
    for number, module in enumerate(model.strided):
        assert isinstance(module, StridedModule)
        places |= _block(module.spread, f"strided.{number}.spread", f"layers_tcngcn.{2 * number}.", shapes)
        places |= _block(module.reduce, f"strided.{number}.reduce", f"layers_tcngcn.{2 * number + 1}.", shapes)
    places["fc.weight"] = Place("head.shared.weight", (), (3, model.channels, 1))
    places["fc.bias"] = Place("head.shared.bias", (), (3,))
    return places


def published_weights(model: LiftingNetwork) -> dict[str, Tensor]:
    """Copies of the weights of `model`, with published names and shapes."""
    state = model.state_dict()
    return {name: place.of(state).clone() for name, place in published_places(model).items()}


@torch.no_grad()
def load_published_weights(model: LiftingNetwork, weights: Mapping[str, Tensor], source: str) -> None:
    """Copy published weights (names without "module.") into `model`.

    The input normalisation of a model with a joint map is left out, because it was never applied.
    Raises UserError that names `source`, the tensor and both shapes for missing, unexpected or misshapen tensors; the
    model is then unchanged.
    """
    places = published_places(model)
    if model.input_norm is None:
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith(INPUT_NORM)}
    for name in sorted(places.keys() | weights.keys()):
        problem = _problem(name, places.get(name), weights.get(name))
        if problem:
            raise UserError(f"{source}: {problem}; {_hint(name, weights, model)}")
    state = model.state_dict()
    for name, place in places.items():
        target = state[place.name]
        target[place.part] = weights[name].reshape(target[place.part].shape).to(target.dtype)


def count_widths(weights: Mapping[str, Tensor]) -> int:
    """The number of filter widths of published weights; each has two blocks in layers_tcngcn."""
    return sum(name.startswith("layers_tcngcn.") and name.endswith(".PA") for name in weights) // 2


def _problem(name: str, place: Place | None, tensor: Tensor | None) -> str | None:
    """What is wrong with the weights called `name`; None if they match."""
    if tensor is None:
        return f"the weights {name!r} {list(place.shape) if place else ''} are missing"
    if place is None:
        return f"unexpected weights {name!r} {list(tensor.shape)}"
    if tuple(tensor.shape) != place.shape:
        return f"the weights {name!r} have shape {list(tensor.shape)}, expected {list(place.shape)}"
    return None


def _hint(name: str, weights: Mapping[str, Tensor], model: LiftingNetwork) -> str:
    """Advice for `weights` that do not match the model in the tensor called `name`."""
    if name.startswith(INPUT_NORM) or name == "expand_gcn.gcn1.PA":
        return "its size follows from the joints: choose the skeleton the file was trained with (skeleton=)"
    widths, parts = count_widths(weights), []
    channels = weights["fc.weight"].shape[1] if "fc.weight" in weights and weights["fc.weight"].dim() > 1 else None
    if (widths, channels) == (len(model.widths), model.channels):
        return "no flag helps: the file is incomplete, or contains another network than the published S-AGCN"
    if widths:
        parts.append(f"{widths} filter widths, such as -arc {','.join('3' * widths)}")
    if channels is not None:
        parts.append(f"--channel {channels}")
    return f"the file has {' and '.join(parts)}" if parts else "the file is not a published S-AGCN"


def _copies(ours: str, theirs: str, parts: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(f"{ours}.{part}", f"{theirs}{part}") for part in parts]


def _block(block: AGCN, ours: str, theirs: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Place]:
    """The places of one AGCN block, whose names start with `ours` here and with `theirs` in the published code."""
    graph = f"{ours}.graph_conv"
    pairs = [(f"{graph}.free_graph", f"{theirs}gcn1.PA")]
    pairs += _copies(f"{graph}.bn", f"{theirs}gcn1.bn.", BATCH_NORM)
    pairs += _copies(f"{ours}.temporal", f"{theirs}tcn1.conv.", CONVOLUTION)
    pairs += _copies(f"{ours}.bn", f"{theirs}tcn1.bn.", BATCH_NORM)
    if f"{graph}.skip.0.weight" in shapes:
        pairs += _copies(f"{graph}.skip.0", f"{theirs}gcn1.down.0.", CONVOLUTION)
        pairs += _copies(f"{graph}.skip.1", f"{theirs}gcn1.down.1.", BATCH_NORM)
    if f"{ours}.residual.0.weight" in shapes:
        pairs += _copies(f"{ours}.residual.0", f"{theirs}residual.conv.", CONVOLUTION)
        pairs += _copies(f"{ours}.residual.1", f"{theirs}residual.bn.", BATCH_NORM)
    places = {name: Place(our_name, (), shapes[our_name]) for our_name, name in pairs}
    # Joints and frames are swapped in the published feature maps and therefore in the kernel.
    places[f"{theirs}tcn1.conv.weight"] = Place(f"{ours}.temporal.weight", (), _swap(shapes[f"{ours}.temporal.weight"]))
    places |= {f"{theirs}gcn1.{name}": place for name, place in _subsets(block.graph_conv, graph)}
    return places


def _subsets(conv: AdaptiveGraphConv, ours: str) -> Iterator[tuple[str, Place]]:
    """The places of theta (conv_a), phi (conv_b) and W (conv_d) of the three subsets."""
    out_channels, in_channels = conv.mix.weight.shape[:2]
    size = conv.embed_channels
    for k in range(NUM_SUBSETS):
        for factor, letter in enumerate("ab"):
            start = (factor * NUM_SUBSETS + k) * size
            rows = (slice(start, start + size),)
            yield f"conv_{letter}.{k}.weight", Place(f"{ours}.embed.weight", rows, (size, in_channels, 1, 1))
            yield f"conv_{letter}.{k}.bias", Place(f"{ours}.embed.bias", rows, (size,))
        tap = (slice(None), slice(None), slice(k, k + 1))
        yield f"conv_d.{k}.weight", Place(f"{ours}.mix.weight", tap, (out_channels, in_channels, 1, 1))
        yield f"conv_d.{k}.bias", Place(f"{ours}.mix.bias", (k,), (out_channels,))


def _swap(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:2], shape[3], shape[2])
