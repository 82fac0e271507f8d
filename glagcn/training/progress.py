"""The progress of a run, which checkpoints store beside weights and optimiser."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from glagcn.errors import UserError
from glagcn.files import is_number

OLDER_TERMS = ("mpjpe", "sequence_mpjpe")  # older checkpoints store a list: windows, then these sums


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

    @classmethod
    def of(cls, content: Mapping[str, Any] | list[float]) -> "Sums":
        """Read from a checkpoint, also from an older one whose sums have no names.

        Raises UserError, ValueError or TypeError for other content.
        """
        if isinstance(content, Mapping):
            sums = cls(**content)
        else:
            windows, *values = content
            sums = cls(windows, dict(zip(OLDER_TERMS, values, strict=True)))
        names = [isinstance(name, str) for name in sums.terms]
        if not all(names) or not all(map(is_number, (sums.windows, *sums.terms.values()))):
            raise UserError("the sums since the last log line are no numbers")
        return sums


@dataclass
class Progress:
    """Steps, best result and training time so far.

    interval  sums since the last log interval.
    epoch     sums since the start of the epoch.
    """

    step: int = 0
    evaluated_step: int = 0
    best_mm: float = math.inf
    best_step: int = 0
    seconds: float = 0.0
    interval: Sums = field(default_factory=Sums)
    epoch: Sums = field(default_factory=Sums)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Progress":
        """The inverse of `dataclasses.asdict`.  Raises UserError, ValueError, TypeError or KeyError otherwise."""
        sums = {name: Sums.of(content[name]) for name in ("interval", "epoch")}
        progress = cls(**{**content, **sums})
        for name in ("step", "evaluated_step", "best_step"):
            if type(getattr(progress, name)) is not int or not 0 <= getattr(progress, name) <= progress.step:
                raise UserError(f"its {name} is {getattr(progress, name)!r:.80}, and its step is {progress.step!r:.80}")
        best = progress.best_mm
        if not (best == math.inf or is_number(best)) or not is_number(progress.seconds) or progress.seconds < 0:
            raise UserError(f"its best error is {best!r:.80} mm after {progress.seconds!r:.80} s")
        return progress
