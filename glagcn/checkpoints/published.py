"""The checkpoints of the published code: which network they contain, and where its weights are in ours.

The published S-AGCN has one module per subset and factor; ours stores them in one tensor.  Each published tensor is
therefore a slice of one of ours, and both contain the same numbers.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from glagcn.errors import UserError
from glagcn.model.gla_gcn.blocks import AGCN, NUM_SUBSETS, AdaptiveGraphConv, StridedModule
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import Skeleton, get_skeleton

WIDTH = 3  # filter width of all stages of all published models
SKELETONS = ("h36m17", "humaneva15", "humaneva15_coco17")
NAME = re.compile(r"\d+_(?P<keypoints>\w+)_(?P<frames>\d+)_supervised")
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
CONVOLUTION = ("weight", "bias")
INPUT_NORM = "data_bn."
ALONE = (
    "weights of a model of this program are not enough without its configuration: give best.pt or last.pt of its run, "
    "or a file that glagcn export wrote"
)


def published_state(content: Any, path: Path) -> dict[str, Tensor]:
    """The weights in the `content` of a published file: a state dict, or one under "model_pos"; without prefixes.

    Raises UserError that names `path` if there are none.
    """
    state = content.get("model_pos", content) if isinstance(content, Mapping) else None
    if not state or not isinstance(state, Mapping):
        raise UserError(
            f"{path}: no weights found; must be a state dict, or a dict with one under 'model_pos'; {ALONE}"
        )
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UserError(f"{path}: not a state dict: the entry {name!r} is not a named tensor; {ALONE}")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
            raise UserError(f"{path}: the weights {name!r} are not a plain tensor of real numbers; use another file")
    return without_prefixes(state)


def without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the prefixes that DDP and torch.compile give to all names."""
    return {re.sub(r"^(module\.|_orig_mod\.)+", "", name): tensor for name, tensor in state.items()}


@dataclass(frozen=True)
class Hints:
    """Facts about a published file that the caller knows.

    skeleton       None: from the number of joints and the file name.
    widths         None: from the number of stages and the file name.
    channels       None: from the tensors.
    data_skeleton  joint set of the data, used if neither tensors nor file name determine the skeleton.
    """

    skeleton: Skeleton | None = None
    widths: Sequence[int] | None = None
    channels: int | None = None
    data_skeleton: Skeleton | None = None


NO_HINTS = Hints()


def build_published(
    path: Path, weights: Mapping[str, Tensor], hints: Hints = NO_HINTS
) -> tuple[LiftingNetwork, str | None, tuple[str, ...]]:
    """The network, with fresh weights, of the published `weights` (from `published_state`) of the file `path`.

    Returns also the 2D source that the file name states, or None, and notes on assumptions.
    Raises UserError if they contradict the hints, or if the skeleton is unknown.
    """
    skeleton, widths = hints.skeleton, hints.widths
    try:
        joints, channels = weights["expand_gcn.gcn1.PA"].shape[-1], weights["fc.weight"].shape[1]
    except (KeyError, IndexError) as error:
        raise UserError(f"{path}: not the weights of a published S-AGCN (no usable {error}); {ALONE}") from error
    named = NAME.search(path.name)
    assumed = []
    if skeleton is None:
        skeleton, reason = _guess_skeleton(path, joints, hints.data_skeleton)
        assumed.append(
            f"{path.name} does not name its skeleton: assumed {skeleton.name}, {reason}; for another one, give -d and "
            "-k (skeleton=)"
        )
    if skeleton.num_joints != joints:
        raise UserError(
            f"{path}: weights for {joints} joints, but skeleton {skeleton.name!r} has {skeleton.num_joints}"
        )
    if skeleton.name not in SKELETONS:
        assumed.append(
            f"{path.name}: assumed the graph of {skeleton.name} and metres; no published file is known to have this "
            "skeleton"
        )
    if widths is None:
        widths = (WIDTH,) * count_widths(weights)
        if named and int(named["frames"]) != prod(widths):
            raise UserError(
                f"{path}: its name says {named['frames']} frames, but {len(widths)} stages of width {WIDTH} make "
                f"{prod(widths)}; give the filter widths with -arc (widths=)"
            )
        assumed.append(
            f"{path.name} does not name its filter widths: assumed {widths}; for others, give -arc (widths=)"
        )
    elif named and int(named["frames"]) != prod(widths):
        assumed.append(
            f"{path.name}: its name says {named['frames']} frames, but the given filter widths {tuple(widths)} make "
            f"{prod(widths)}; poses are wrong unless it was trained with these widths"
        )
    model = LiftingNetwork(
        skeleton, widths, hints.channels or channels, sequence_layers=0, head="shared",
        input_norm=skeleton.joint_map is None,  # the published model for COCO input never applies its own
    )  # fmt: skip
    return model, named["keypoints"] if named else None, tuple(assumed)


def _guess_skeleton(path: Path, joints: int, data_skeleton: Skeleton | None) -> tuple[Skeleton, str]:
    """The skeleton of a published file, from its number of joints and name, else that of the data; and the reason."""
    if joints == 17:
        return get_skeleton("h36m17"), "the only published one with 17 joints"
    if joints == 15 and "_coco" in path.name:
        return get_skeleton("humaneva15_coco17"), "from its name"
    if joints == 15 and "_gt" in path.name:
        return get_skeleton("humaneva15"), "from its name"
    if data_skeleton is not None and data_skeleton.num_joints == joints:
        return data_skeleton, "from the data"
    raise UserError(
        f"{path}: weights for {joints} joints, but neither they nor the file name determine the skeleton; "
        "give skeleton='h36m17' (17 joints), 'humaneva15' or 'humaneva15_coco17' (15 joints)"
    )


class Place(NamedTuple):
    """The place of a published tensor: `name` in our state dict, slice `part` of it, and its published `shape`."""

    name: str
    part: tuple[int | slice, ...]
    shape: tuple[int, ...]


def published_places(model: LiftingNetwork) -> dict[str, Place]:
    """The place of every published tensor, by published name, in a model of that form (see build_published)."""
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
