"""The model that --evaluate and --render name, and whether it fits the flags and the data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glagcn.config import Config
from glagcn.data.cache import Cache
from glagcn.data.sources.facts_videopose3d import skeleton_of
from glagcn.engine import checkpoint
from glagcn.engine.inference import check_finite, restore
from glagcn.engine.published_model import load_published
from glagcn.engine.runfolder import find_checkpoint
from glagcn.errors import UserError
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import Skeleton, graph_flag


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


def load_trained(config: Config, origin: dict[str, str]) -> Trained:
    """The model in the checkpoint that --evaluate names, ours or a published one.

    origin  where each option came from (config.resolve): what a flag says must agree with the checkpoint.
    Raises UserError where there is no such file, it cannot be read, flags or the joints of the data contradict it, or
    --resume is given too.
    """
    if config.resume:
        raise UserError(
            f"--resume {config.resume} starts a training, and --evaluate and --render do not train; leave it out, or "
            "name the checkpoint with --evaluate"
        )
    path = find_checkpoint(config, "--evaluate", config.evaluate)
    content = checkpoint.load_ours(path)
    data_skeleton = None if config.viz_keypoints else skeleton_of(config.dataset, config.keypoints)
    if content:
        model, options = restore(content, path, widths=config.architecture), content["config"]
        trained = Trained(model, path, options, options.get("keypoints"), ())
    else:
        channels = config.channels if origin["channels"] == "flag" else None
        model, form = load_published(path, widths=config.architecture, channels=channels, data_skeleton=data_skeleton)
        trained = Trained(model, path, None, form.keypoints, form.assumed)
    check_finite(model, path)
    check_flags(config, origin, trained)
    if data_skeleton:
        check_skeleton(trained, data_skeleton, f"--dataset {config.dataset} with --keypoints {config.keypoints}")
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
        given = getattr(config, name)
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
