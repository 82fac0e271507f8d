"""The one loader: a checkpoint file, ours or a published one, to a model that fits the flags and the data.

Every way in makes the same checks in this order: a readable file (reader), ours or published, agrees with the flags,
tensors of the expected names and shapes, finite values, fits the skeleton of the data.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glagcn.checkpoints import checkpoint
from glagcn.checkpoints.find import find_checkpoint
from glagcn.checkpoints.published.layout import load_published_weights, published_state
from glagcn.checkpoints.published.recognise import NO_HINTS, Hints, recognise
from glagcn.checkpoints.reader import read
from glagcn.config.config import Config
from glagcn.config.resolve import value_of
from glagcn.data.cache.reader import Cache
from glagcn.data.datasets import DATASETS, get_dataset
from glagcn.errors import UserError
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.model.interface import Model
from glagcn.model.registry import foreign_options, from_config, name_of
from glagcn.skeleton import Skeleton, get_skeleton

logger = logging.getLogger("glagcn")


@dataclass(frozen=True)
class Loaded:
    """A model and what its checkpoint says of it.

    model      on the CPU, in eval mode.
    path       of the checkpoint.
    content    all that a checkpoint of ours holds (checkpoints.checkpoint); None for a published file.
    keypoints  the 2D source that it was trained on, where that is known.
    assumed    notes on what a published file does not say.
    """

    model: Model
    path: Path
    content: dict[str, Any] | None
    keypoints: str | None
    assumed: tuple[str, ...]

    @property
    def options(self) -> dict[str, Any] | None:
        """The options that it was trained with; None for a published file."""
        return self.content["config"] if self.content else None


def load(
    path: Path,
    hints: Hints = NO_HINTS,
    agrees: Callable[[Loaded], None] | None = None,
    into: Model | None = None,
) -> Loaded:
    """The model in a checkpoint of ours or a published one.  Nothing pickled is executed.

    hints   what a published file does not say, and the caller knows.
    agrees  gets the model before it has its weights; raises UserError where another one is expected.
    into    the model that takes the weights, in the mode that it has; None: one that is built as the file says.
    Raises UserError, naming the file, where it cannot be read, is no such checkpoint, or its weights do not fit.
    """
    content = read(path)
    ours = checkpoint.ours(content, path)
    weights = ours["model"] if ours else published_state(content, path)
    assumed: tuple[str, ...] = ()
    with torch.random.fork_rng(devices=[]):  # building a model draws weights, and the caller's draws stay as they are
        if ours:
            model, keypoints = _build(ours["model_config"], path), ours["config"].get("keypoints")
        else:
            form = recognise(path, weights, hints)
            model, keypoints, assumed = form.build(), form.keypoints, form.assumed
    loaded = Loaded(into or model.eval(), path, ours, keypoints, assumed)
    if agrees:
        agrees(replace(loaded, model=model))
    if ours:
        _check_state(path, weights, loaded.model)
        loaded.model.load_state_dict(weights)
    else:
        assert isinstance(loaded.model, LiftingNetwork), "a published file holds a GLA-GCN, which `agrees` has seen"
        load_published_weights(loaded.model, weights, str(path))
    _check_finite(loaded.model, path)
    return loaded


def load_model(path: str | Path, skeleton: str | Skeleton | None = None, widths: Sequence[int] | None = None) -> Model:
    """The model in a checkpoint of ours or a published one (.bin, .pth), on the CPU in eval mode.

    skeleton    "h36m17", "humaneva15", "humaneva15_coco17", ...; None: from our checkpoint, else from the joint count
                and the published file names.
    widths      filter widths; None: from our checkpoint, else 3 for each stage, as published.
    What a published file does not say is assumed, with a warning in the log "glagcn".  Nothing pickled is executed.
    Raises UserError, naming the file, when it is not such a checkpoint or contradicts `skeleton` or `widths`.
    """
    joints = get_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    loaded = load(Path(path), Hints(joints, widths), lambda loaded: _check_arguments(loaded, joints, widths))
    for assumption in loaded.assumed:
        logger.warning(assumption)
    return loaded.model


def load_for_test(config: Config, origin: dict[str, str], own_poses: bool = False) -> Loaded:
    """The model in the checkpoint that --evaluate names, to be evaluated or rendered with.

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
    name = None if own_poses else get_dataset(config.data.dataset).skeleton_name(config.data.keypoints)
    data_skeleton = get_skeleton(name) if name else None
    hints = Hints(
        widths=config.model.architecture,
        channels=config.model.channels if origin["channels"] == "flag" else None,
        data_skeleton=data_skeleton,
    )
    path = find_checkpoint(config, "--evaluate", config.run.evaluate or "best.pt")
    loaded = load(path, hints, lambda loaded: _check_flags(config, origin, loaded))
    if data_skeleton:
        check_skeleton(
            loaded, data_skeleton, f"--dataset {config.data.dataset} with --keypoints {config.data.keypoints}"
        )
    return loaded


def check_skeleton(loaded: Loaded, data: Skeleton, source: str) -> None:
    """Refuse a model of another joint set than the data's, which `source` names.  Raises UserError with both."""
    model = loaded.model.skeleton
    if model.name != data.name:
        fitting = [dataset.name for dataset in DATASETS.values() if model.name in dataset.skeletons]
        hint = f"-d {loaded.options['dataset'] if loaded.options else ' or '.join(fitting)}"
        if loaded.keypoints:
            hint += f" -k {loaded.keypoints}" + ("" if loaded.options else ", by its name")
        raise UserError(
            f"{loaded.path} lifts the {model.num_input_joints} joints of {model.name} to {model.num_joints} joints, "
            f"and {source} has the {data.num_input_joints} joints of {data.name}; evaluate it on the data set (-d) "
            f"and the 2D source (-k) that it was trained for ({hint})"
        )


def differences(loaded: Loaded, cache: Cache) -> list[str]:
    """Differences between training and test data that affect the metrics: logged, and kept in result.json."""
    path = loaded.path
    if loaded.options is None:
        if loaded.keypoints is None:
            return [
                f"{path} is a published file, which does not say what data it was trained on; assumed to be "
                f"{cache.dataset} with {cache.keypoints} 2D poses"
            ]
        if loaded.keypoints != cache.keypoints:
            return [
                f"{path} was trained on 2D poses from {loaded.keypoints}, by its name, and is evaluated on those from "
                f"{cache.keypoints}: its errors will be larger than published (-k {loaded.keypoints})"
            ]
        return []
    held = {"dataset": cache.dataset, "keypoints": cache.keypoints, "annotation": cache.annotation}
    return [
        f"{path} was trained with {name} {loaded.options.get(name) or 'none'} and is evaluated with {name} "
        f"{value or 'none'}"
        for name, value in held.items()
        if loaded.options.get(name) != value
    ]


def _build(config: Mapping[str, Any], path: Path) -> Model:
    """The model that a checkpoint of ours describes.  Raises UserError, naming the file."""
    try:
        return from_config(config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _check_arguments(loaded: Loaded, skeleton: Skeleton | None, widths: Sequence[int] | None) -> None:
    """Refuse arguments of load_model that contradict a checkpoint of ours.  Raises UserError with both values."""
    if loaded.content is None:
        return  # those of a published file were recognised with them
    model = loaded.model
    if skeleton is not None and skeleton.name != model.skeleton.name:
        raise UserError(
            f"{loaded.path}: trained with skeleton {model.skeleton.name!r}, not {skeleton.name!r}; leave it out"
        )
    held = model.options().get("architecture")
    if widths is not None and tuple(widths) != held:
        trained = list(held) if held else "none"
        raise UserError(f"{loaded.path}: trained with widths {trained}, not {list(widths)}; leave them out")


def _check_flags(config: Config, origin: dict[str, str], loaded: Loaded) -> None:
    """Refuse flags of the model that contradict the checkpoint.  Raises UserError with both values."""
    model = loaded.model
    kind = name_of(model)
    for name in sorted(foreign_options(kind)):
        if origin[name] == "flag" and value_of(config, name) is not None:
            raise UserError(f"{loaded.path} holds a model of kind {kind}, which has no {name}; leave the flag out")
    held = {"model": kind} | dict(model.options())
    for name, value in held.items():
        given = value_of(config, name)
        if origin[name] == "flag" and given is not None and given != value:
            raise UserError(
                f"{loaded.path} was trained with {name} {value}, and the flag says {given}; "
                "leave the flag out, or name another checkpoint"
            )


def _check_state(path: Path, state: Mapping[str, Tensor], model: Model) -> None:
    """Raise UserError unless `state`, read from `path`, has exactly the model's tensors, and its graph."""
    expected = model.state_dict()
    for name in sorted(expected.keys() | state.keys()):
        found, wanted = (list(d[name].shape) if name in d else "nothing" for d in (state, expected))
        if found != wanted:
            raise UserError(
                f"{path}: weights {name!r}: found {found}, expected {wanted} by the file's own model_config"
            )
    for name in model.constant:
        if not torch.equal(state[name], expected[name]):
            raise UserError(
                f"{path}: the {name} that it was trained with is not this program's; "
                "evaluate it with the version of glagcn that trained it"
            )


def _check_finite(model: Model, path: Path) -> None:
    """Raise UserError, naming the checkpoint `path`, where a weight of the model read from it is not finite."""
    broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise UserError(
            f"{path}: the weights {broken[0]!r} hold values that are not finite; take an earlier checkpoint"
        )
