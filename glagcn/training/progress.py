"""The progress of a run, as checkpoints hold it beside weights and optimiser."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OLDER_TERMS = ("mpjpe", "sequence_mpjpe")  # earlier checkpoints hold lists: the windows, and the sums of these


@dataclass
class Sums:
    """Training windows, and the sums over them of every term of the loss, in metres."""

    windows: float = 0.0
    terms: dict[str, float] = field(default_factory=dict)

    def add(self, windows: int, row: Mapping[str, float]) -> None:
        """Add one step of `windows` windows."""
        self.windows += windows
        for name, value in row.items():
            self.terms[name] = self.terms.get(name, 0.0) + value

    @classmethod
    def of(cls, content: Mapping[str, Any] | list[float]) -> "Sums":
        """From a checkpoint, also one whose sums have no names."""
        if isinstance(content, Mapping):
            return cls(**content)
        windows, *values = content
        return cls(windows, dict(zip(OLDER_TERMS, values, strict=True)))


@dataclass
class Progress:
    """Where a run is.  `interval` and `epoch` are sums since the last line of the log and since the epoch began."""

    step: int = 0
    evaluated_step: int = 0
    best_mm: float = math.inf
    best_step: int = 0
    seconds: float = 0.0
    interval: Sums = field(default_factory=Sums)
    epoch: Sums = field(default_factory=Sums)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Progress":
        """From a checkpoint: what `dataclasses.asdict` made of one."""
        sums = {name: Sums.of(content[name]) for name in ("interval", "epoch")}
        return cls(**{**content, **sums})
