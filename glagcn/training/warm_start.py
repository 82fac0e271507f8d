"""--resume: the checkpoint that a run starts from, ours or a published one."""

from pathlib import Path
from typing import Any, NamedTuple

from glagcn.checkpoints import checkpoint
from glagcn.checkpoints.load import Loaded, load
from glagcn.checkpoints.published.recognise import Hints
from glagcn.config.config import Config
from glagcn.config.resolve import data_folders, listed_differences
from glagcn.errors import UserError
from glagcn.model.interface import Model
from glagcn.model.registry import model_config
from glagcn.skeleton import get_skeleton, graph_flag

# Of entries of model_config; the others are called like their flags.
FLAGS = {"kind": "--model", "skeleton": "the skeleton of the data (-d, -k)", "widths": "-arc", "channels": "--channel"}
NOT_COMPARED = ("dropout", "input_norm")  # one may differ, the other follows from --graph
FRESH = "the optimiser, the learning rate and the count of epochs start fresh"


class Start(NamedTuple):
    """How a run starts.

    content  a whole state to go on from; None where only weights were taken, which the model then has.
    note     for the user.
    """

    content: dict[str, Any] | None
    note: str


def start_from(path: Path, config: Config, model: Model, num_windows: int, fingerprint: str) -> Start:
    """Start a run at the checkpoint `path`: at its whole state where that is of a run with the same options and data,
    else with its weights.

    num_windows, fingerprint  in an epoch of this run, and of its data.
    Raises UserError, naming the flag that would fit, where the weights are of another network than `model`.
    """
    # Ours says which network it holds; a published file is taken for one like `model`.
    form = model.options()
    hints = Hints(widths=form.get("architecture"), channels=form.get("channels"), data_skeleton=model.skeleton)
    loaded = load(path, hints, lambda loaded: _check_same_network(loaded, model), into=model)
    content = loaded.content
    if content is None:
        note = f"Started with the weights of {path}, a published file; {FRESH}"
        return Start(None, "; ".join([note, *loaded.assumed]))
    obstacle = _obstacle(content, config, num_windows, fingerprint)
    if obstacle:
        return Start(None, f"Started with the weights of {path}; {FRESH}, because {obstacle}")
    # Its best was kept in another folder: the next evaluation here is the best so far.
    progress = content["progress"] | {"evaluated_step": 0, "best_mm": float("inf"), "best_step": 0}
    return Start(content | {"progress": progress}, f"Started with the whole state of {path}, step {progress['step']}")


def _check_same_network(loaded: Loaded, model: Model) -> None:
    """Refuse weights of another network than `model`.  Raises UserError that names the flags that differ."""
    held, wanted = model_config(loaded.model), model_config(model)
    # Whether joints are relative, a published file does not say.
    left_out = NOT_COMPARED if loaded.content else (*NOT_COMPARED, "relative")
    # A difference in these makes the others meaningless.
    first = next((name for name in ("kind", "skeleton") if held.get(name) != wanted.get(name)), None)
    compared = [first] if first else [name for name in wanted if name not in left_out]
    differing = [name for name in compared if held[name] != wanted[name]]
    if differing:
        listed = "; ".join(
            f"{FLAGS.get(name, '--' + name)} is {_shown(name, wanted[name])} and was {_shown(name, held[name])}"
            for name in differing
        )
        raise UserError(
            f"{loaded.path} holds the weights of another network: {listed}. Give the values that it was trained with"
        )


def _shown(name: str, value: Any) -> str:
    """An entry of model_config as its flag would say it."""
    if name == "graph":
        return graph_flag(get_skeleton(value))
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _obstacle(content: dict[str, Any], config: Config, num_windows: int, fingerprint: str) -> str | None:
    """Why a run cannot go on from the whole state in `content`; None where it can."""
    lacking = checkpoint.lacking_state(content)
    if lacking:
        return f"the file lacks {', '.join(lacking)}"
    if not checkpoint.same_data(content, fingerprint):
        return f"it was trained on other data than now lies under {data_folders(config.data)}"
    if differences := listed_differences(config, content):
        return f"options differ: {differences}"
    if content["num_windows"] != num_windows:
        return f"it had {content['num_windows']} windows an epoch, and the data has {num_windows}"
    return None
