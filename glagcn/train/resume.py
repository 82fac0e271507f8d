"""--resume: start a run from a checkpoint, ours or a published one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from glagcn.checkpoints import ours as checkpoint
from glagcn.checkpoints.load import Loaded, check_weights, load
from glagcn.checkpoints.published import Hints
from glagcn.config.options import Config
from glagcn.config.resolve import data_folders, listed_differences
from glagcn.errors import UserError
from glagcn.model.interface import Model
from glagcn.model.registry import model_config
from glagcn.skeletons import get_skeleton, graph_flag

# ---- Check that a checkpoint fits the run that is to go on from it, and restore its optimiser.


def check_state(path: Path, content: Mapping[str, Any], model: Model) -> None:
    """Raise UserError that names the file `path` unless `content` has the weights of `model` and a training state."""
    lacking = checkpoint.lacking_state(dict(content))
    if lacking:
        raise UserError(f"{path} lacks {', '.join(lacking)}; use another checkpoint")
    check_weights(path, content["model"], model)


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load the optimiser state of a checkpoint.

    Settings that an older version did not store keep their values, as do switches: they say how this run computes.
    """
    groups = []
    for new, old in zip(optimizer.state_dict()["param_groups"], state["param_groups"], strict=True):
        switches = {name: value for name, value in new.items() if isinstance(value, bool)}
        groups.append({**new, **old, **switches})
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})


# ---- --resume: start a run from a checkpoint, ours or a published one.


# {entry of model_config: flag}, where the names differ.
FLAGS = {"kind": "--model", "skeleton": "the skeleton of the data (-d, -k)", "widths": "-arc", "channels": "--channel"}
NOT_COMPARED = ("dropout", "input_norm")  # dropout may differ, input_norm follows from --graph
FRESH = "optimiser, learning rate and epoch count start from scratch"


class Start(NamedTuple):
    """How a run starts.

    content  the training state to continue from; None if only the weights were loaded, into the model.
    note     a line for the log.
    """

    content: dict[str, Any] | None
    note: str


def start_from(path: Path, config: Config, model: Model, num_windows: int, fingerprint: str) -> Start:
    """Start a run from the checkpoint `path`: from its training state if options and data are the same, else from its
    weights.

    num_windows  windows per epoch of this run;  fingerprint  of its data.
    Raises UserError, naming the flags that differ, if the checkpoint is of another network than `model`.
    """
    # Our checkpoints store their model options; a published file is assumed to match those of `model`.
    form = model.options()
    hints = Hints(widths=form.get("architecture"), channels=form.get("channels"), data_skeleton=model.skeleton)
    loaded = load(path, hints, lambda loaded: _check_same_network(loaded, model), into=model)
    content = loaded.content
    if content is None:
        note = f"Started from the weights of {path}, a published file; {FRESH}"
        return Start(None, "; ".join([note, *loaded.assumed]))
    obstacle = _obstacle(content, config, num_windows, fingerprint)
    if obstacle:
        return Start(None, f"Started from the weights of {path}; {FRESH}, because {obstacle}")
    check_state(path, content, model)
    # best.pt of that run is in another folder, so the next evaluation here is the best so far.
    progress = content["progress"] | {"evaluated_step": 0, "best_mm": float("inf"), "best_step": 0}
    return Start(content | {"progress": progress}, f"Started from the state of {path}, step {progress['step']}")


def _check_same_network(loaded: Loaded, model: Model) -> None:
    """Raise UserError, naming the flags that differ, if the checkpoint is of another network than `model`."""
    theirs, ours = model_config(loaded.model), model_config(model)
    # A published file does not store whether joints are relative.
    ignored = NOT_COMPARED if loaded.content else (*NOT_COMPARED, "relative")
    # If one of these differs, the other entries cannot be compared.
    first = next((name for name in ("kind", "skeleton") if theirs.get(name) != ours.get(name)), None)
    compared = [first] if first else [name for name in ours if name not in ignored]
    differing = [name for name in compared if theirs[name] != ours[name]]
    if differing:
        listed = "; ".join(
            f"{FLAGS.get(name, '--' + name)} is {_as_flag(name, ours[name])} and was {_as_flag(name, theirs[name])}"
            for name in differing
        )
        raise UserError(
            f"{loaded.path} holds the weights of another network: {listed}. Give the values that it was trained with"
        )


def _as_flag(name: str, value: Any) -> str:
    """An entry of model_config, written as the value of its flag."""
    if name == "graph":
        return graph_flag(get_skeleton(value))
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _obstacle(content: dict[str, Any], config: Config, num_windows: int, fingerprint: str) -> str | None:
    """Why a run cannot continue from the training state in `content`; None if it can."""
    lacking = checkpoint.lacking_state(content)
    if lacking:
        return f"the file lacks {', '.join(lacking)}"
    if not checkpoint.same_data(content, fingerprint):
        return f"it was trained on other data than that in {data_folders(config.data)}"
    if differences := listed_differences(config, content):
        return f"options differ: {differences}"
    if content["num_windows"] != num_windows:
        return f"it had {content['num_windows']} windows per epoch, and the data has {num_windows}"
    return None
