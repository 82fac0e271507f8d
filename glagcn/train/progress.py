"""The progress of a run, which checkpoints store beside weights and optimiser."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
        """Read from a checkpoint, also from an older one whose sums have no names."""
        if isinstance(content, Mapping):
            return cls(**content)
        windows, *values = content
        return cls(windows, dict(zip(OLDER_TERMS, values, strict=True)))


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
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**content, **{name: Sums.of(content[name]) for name in ("interval", "epoch")}})
