"""Compares a finished run with the mean-pose baseline and reference runs, to detect broken data."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from glagcn.config.options import Config
from glagcn.config.recipes import REFERENCE, Curve
from glagcn.data.windows.store import MM_PER_METRE, mean_pose
from glagcn.evaluation.benchmark import BLOCK
from glagcn.evaluation.evaluate import EvaluationSet
from glagcn.evaluation.metrics import joint_errors
from glagcn.skeleton import get_skeleton
from glagcn.training.setup import RunData

SUSPICIOUS = 1.3  # times the error of the reference run
REFERENCE_MODEL = "gla_gcn"  # the model of the reference runs


@dataclass(frozen=True)
class Comparison:
    """Errors as shares of the mean-pose error: of this run, and of the reference runs after the same windows.

    this       share of this run, of `recipe`, after `windows` training windows.
    tuned      share of the reference run of the tuned recipe;  published  of the published recipe.
    """

    recipe: str
    windows: int
    this: float
    tuned: float
    published: float

    @property
    def is_suspicious(self) -> bool:
        """Whether this run of the tuned recipe is clearly worse than its reference run.

        Not judged for the published recipe: its reference run used a higher learning rate.
        """
        return self.recipe == "tuned" and self.this > SUSPICIOUS * self.tuned

    def text(self) -> str:
        """For the log."""
        text = (
            f"After {self.windows:,} windows the error is {self.this:.0%} of the mean-pose baseline (reference runs in "
            f"docs/recipe.md: tuned {self.tuned:.0%}, published {self.published:.0%})"
        )
        if not self.is_suspicious:
            return text
        return (
            f"WARNING: {text}. This run is clearly worse than the reference run: if flags do not explain it, compare "
            "2D and 3D of a few frames (--render)"
        )


def compare_with_reference(config: Config, windows: int, error: float, mean_pose_error: float) -> Comparison | None:
    """Compare a run of `windows` training windows with the reference runs.

    error  of the run, and mean_pose_error  of the mean-pose baseline: MPJPE in mm on the same frames.
    The reference errors are interpolated over log(windows), and constant after the last entry of the table.
    None for data sets without reference runs, other models, runs shorter than the first entry, with simulated
    detections, and runs that started from a checkpoint or were capped by --debug or --max_steps.
    """
    table = REFERENCE.get(config.data.dataset, {})
    if (
        not table
        or config.model.kind != REFERENCE_MODEL
        or config.run.resume
        or config.data.detections
        or config.selection.test_detections
        or config.run.debug
        or config.optim.max_steps
    ):
        return None
    if windows < max(curve[0][0] for curve in table.values()):
        return None
    shares = {recipe: _share_at(curve, windows) for recipe, curve in table.items()}
    return Comparison(config.optim.recipe, windows, error / mean_pose_error, **shares)


def _share_at(curve: Curve, windows: int) -> float:
    for (begin, first), (end, last) in pairwise(curve):
        if windows < end:
            return first + (last - first) * math.log(windows / begin) / math.log(end / begin)
    return curve[-1][1]


def mean_pose_error(data: RunData, scored: EvaluationSet) -> float:
    """MPJPE in mm, averaged as the benchmark does, if the mean training pose is predicted for every scored frame."""
    split, skeleton, frames = scored.split, get_skeleton(data.cache.skeleton), scored.frames
    mean = mean_pose(data.train_split, data.plan.centers, skeleton).numpy() * MM_PER_METRE
    errors = []
    for begin in range(0, len(frames), BLOCK):
        target = split.millimetres[frames[begin : begin + BLOCK]]
        target -= target[:, skeleton.root, None]
        errors.append(joint_errors(np.broadcast_to(mean, target.shape), target))
    return scored.benchmark.mpjpe(np.concatenate(errors), split, frames)
