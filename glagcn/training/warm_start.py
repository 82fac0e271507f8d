"""--resume: the checkpoint that a run starts from, ours or a published one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from glagcn.checkpoints import checkpoint
from glagcn.checkpoints.load import check_finite, check_state
from glagcn.checkpoints.published.layout import load_published_weights
from glagcn.checkpoints.published.reader import published_state
from glagcn.checkpoints.published.recognise import recognise
from glagcn.config.config import Config
from glagcn.config.resolve import data_folders, listed_differences
from glagcn.errors import UserError
from glagcn.model.network import LiftingNetwork, model_config
from glagcn.skeleton import get_skeleton, graph_flag

# Of entries of model_config; the others are called like their flags.
FLAGS = {"skeleton": "the skeleton of the data (-d, -k)", "widths": "-arc", "channels": "--channel"}
NOT_COMPARED = ("dropout", "input_norm")  # one may differ, the other follows from --graph
FRESH = "the optimiser, the learning rate and the count of epochs start fresh"


class Start(NamedTuple):
    """How a run starts.

    content  a whole state to go on from; None where only weights were taken, which the model then has.
    said     what a user should know of it.
    """

    content: dict[str, Any] | None
    said: str


def start_from(path: Path, config: Config, model: LiftingNetwork, num_windows: int, fingerprint: str) -> Start:
    """Start a run at the checkpoint `path`: at its whole state where that is of a run with the same options and data,
    else with its weights.

    num_windows, fingerprint  in an epoch of this run, and of its data.
    Raises UserError, naming the flag that would fit, where the weights are of another network than `model`.
    """
    content = checkpoint.load_ours(path)
    if content is None:
        return _start_published(path, model)
    _check_same_network(path, content["model_config"], model)
    check_state(path, content["model"], model)
    model.load_state_dict(content["model"])
    check_finite(model, path)
    obstacle = _obstacle(content, config, num_windows, fingerprint)
    if obstacle:
        return Start(None, f"Started with the weights of {path}; {FRESH}, because {obstacle}")
    # Its best was kept in another folder: the next evaluation here is the best so far.
    progress = content["progress"] | {"evaluated_step": 0, "best_mm": float("inf"), "best_step": 0}
    return Start(content | {"progress": progress}, f"Started with the whole state of {path}, step {progress['step']}")


def _start_published(path: Path, model: LiftingNetwork) -> Start:
    weights = published_state(path)
    form = recognise(path, weights, widths=model.widths, data_skeleton=model.skeleton)
    if form.skeleton.name != model.skeleton.name:
        raise UserError(
            f"{path} holds the weights of a network of skeleton {form.skeleton.name}, and the data has "
            f"{model.skeleton.name}; start from a checkpoint for these joints (-d, -k choose them)"
        )
    if len(model.sequence) or model.head.unshared is not None:
        raise UserError(
            f"{path} holds the weights of a published S-AGCN, which has no sequence stage and a shared head; "
            "give --sequence_layers 0 --head shared"
        )
    if model.causal:
        raise UserError(f"{path} holds the weights of a network that lifts the centre frame; leave --causal out")
    if form.skeleton.links != model.graph.links:
        wanted, graph = graph_flag(form.skeleton), graph_flag(model.graph)
        raise UserError(
            f"{path} holds weights for the published graph {wanted}, and this run convolves over {graph}; "
            f"give --graph {wanted}"
        )
    load_published_weights(model, weights, str(path))
    check_finite(model, path)
    return Start(None, "; ".join([f"Started with the weights of {path}, a published file; {FRESH}", *form.assumed]))


def _check_same_network(path: Path, held: Mapping[str, Any], model: LiftingNetwork) -> None:
    wanted = model_config(model)
    compared = ["skeleton"] if held["skeleton"] != wanted["skeleton"] else [n for n in wanted if n not in NOT_COMPARED]
    differing = [name for name in compared if held.get(name, wanted[name]) != wanted[name]]
    if differing:
        listed = "; ".join(
            f"{FLAGS.get(name, '--' + name)} is {_shown(name, wanted[name])} and was {_shown(name, held[name])}"
            for name in differing
        )
        raise UserError(
            f"{path} holds the weights of another network: {listed}. Give the values that it was trained with"
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
