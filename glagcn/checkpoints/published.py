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
from glagcn.model.gla_gcn.blocks import NUM_SUBSETS, AdaptiveGraphConv, StridedModule
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import Skeleton, get_skeleton

WIDTH = 3  # filter width of all stages of all published models
SKELETONS = ("h36m17", "humaneva15", "humaneva15_coco17")
NAME = re.compile(r"\d+_(?P<keypoints>\w+)_(?P<frames>\d+)_supervised")
# {layer of an AGCN block here: in the published code}
LAYERS = {
    "graph_conv.bn": "gcn1.bn",
    "graph_conv.skip.0": "gcn1.down.0",
    "graph_conv.skip.1": "gcn1.down.1",
    "temporal": "tcn1.conv",
    "bn": "tcn1.bn",
    "residual.0": "residual.conv",
    "residual.1": "residual.bn",
}
# Where programs put a state dict in a file, the published one first; one may be in another.
WRAPPED = ("model_pos", "model", "state_dict", "model_state_dict", "ema", "model_ema", "ema_state_dict", "weights")
ALONE = (
    "weights of a model of this program are not enough without its configuration: give best.pt or last.pt of its run, "
    "or a file that glagcn export wrote"
)


def published_state(content: Any, path: Path) -> dict[str, Tensor]:
    """The weights in the `content` of a published file: a state dict, or one under a key of WRAPPED; without prefixes.

    Raises UserError that names `path` if there are none.
    """
    state = content
    while isinstance(state, Mapping) and (key := next((key for key in WRAPPED if key in state), None)):
        state = state[key]
    if not isinstance(state, Mapping) or not state:
        raise UserError(f"{path}: no weights found; must be a state dict, or one under 'model_pos' in a dict; {ALONE}")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UserError(f"{path}: not a state dict: the entry {name!r} is not a named tensor; {ALONE}")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
            raise UserError(f"{path}: the weights {name!r} are not a plain tensor of real numbers; use another file")
    return without_prefixes(state)


def without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the prefixes that DDP, torch.compile and averaging of weights give to all names."""
    return {re.sub(r"^(module\.|_orig_mod\.)+", "", name): state[name] for name in state if name != "n_averaged"}


@dataclass(frozen=True)
class Hints:
    """Facts about a published file that the caller knows."""

    skeleton: Skeleton | None = None  # None: from the number of joints and the file name
    widths: Sequence[int] | None = None  # None: from the number of stages and the file name
    data_skeleton: Skeleton | None = None  # used if neither tensors nor file name determine the skeleton


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
    blocks = sum(name.startswith("layers_tcngcn.") and name.endswith(".PA") for name in weights)
    trained = (WIDTH,) * (blocks // 2)
    if widths is not None and len(widths) != len(trained):
        arc = ",".join(map(str, trained))
        raise UserError(
            f"{path}: weights for {len(trained)} filter widths, not {len(widths)}; give -arc {arc} (widths=), or the "
            "widths that it was trained with"
        )
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
        widths = trained
        if named and int(named["frames"]) != prod(widths):
            raise UserError(
                f"{path}: its name says {named['frames']} frames, but {len(widths)} stages of width {WIDTH} make "
                f"{prod(widths)}; give the filter widths with -arc (widths=)"
            )
        assumed.append(
            f"{path.name} does not name its filter widths: assumed {widths}; give others with -arc (widths=)"
        )
    elif named and int(named["frames"]) != prod(widths):
        assumed.append(
            f"{path.name}: its name says {named['frames']} frames, but the given filter widths {tuple(widths)} make "
            f"{prod(widths)}; poses are wrong unless it was trained with these widths"
        )
    model = LiftingNetwork(
        skeleton, widths, channels, sequence_layers=0, head="shared",
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
    blocks = {"expand": ("expand_gcn", model.expand)}
    for number, module in enumerate(model.strided):
        assert isinstance(module, StridedModule)
        blocks[f"strided.{number}.spread"] = f"layers_tcngcn.{2 * number}", module.spread
        blocks[f"strided.{number}.reduce"] = f"layers_tcngcn.{2 * number + 1}", module.reduce
    layers = {"input_norm": "data_bn", "head.shared": "fc"}
    for ours, (theirs, _) in blocks.items():
        layers |= {f"{ours}.{layer}": f"{theirs}.{name}" for layer, name in LAYERS.items()}
    places = {}
    for name, tensor in model.state_dict().items():
        layer, _, part = name.rpartition(".")
        if layer in layers:
            places[f"{layers[layer]}.{part}"] = Place(name, (), tuple(tensor.shape))
    places["fc.weight"] = places["fc.weight"]._replace(shape=(3, model.channels, 1))
    for ours, (theirs, block) in blocks.items():
        graph = f"{ours}.graph_conv"
        places[f"{theirs}.gcn1.PA"] = Place(f"{graph}.free_graph", (), tuple(block.graph_conv.free_graph.shape))
        places |= {f"{theirs}.gcn1.{name}": place for name, place in _subsets(block.graph_conv, graph)}
        # Joints and frames are swapped in the published feature maps and therefore in the kernel.
        weight = places[f"{theirs}.tcn1.conv.weight"]
        outputs, inputs, joints, frames = weight.shape
        places[f"{theirs}.tcn1.conv.weight"] = weight._replace(shape=(outputs, inputs, frames, joints))
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
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith("data_bn.")}
    for name in sorted(places.keys() | weights.keys()):
        expected, found = places.get(name), weights.get(name)
        if expected is None:
            problem = f"unexpected weights {name!r} {list(weights[name].shape)}"
        elif found is None:
            problem = f"the weights {name!r} {list(expected.shape)} are missing"
        elif tuple(found.shape) != expected.shape:
            problem = f"the weights {name!r} have shape {list(found.shape)}, expected {list(expected.shape)}"
        else:
            continue
        raise UserError(f"{source}: {problem}: it is incomplete, or another network than the published S-AGCN")
    state = model.state_dict()
    for name, place in places.items():
        target = state[place.name]
        target[place.part] = weights[name].reshape(target[place.part].shape).to(target.dtype)


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
