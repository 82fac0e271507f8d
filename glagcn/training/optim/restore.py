"""Check that a checkpoint fits the run that is to go on from it, and restore its optimiser."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from glagcn.checkpoints import checkpoint
from glagcn.checkpoints.load import check_weights
from glagcn.errors import UserError
from glagcn.model.interface import Model


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
