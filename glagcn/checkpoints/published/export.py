"""Export one of our checkpoints in the format of the published code."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glagcn.checkpoints import checkpoint
from glagcn.checkpoints.load import load
from glagcn.checkpoints.published.layout import INPUT_NORM, published_weights
from glagcn.checkpoints.published.recognise import SKELETONS
from glagcn.errors import UserError
from glagcn.model.network import LiftingNetwork
from glagcn.model.registry import name_of
from glagcn.skeleton import graph_flag

PREFIX = "module."  # the published code wraps its model in DataParallel


def export_published(source: Path, target: Path) -> None:
    """Write our checkpoint `source` in the published layout.

    target  .bin: a dict with the weights as `model_pos`, and `epoch` and `lr`; .pth: the state dict only.  There is no
            optimiser state, so the published code can evaluate the file but not resume from it.
    Raises UserError if the published code has no such model: with a sequence stage, an unshared head, other joints, or
    a graph that it does not use for these joints.
    """
    if target.suffix not in (".bin", ".pth"):
        raise UserError(f"invalid --out {target}: must end in .bin (a dict with model_pos) or .pth (a state dict)")
    loaded = load(source)
    content, model = checkpoint.must_be_ours(loaded.content, source), loaded.model
    if not isinstance(model, LiftingNetwork):
        raise UserError(f"{source}: the published code has no model of kind {name_of(model)}, so no layout for it")
    _check_form(model, source)
    weights = {PREFIX + name: tensor for name, tensor in _published_state(model).items()}
    whole: dict[str, Any] = {
        "epoch": checkpoint.epochs_done(content), "lr": content["config"].get("lr"), "model_pos": weights
    }  # fmt: skip
    checkpoint.write(target, whole if target.suffix == ".bin" else weights)


def _check_form(model: LiftingNetwork, source: Path) -> None:
    if model.skeleton.name not in SKELETONS:
        raise UserError(f"{source}: the published code has no model of {model.skeleton.name}, so no layout for it")
    if len(model.sequence) or model.head.unshared is not None:
        raise UserError(
            f"{source}: published models have no sequence stage and a shared head, but this model has "
            f"{len(model.sequence)} sequence layers and a head of kind {model.head_kind}; it cannot be exported"
        )
    if model.input != "xy":
        raise UserError(
            f"{source}: published models read x and y alone, but this model was trained with --input {model.input}; "
            "train with --input xy to export"
        )
    if model.pose_input.relative:
        raise UserError(
            f"{source}: the published code does not make the input relative to the root, but this model was trained "
            "with such input; train with --no-relative_input to export"
        )
    if model.graph.links != model.skeleton.links or model.causal:
        raise UserError(
            f"{source}: the published code uses its own graph of {model.skeleton.name} and the centre frame, but this "
            f"model was trained on {model.graph.name}{', causally' if model.causal else ''}; "
            f"train with --graph {graph_flag(model.skeleton)}{' --no-causal' if model.causal else ''} to export"
        )


def _published_state(model: LiftingNetwork) -> dict[str, Tensor]:
    """The published weights.  With COCO input they include an input normalisation, which is never applied."""
    weights = published_weights(model)
    if model.input_norm is None:
        unused = torch.nn.BatchNorm1d(2 * model.skeleton.num_joints).state_dict()
        weights |= {INPUT_NORM + name: tensor for name, tensor in unused.items()}
    return weights
