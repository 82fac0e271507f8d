"""Load trained models, and check that they fit the flags and the data."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glagcn.checkpoints import checkpoint
from glagcn.checkpoints.checkpoint import check_is_zip
from glagcn.checkpoints.find import find_checkpoint
from glagcn.checkpoints.published.recognise import load_published
from glagcn.config.config import Config
from glagcn.config.resolve import value_of
from glagcn.data.cache.reader import Cache
from glagcn.data.sources.videopose3d.facts import skeleton_of
from glagcn.errors import UserError
from glagcn.model.network import LiftingNetwork, from_config
from glagcn.skeleton import Skeleton, get_skeleton, graph_flag

logger = logging.getLogger("glagcn")


@dataclass(frozen=True)
class Trained:
    """A model and what is known of its training.

    model      on the CPU, in eval mode.
    path       of its checkpoint.
    options    those that it was trained with; None for a published file.
    keypoints  the 2D source that it was trained on, where that is known.
    assumed    what a published file does not say and was assumed, in words.
    """

    model: LiftingNetwork
    path: Path
    options: dict[str, Any] | None
    keypoints: str | None
    assumed: tuple[str, ...]


def load_trained(config: Config, origin: dict[str, str], own_poses: bool = False) -> Trained:
    """The model in the checkpoint that --evaluate names, ours or a published one.

    own_poses  the model is not for the data set of the flags, but for 2D poses of one's own.
    origin     where each option came from (config.resolve): what a flag says must agree with the checkpoint.
    Raises UserError where there is no such file, it cannot be read, flags or the joints of the data contradict it, or
    --resume is given too.
    """
    if config.run.resume:
        raise UserError(
            f"--resume {config.run.resume} starts a training, and --evaluate and --render do not train; leave it out, "
            "or name the checkpoint with --evaluate"
        )
    path = find_checkpoint(config, "--evaluate", config.run.evaluate or "best.pt")
    content = checkpoint.load_ours(path)
    data_skeleton = None if own_poses else skeleton_of(config.data.dataset, config.data.keypoints)
    if content:
        model, options = restore(content, path, widths=config.model.architecture), content["config"]
        trained = Trained(model, path, options, options.get("keypoints"), ())
    else:
        channels = config.model.channels if origin["channels"] == "flag" else None
        model, form = load_published(
            path, widths=config.model.architecture, channels=channels, data_skeleton=data_skeleton
        )
        trained = Trained(model, path, None, form.keypoints, form.assumed)
    check_finite(model, path)
    check_flags(config, origin, trained)
    if data_skeleton:
        check_skeleton(
            trained, data_skeleton, f"--dataset {config.data.dataset} with --keypoints {config.data.keypoints}"
        )
    model.eval()
    return trained


def check_flags(config: Config, origin: dict[str, str], trained: Trained) -> None:
    """Refuse flags of the model that contradict the checkpoint.  Raises UserError with both values."""
    model = trained.model
    held = {
        "frames": model.frames,
        "channels": model.channels,
        "architecture": model.widths,
        "head": model.head_kind,
        "sequence_layers": len(model.sequence),
        "graph": graph_flag(model.graph),
        "causal": model.causal,
    }
    for name, value in held.items():
        given = value_of(config, name)
        if origin[name] == "flag" and given is not None and given != value:
            raise UserError(
                f"{trained.path} was trained with {name} {value}, and the flag says {given}; "
                "leave the flag out, or name another checkpoint"
            )


def check_skeleton(trained: Trained, data: Skeleton, source: str) -> None:
    """Refuse a model of another joint set than the data's, which `source` names.  Raises UserError with both."""
    model = trained.model.skeleton
    if model.name != data.name:
        published = "h36m" if model.name == "h36m17" else "humaneva15"
        hint = f"-d {trained.options['dataset'] if trained.options else published}"
        if trained.keypoints:
            hint += f" -k {trained.keypoints}" + ("" if trained.options else ", by its name")
        raise UserError(
            f"{trained.path} lifts the {model.num_input_joints} joints of {model.name} to {model.num_joints} joints, "
            f"and {source} has the {data.num_input_joints} joints of {data.name}; evaluate it on the data set (-d) "
            f"and the 2D source (-k) that it was trained for ({hint})"
        )


def differences(trained: Trained, cache: Cache) -> list[str]:
    """What makes the figures not comparable to the training: said aloud and kept in result.json."""
    path = trained.path
    if trained.options is None:
        if trained.keypoints is None:
            return [
                f"{path} is a published file, which does not say what data it was trained on; assumed to be "
                f"{cache.dataset} with {cache.keypoints} 2D poses"
            ]
        if trained.keypoints != cache.keypoints:
            return [
                f"{path} was trained on 2D poses from {trained.keypoints}, by its name, and is evaluated on those from "
                f"{cache.keypoints}: its errors will be larger than published (-k {trained.keypoints})"
            ]
        return []
    held = {"dataset": cache.dataset, "keypoints": cache.keypoints, "annotation": cache.annotation}
    return [
        f"{path} was trained with {name} {trained.options.get(name) or 'none'} and is evaluated with {name} "
        f"{value or 'none'}"
        for name, value in held.items()
        if trained.options.get(name) != value
    ]


def load_model(
    path: str | Path, skeleton: str | Skeleton | None = None, widths: Sequence[int] | None = None
) -> LiftingNetwork:
    """The model in a checkpoint of ours or a published one (.bin, .pth), on the CPU in eval mode.

    skeleton    "h36m17", "humaneva15", "humaneva15_coco17", ...; None: from our checkpoint, else from the joint count
                and the published file names.
    widths      filter widths; None: from our checkpoint, else 3 for each stage, as published.
    What a published file does not say is assumed, with a warning in the log "glagcn".  Nothing pickled is executed.
    Raises UserError, naming the file, when it is not such a checkpoint or contradicts `skeleton` or `widths`.
    """
    path = Path(path)
    skeleton = get_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    check_is_zip(path)
    content = checkpoint.load_ours(path)
    if content is not None:
        model = restore(content, path, skeleton, widths)
    else:
        model, form = load_published(path, skeleton, widths)
        for assumption in form.assumed:
            logger.warning(assumption)
    check_finite(model, path)
    return model.eval()


def check_finite(model: LiftingNetwork, path: Path) -> None:
    """Raise UserError, naming the checkpoint `path`, where a weight of the model read from it is not finite."""
    broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise UserError(
            f"{path}: the weights {broken[0]!r} hold values that are not finite; take an earlier checkpoint"
        )


def restore(
    content: dict[str, Any], path: Path, skeleton: Skeleton | None = None, widths: Sequence[int] | None = None
) -> LiftingNetwork:
    """The model in `content`, a checkpoint of ours that was read from `path`; otherwise as `load_model`."""
    config, state = content["model_config"], content["model"]
    _check_agrees(path, config, skeleton, widths)
    model = from_config(config)
    check_state(path, state, model)
    model.load_state_dict(state)
    return model


def _check_agrees(
    path: Path, config: Mapping[str, Any], skeleton: Skeleton | None, widths: Sequence[int] | None
) -> None:
    if skeleton is not None and skeleton.name != config.get("skeleton"):
        raise UserError(
            f"{path}: trained with skeleton {config.get('skeleton')!r}, not {skeleton.name!r}; leave it out"
        )
    if widths is not None and list(widths) != list(config.get("widths", ())):
        raise UserError(f"{path}: trained with widths {config.get('widths')}, not {list(widths)}; leave them out")


def check_state(path: Path, state: Mapping[str, Tensor], model: LiftingNetwork) -> None:
    """Raise UserError unless `state`, read from `path`, has exactly the model's tensors, and its graph."""
    expected = model.state_dict()
    for name in sorted(expected.keys() | state.keys()):
        found, wanted = (list(d[name].shape) if name in d else "nothing" for d in (state, expected))
        if found != wanted:
            raise UserError(
                f"{path}: weights {name!r}: found {found}, expected {wanted} by the file's own model_config"
            )
    if not torch.equal(state["adjacency"], expected["adjacency"]):
        raise UserError(
            f"{path}: the graph it was trained with is not this program's graph {model.graph.name!r}; "
            "evaluate it with the version of glagcn that trained it"
        )
