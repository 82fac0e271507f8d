"""Load a model from a checkpoint, of this program or a published one, and check it against flags and data.

All entry points make the same checks in the same order: readable file, whose it is, agreement with the
flags, names and shapes of tensors, finite values, skeleton of the data.
"""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glagcn.checkpoints.find import find_checkpoint, model_path
from glagcn.checkpoints.ours import as_glagcn, read
from glagcn.checkpoints.published import (
    NO_HINTS,
    Hints,
    build_published,
    load_published_weights,
    published_state,
    without_prefixes,
)
from glagcn.config.options import Config, foreign_options
from glagcn.config.resolve import plain_values
from glagcn.data.dataset import Cache
from glagcn.data.datasets import DATASETS, get_dataset
from glagcn.errors import UserError
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.model.interface import Model
from glagcn.model.registry import from_config, name_of
from glagcn.skeletons import Skeleton, get_skeleton

logger = logging.getLogger(__name__)

HALF_PRECISION = 0.005  # what float16 or bfloat16 may round off a number, as a part of it


@dataclass(frozen=True)
class Loaded:
    """A model loaded from a checkpoint."""

    model: Model  # on the CPU, in eval mode
    path: Path
    content: dict[str, Any] | None  # of a checkpoint of this program (checkpoints.ours); None for a published file
    keypoints: str | None  # 2D source of the training data; None if unknown
    assumed: tuple[str, ...]  # assumptions about a published file

    @property
    def options(self) -> dict[str, Any] | None:
        """The training options; None for a published file."""
        return self.content["config"] if self.content else None


def load(
    path: Path, hints: Hints = NO_HINTS, agrees: Callable[[Loaded], None] | None = None, into: Model | None = None
) -> Loaded:
    """Load the model of a checkpoint of this program or a published one, without executing pickled code.

    hints   facts about a published file that the file does not contain.
    agrees  called with the model before its weights are loaded; raises UserError if another model is expected.
    into    load the weights into this model and keep its mode; None: build the model described by the file.
    Raises UserError that names the file if it cannot be read, is not a checkpoint, or its weights do not match.
    """
    file = read(path)
    content = as_glagcn(file, path)
    assumed: tuple[str, ...] = ()
    with torch.random.fork_rng(devices=[]):  # building a model draws random weights; keep the caller's random state
        if content:
            weights = content["model"]
            try:
                model, keypoints = from_config(content["model_config"]), content["config"].get("keypoints")
            except UserError as error:
                raise UserError(f"{path}: {error}") from error
        else:
            weights = published_state(file, path)
            model, keypoints, assumed = build_published(path, weights, hints)
    loaded = Loaded(into or model.eval(), path, content, keypoints, assumed)
    if agrees:
        agrees(replace(loaded, model=model))
    if content:
        content["model"] = check_weights(path, weights, loaded.model)
        loaded.model.load_state_dict(content["model"])
    else:
        assert isinstance(loaded.model, LiftingNetwork), "a published file holds a GLA-GCN, which `agrees` has seen"
        load_published_weights(loaded.model, weights, str(path))
    broken = [name for name, tensor in loaded.model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise UserError(f"{path}: the weights {broken[0]!r} have values that are not finite; use an earlier checkpoint")
    return loaded


def load_model(
    model: str | Path | Model,
    skeleton: str | Skeleton | None = None,
    widths: Sequence[int] | None = None,
    device: str | torch.device | None = None,
) -> Model:
    """Load the model of a checkpoint of this program or a published one (.bin, .pth), in eval mode.

    model     "centred" or "causal", which come with the program, or a path ("./centred" is one); a folder, such as that
              of a run, means its best.pt.  A model is given back as it is, or a copy of it on another device.
    skeleton  "h36m17", "humaneva15", "humaneva15_coco17", ...; None: from the checkpoint, or for a published file from
              its number of joints and its name.
    widths    filter widths; None: from the checkpoint, or for a published file 3 for each stage.
    device    such as "cuda"; None: the CPU, or where a given model is.
    Assumptions about a published file are warnings of the logger "glagcn".  Pickled code is not executed.
    Raises UserError that names the file if it is not a checkpoint or contradicts `skeleton` or `widths`, or a device
    that is not there.
    """
    wanted = None if device is None else as_device(device)
    if isinstance(model, Model):
        moved = wanted is not None and wanted not in (model.device, torch.device(model.device.type))
        return copy.deepcopy(model).to(wanted) if moved else model
    joints = get_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    loaded = load(model_path(model), Hints(joints, widths), lambda loaded: _check_arguments(loaded, joints, widths))
    for assumption in loaded.assumed:
        logger.warning(assumption)
    return loaded.model.to(wanted or "cpu")


def as_device(device: str | torch.device) -> torch.device:
    """A device of PyTorch.  Raises UserError where there is none of this name."""
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch was built without CUDA
        reason = str(error).splitlines()[0]
        raise UserError(f'invalid device {device!r} ({reason[:200]}); give "cpu", "cuda" or "cuda:1"') from None
    return chosen


def load_for_test(config: Config, origin: dict[str, str], own_poses: bool = False) -> Loaded:
    """Load the model of the checkpoint that --evaluate names, for evaluation or rendering.

    origin     source of each option (config.resolve); values from flags must agree with the checkpoint.
    own_poses  the model is for the user's own 2D poses, not for the data set of the flags.
    Raises UserError if the file is missing or unreadable, if flags or joints of the data contradict it, or if --resume
    is given too.
    """
    if config.run.resume:
        raise UserError(
            f"--resume {config.run.resume} has no effect on --evaluate and --render, which do not train; leave it out, "
            "or name the checkpoint with --evaluate"
        )
    name = None if own_poses else get_dataset(config.data.dataset).skeleton_name(config.data.keypoints)
    data_skeleton = get_skeleton(name) if name else None
    hints = Hints(widths=config.model.architecture, data_skeleton=data_skeleton)
    path = find_checkpoint(config, "--evaluate", config.run.evaluate or "best.pt")
    loaded = load(path, hints, lambda loaded: _check_flags(config, origin, loaded))
    if data_skeleton:
        source = f"--dataset {config.data.dataset} with --keypoints {config.data.keypoints}"
        check_skeleton(loaded, data_skeleton, source)
    return loaded


def check_skeleton(loaded: Loaded, data: Skeleton, source: str) -> None:
    """Raise UserError if the model has another joint set than the data.  `source` names the data in the message."""
    model = loaded.model.skeleton
    if model.name != data.name:
        fitting = [dataset.name for dataset in DATASETS.values() if model.name in dataset.skeletons]
        hint = f"-d {loaded.options['dataset'] if loaded.options else ' or '.join(fitting)}"
        hint += f" -k {loaded.keypoints}" if loaded.keypoints else ""
        raise UserError(
            f"{loaded.path} lifts the {model.num_input_joints} joints of {model.name} to {model.num_joints} joints, "
            f"but {source} has the {data.num_input_joints} joints of {data.name}; evaluate it on the data set (-d) "
            f"and the 2D source (-k) of its training ({hint})"
        )


def differences(loaded: Loaded, cache: Cache) -> list[str]:
    """Warnings about differences between training and test data that affect the metrics, for log and result.json."""
    path = loaded.path
    if loaded.options is None and loaded.keypoints is None:
        return [
            f"{path} is a published file without information on its training data; assumed: {cache.dataset} with "
            f"{cache.keypoints} 2D poses"
        ]
    if loaded.options is None:
        warning = (
            f"{path} was trained on 2D poses from {loaded.keypoints}, according to its name, but is evaluated on "
            f"{cache.keypoints}: errors will be larger than published (use -k {loaded.keypoints})"
        )
        return [warning] if loaded.keypoints != cache.keypoints else []
    data = {"dataset": cache.dataset, "keypoints": cache.keypoints, "annotation": cache.annotation}
    return [
        f"{path} was trained with {name} {loaded.options.get(name) or 'none'} and is evaluated with {name} "
        f"{value or 'none'}"
        for name, value in data.items()
        if loaded.options.get(name) != value
    ]


def _check_arguments(loaded: Loaded, skeleton: Skeleton | None, widths: Sequence[int] | None) -> None:
    """Raise UserError if arguments of load_model contradict a checkpoint of this program."""
    if loaded.content is None:
        return  # a published file was recognised with these arguments
    model = loaded.model
    trained = {"skeleton": model.skeleton.name, "widths": list(model.options().get("architecture", ()))}
    given = {"skeleton": skeleton and skeleton.name, "widths": widths and list(widths)}
    for name, value in given.items():
        if value is not None and value != trained[name]:
            raise UserError(f"{loaded.path}: trained with {name} {trained[name]!r}, not {value!r}; leave it out")


def _check_flags(config: Config, origin: dict[str, str], loaded: Loaded) -> None:
    """Raise UserError if flags of the model contradict the checkpoint."""
    model = loaded.model
    kind = name_of(model)
    given = {
        name: value for name, value in plain_values(config).items() if origin[name] == "flag" and value is not None
    }
    for name in sorted(foreign_options(kind) & given.keys()):
        raise UserError(f"{loaded.path} contains a model of kind {kind}, which has no {name}; leave the flag out")
    for name, value in ({"model": kind} | dict(model.options())).items():
        if given.get(name, value) != value:
            raise UserError(
                f"{loaded.path} was trained with {name} {value}, but the flag says {given[name]}; "
                "leave the flag out, or give another checkpoint"
            )


def check_weights(path: Path, state: Mapping[str, Tensor], model: Model) -> dict[str, Tensor]:
    """The weights `state`, read from `path`, as the model loads them: without prefixes of wrappers, and with its graph.

    Raises UserError unless they have exactly the tensors and the graph of the model.
    """
    expected = model.state_dict()
    state = dict(state) if state.keys() == expected.keys() else without_prefixes(state)
    for name in sorted(expected.keys() | state.keys()):
        found, wanted = (list(d[name].shape) if name in d else "nothing" for d in (state, expected))
        if found != wanted:
            raise UserError(f"{path}: weights {name!r}: found {found}, expected {wanted} from its model_config")
    for name in model.constant:
        own = expected[name].cpu()
        if not torch.allclose(state[name].to(own.dtype), own, rtol=HALF_PRECISION):
            raise UserError(f"{path}: its {name} is that of another version of glagcn; use the one that trained it")
        state[name] = own
    return state
