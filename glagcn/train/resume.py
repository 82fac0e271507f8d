"""The state of a run in a checkpoint: write it, go on from it, or start another run from it (--resume)."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from glagcn.checkpoints import ours as checkpoint
from glagcn.checkpoints.load import Loaded, load
from glagcn.checkpoints.published import Hints
from glagcn.config.options import Config
from glagcn.config.resolve import from_dict, listed_differences, to_dict
from glagcn.data.plan import EpochPlan
from glagcn.errors import UserError
from glagcn.model.interface import Model
from glagcn.model.registry import ENSEMBLE, model_config
from glagcn.skeletons import get_skeleton, graph_flag
from glagcn.train.optim import WeightAverage, last_step, learning_rate, planned_windows
from glagcn.train.setup import RunData

State = Mapping[str, Any]  # the content of a checkpoint

# {entry of model_config: flag}, where the names differ.
FLAGS = {"kind": "--model", "skeleton": "the skeleton of the data (-d, -k)", "widths": "-arc", "channels": "--channel"}
NOT_COMPARED = ("dropout", "input_norm")  # dropout may differ, input_norm follows from --graph
FRESH = "optimiser, learning rate and epoch count start from scratch"


@dataclass
class Sums:
    """A number of training windows, and each loss term summed over them, metres."""

    windows: float = 0.0
    terms: dict[str, float] = field(default_factory=dict)

    def add(self, windows: int, row: Mapping[str, float]) -> None:
        """Add one step of `windows` windows."""
        self.windows += windows
        for name, value in row.items():
            self.terms[name] = self.terms.get(name, 0.0) + value


@dataclass
class Progress:
    """Steps, best result and training time so far.

    interval  sums since the last log interval.
    epoch     sums since the start of the epoch.
    stale     scheduled evaluations since the best one (--patience).
    threads   CPU threads of a step, as a trial chose them; None: all.
    """

    step: int = 0
    evaluated_step: int = 0
    best_mm: float = math.inf
    best_step: int = 0
    seconds: float = 0.0
    interval: Sums = field(default_factory=Sums)
    epoch: Sums = field(default_factory=Sums)
    stale: int = 0
    threads: int | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Progress":
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**content, **{name: Sums(**content[name]) for name in ("interval", "epoch")}})


def is_over(config: Config, plan: EpochPlan, progress: Progress) -> bool:
    """Whether a run is at its last step, or was evaluated --patience times without a new best."""
    patience = config.selection.patience
    return progress.step >= last_step(config.optim, plan) or bool(patience and progress.stale >= patience)


def state_of(
    config: Config,
    data: RunData,
    model: Model,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage,
    progress: Progress,
) -> dict[str, Any]:
    """The content of a checkpoint: all that resuming needs.

    With an average of the weights, that is the "model", for every use; training goes on from "trained_model".
    """
    weights = {"model": average.weights, "trained_model": model.state_dict()}
    if not average.weights:
        weights = {"model": model.state_dict()}
    return {
        "config": to_dict(config),
        "model_config": model_config(model),
        **weights,
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
        "num_windows": data.plan.num_windows,
        "data_fingerprint": data.cache.fingerprint,
        "data_path": str(data.cache.path.resolve()),
    }


def restore(state: State | None, model: Model, optimizer: torch.optim.Optimizer, average: WeightAverage) -> Progress:
    """Load the content of a checkpoint into its parts.  Returns its progress; None: that of a new run."""
    if state is None:
        return Progress()
    model.load_state_dict(state.get("trained_model", state["model"]))
    average.load(state["model"])
    restore_optimizer(optimizer, state["optimizer"])
    return Progress.of(state["progress"])


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load the optimiser state of a checkpoint.

    Settings that an older version did not store keep their values, as do switches: they say how this run computes.
    """
    groups = []
    for new, old in zip(optimizer.state_dict()["param_groups"], state["param_groups"], strict=True):
        switches = {name: value for name, value in new.items() if isinstance(value, bool)}
        groups.append({**new, **old, **switches})
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})


def start_from(
    path: Path, config: Config, model: Model, num_windows: int, fingerprint: str
) -> tuple[dict[str, Any] | None, str]:
    """Start a run from the checkpoint `path`: from its training state if options and data are the same, else from its
    weights, which are loaded into `model`.

    num_windows  windows per epoch of this run;  fingerprint  of its data.
    Returns the training state to continue from, or None, and a line for the log.
    Raises UserError, naming the flags that differ, if the checkpoint is of another network than `model`.
    """
    # Our checkpoints store their model options; a published file is assumed to match those of `model`.
    hints = Hints(widths=model.options().get("architecture"), data_skeleton=model.skeleton)
    loaded = load(path, hints, lambda loaded: _check_same_network(loaded, model), into=model)
    content = loaded.content
    if content is None:
        note = f"Started from the weights of {path}, a published file; {FRESH}"
        return None, "; ".join([note, *loaded.assumed])
    if problem := obstacle(content, config, num_windows, fingerprint):
        return None, f"Started from the weights of {path}; {FRESH}, because {problem}"
    # best.pt of that run is in another folder, so the next evaluation here is the best so far.
    progress = content["progress"] | {"evaluated_step": 0, "best_mm": float("inf"), "best_step": 0}
    return content | {"progress": progress}, f"Started from the state of {path}, step {progress['step']}"


def _check_same_network(loaded: Loaded, model: Model) -> None:
    """Raise UserError, naming the flags that differ, if the checkpoint is of another network than `model`."""
    theirs, ours = model_config(loaded.model), model_config(model)
    if theirs["kind"] == ENSEMBLE:
        raise UserError(f"{loaded.path} is the mean of several models, which cannot be trained; start from one of them")
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


def obstacle(content: dict[str, Any], config: Config, num_windows: int, fingerprint: str) -> str | None:
    """Why a run cannot continue from the training state in `content`; None if it can."""
    if missing := [name for name in checkpoint.STATE if name not in content]:  # as in an exported file
        return f"its checkpoint has no {', '.join(missing)}"
    if "micro_batch" not in content["config"]:
        return "version 0.1.0 wrote it, which computed BatchNorm statistics over the share of a process"
    if (then := content.get("data_fingerprint")) != fingerprint:
        first = f"--cache_dir {config.data.cache_dir} or " if config.data.cache_dir else ""
        return (
            f"it was trained on other data than that in {first}--root_path {config.data.root_path} (fingerprint "
            f"{fingerprint}, the run's is {then})"
        )
    if differences := listed_differences(config, content):
        return f"options differ: {differences}"
    if content["num_windows"] != num_windows:
        return f"it had {content['num_windows']} windows per epoch, and the data has {num_windows}"
    return None


def other_length(state: State, config: Config, plan: EpochPlan) -> str:
    """What it means that a run goes on from `state` with another length than it had; empty for the same length."""
    step, both = state["progress"]["step"], (from_dict(state["config"]).optim, config.optim)
    (spanned, spans), (ended, ends) = ([of(optim, plan) for optim in both] for of in (planned_windows, last_step))
    if spanned != spans:
        before, now = (learning_rate(optim, plan, step) for optim in both)
        return (
            f"at step {step} the schedule was {'stretched' if spans > spanned else 'shortened'} from {spanned:,} to "
            f"{spans:,} training windows (learning rate {now:.2e} instead of {before:.2e}): the result is not that of "
            "a run that had this length from its start"
        )
    if ended != ends:
        return f"at step {step} the end was moved from step {ended} to {ends}; the schedule was not stretched"
    return ""
