"""A finished run compared with reference runs of the same number of windows, to notice broken data."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from glagcn.config.config import Config
from glagcn.data.dataset import Curve
from glagcn.data.datasets import get_dataset
from glagcn.data.windows.store import MM_PER_METRE, mean_pose
from glagcn.evaluation.benchmark import BLOCK
from glagcn.evaluation.evaluate import EvaluationSet
from glagcn.evaluation.metrics import joint_errors
from glagcn.skeleton import get_skeleton
from glagcn.training.setup import RunData

SUSPICIOUS = 1.3  # times the table's error
REFERENCE_MODEL = "gla_gcn"  # the runs of the tables are of this model


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
        """Whether this run is clearly worse than the tuned recipe, which it follows: the published one may be slower
        than its row of the table, whose rate is higher."""
        return self.recipe == "tuned" and self.this > SUSPICIOUS * self.tuned

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
    None for data sets without a table, other models, fewer windows than its first row, and runs that began from a
    checkpoint or were capped by --debug or --max_steps.
    """
    table = get_dataset(config.data.dataset).reference
    if (
        not table
        or config.model.kind != REFERENCE_MODEL
        or config.run.resume
        or config.run.debug
        or config.optim.max_steps
    ):
        return None
    if not table or windows < max(curve[0][0] for curve in table.values()):
        return None
    shares = {recipe: _share_at(curve, windows) for recipe, curve in table.items()}
    return Place(config.optim.recipe, windows, error / mean_pose_error, **shares)


def _share_at(curve: Curve, windows: int) -> float:
    for (begin, first), (end, last) in pairwise(curve):
        if windows < end:
            return first + (last - first) * math.log(windows / begin) / math.log(end / begin)
    return curve[-1][1]


def mean_pose_error(data: RunData, scored: EvaluationSet) -> float:
    """MPJPE in mm, averaged as the benchmark does, of predicting the mean training pose for every scored frame: what a
    model must beat clearly.
    """
    split, skeleton, frames = scored.split, get_skeleton(data.cache.skeleton), scored.frames
    mean = mean_pose(data.train_split, data.plan.centers, skeleton).numpy() * MM_PER_METRE
    errors = []
    for begin in range(0, len(frames), BLOCK):
        target = split.millimetres[frames[begin : begin + BLOCK]]
        target -= target[:, skeleton.root, None]
        errors.append(joint_errors(np.broadcast_to(mean, target.shape), target))
    return scored.benchmark.mpjpe(np.concatenate(errors), split, frames)
