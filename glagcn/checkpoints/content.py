"""Check what one of our checkpoints contains, before anything computes with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from glagcn.checkpoints.reader import check_tensors
from glagcn.config.resolve import check_stored
from glagcn.errors import UserError

MOST_ENTRIES = 1_000_000  # of all containers; a file may refer to a container many times, and so claim more than it has
MOST_STEPS = 2**53


def check_content(path: Path, content: Mapping[str, Any]) -> None:
    """Raise UserError that names the file unless a checkpoint consists of plain values and tensors, and its weights,
    options, length of an epoch and step are possible.

    What only resuming needs, the optimiser and the rest of the progress, is checked when a run resumes.
    """
    check_tensors(path, content["model"])
    _check_plain(path, content)
    try:
        json.dumps([content["config"], content["model_config"]])
        check_stored(content["config"])
    except UserError as error:
        raise UserError(f"{path} is damaged: {error}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: its options are not plain values ({error})") from None
    windows = content.get("num_windows", 1)
    if type(windows) is not int or not 1 <= windows < MOST_STEPS:
        raise UserError(f"{path} is damaged: it says that an epoch has {windows!r:.80} windows")
    progress = content.get("progress", {"step": 0})
    step = progress.get("step") if isinstance(progress, Mapping) else None
    if type(step) is not int or not 0 <= step < MOST_STEPS:
        raise UserError(f"{path} has no valid step; restore the last.pt or best.pt of the run")


def _check_plain(path: Path, content: Mapping[str, Any]) -> None:
    """Raise UserError unless `content` consists of containers, numbers, text and tensors that hold their own values."""
    left: list[Any] = [content]
    for _ in range(MOST_ENTRIES):
        if not left:
            return
        value = left.pop()
        if isinstance(value, Tensor):
            check_tensors(path, {"of the optimiser": value})
        elif isinstance(value, Mapping):
            left.extend(value.values())
            left.extend(value.keys())
        elif isinstance(value, list | tuple):
            left.extend(value)
        elif not isinstance(value, int | float | str | None):
            raise UserError(f"{path} is damaged: it contains a {type(value).__name__}; use another checkpoint")
    raise UserError(f"{path} is damaged: it contains more than {MOST_ENTRIES} values; use another checkpoint")
