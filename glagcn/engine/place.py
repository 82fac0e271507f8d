"""Where a finished run stands among runs of the recipes with as many windows, so that broken data are noticed."""

import math
from dataclasses import dataclass
from itertools import pairwise

from glagcn.config import Config

# By data set: training windows, and what is left of the mean pose's test error after them, tuned and published.
# 3dhp: CMU motion capture in the layout of MPI-INF-3DHP, 32 channels, 27 frames (docs/recipe.md).  demo: its preset.
TABLES: dict[str, tuple[tuple[int, float, float], ...]] = {}
SUSPICIOUS = 1.3  # times the table's error


@dataclass(frozen=True)
class Place:
    """Shares of the mean pose's error that are left: by this run, and by the recipes after as many windows."""

    recipe: str
    windows: int
    this: float
    tuned: float
    published: float

    @property
    def is_suspicious(self) -> bool:
        """Whether this run is clearly worse than its recipe."""
        return self.this > SUSPICIOUS * getattr(self, self.recipe)

    def text(self) -> str:
        """For the log."""
        found = (
            f"Place in the table of docs/recipe.md: after {self.windows:,} windows {self.this:.0%} of the mean pose's "
            f"error is left; there, --recipe tuned leaves {self.tuned:.0%}, published {self.published:.0%}"
        )
        if not self.is_suspicious:
            return found
        return (
            f"WARNING: {found}. This run is clearly worse than {self.recipe}: if flags do not explain it, compare 2D "
            "and 3D of a few frames (--render)"
        )


def place_of(config: Config, windows: int, error: float, mean_pose_error: float) -> Place | None:
    """The place of a run from scratch that ended after `windows` windows with these two errors in mm.

    Between rows of the table its errors are taken along the logarithm of the windows; after its end, the last ones.
    None for data sets without a table, fewer windows than its first row, and runs that began from a checkpoint or were
    capped by --debug or --max_steps.
    """
    table = TABLES.get(config.dataset)
    if not table or windows < table[0][0] or config.resume or config.debug or config.max_steps:
        return None
    return Place(config.recipe, windows, error / mean_pose_error, *_row_at(table, windows))


def _row_at(table: tuple[tuple[int, float, float], ...], windows: int) -> list[float]:
    for (begin, *first), (end, *last) in pairwise(table):
        if windows < end:
            passed = math.log(windows / begin) / math.log(end / begin)
            return [now + (then - now) * passed for now, then in zip(first, last, strict=True)]
    return list(table[-1][1:])
