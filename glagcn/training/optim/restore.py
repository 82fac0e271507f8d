"""Check a training state that a checkpoint stores against the run that is to go on from it, and restore it."""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glagcn.checkpoints import checkpoint
from glagcn.checkpoints.load import check_weights
from glagcn.config.options import OptimConfig
from glagcn.errors import UserError
from glagcn.files import is_number
from glagcn.model.interface import Model
from glagcn.training.optim.optimizers import build_optimizer
from glagcn.training.progress import Progress


def check_state(path: Path, content: Mapping[str, Any], model: Model, optim: OptimConfig) -> None:
    """Raise UserError that names the file `path` unless the training state in `content` is one of `model` and `optim`.

    model  a model of the run on the CPU, which does not change.
    """
    check_best(path, content, model)
    with _damage(path):
        _check_optimizer(content["optimizer"], model, optim)


def check_best(path: Path, content: Mapping[str, Any], model: Model) -> None:
    """As `check_state`, but of weights and progress only, which the evaluation of best.pt needs."""
    lacking = checkpoint.lacking_state(dict(content))
    if lacking:
        raise UserError(f"{path} lacks {', '.join(lacking)}; use another checkpoint")
    check_weights(path, content["model"], model)
    with _damage(path):
        if not _is_finite(content["model"].values()):
            raise UserError("its weights are not finite")
        Progress.of(content["progress"])


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what goes wrong with unchecked values in the block into a UserError that names the file."""
    try:
        yield
    except (UserError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error}; use another checkpoint") from error


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load a state that `check_state` has seen.

    Settings that an older version did not store keep their values, as do switches: they say how this run computes.
    """
    groups = []
    for new, old in zip(optimizer.state_dict()["param_groups"], state["param_groups"], strict=True):
        switches = {name: value for name, value in new.items() if isinstance(value, bool)}
        groups.append({**new, **old, **switches})
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})


def _check_optimizer(state: Mapping[str, Any], model: Model, optim: OptimConfig) -> None:
    """Raise UserError unless `state` has the form of the optimiser's after a step, or before the first."""
    expected = _after_a_step(model, optim)
    held, wanted = state["param_groups"], expected["param_groups"]
    if len(held) != len(wanted) or any(old["params"] != new["params"] for old, new in zip(held, wanted, strict=True)):
        raise UserError("its optimiser is of other weights")
    for old, new in zip(held, wanted, strict=True):
        wrong = [name for name in new if name in old and not _alike(old[name], new[name])]
        if wrong:
            raise UserError(f"the optimiser's {wrong[0]} is {old[wrong[0]]!r:.80}")
    if not set(state["state"]) <= {number for group in wanted for number in group["params"]}:
        raise UserError("its optimiser has states of unknown weights")
    for number in set(state["state"]) & set(expected["state"]):  # older versions trained a few weights more
        entry, like = state["state"][number], expected["state"][number]
        if set(entry) != set(like) or not all(_alike(entry[name], like[name]) for name in like):
            raise UserError(f"the optimiser's state of weight {number} has another form or is not finite")


def _after_a_step(model: Model, optim: OptimConfig) -> dict[str, Any]:
    """The optimiser's state after a step with a gradient of zero, of a copy of the model."""
    model = copy.deepcopy(model)
    optimizer = build_optimizer(optim, model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    return optimizer.state_dict()


def _alike(value: Any, like: Any) -> bool:
    """Whether a value of an optimiser's state could stand in place of `like`."""
    if isinstance(value, Tensor) and value.numel() == 1 and not isinstance(like, list | tuple):
        return _is_finite([value]) and (not isinstance(like, Tensor) or like.numel() == 1)
    if isinstance(like, Tensor):
        fits = isinstance(value, Tensor) and value.shape == like.shape
        return fits and value.is_floating_point() == like.is_floating_point() and _is_finite([value])
    if isinstance(like, list | tuple):
        fits = isinstance(value, list | tuple) and len(value) == len(like)
        return fits and all(map(_alike, value, like))
    if like is None or isinstance(like, bool):
        return value is None or isinstance(value, bool)
    return is_number(value) if isinstance(like, int | float) else isinstance(value, type(like))


def _is_finite(tensors: Any) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
