"""What a suite is: the figures, tables and files that belong to one convention of scoring.

MPI-INF-3DHP and the data sets of VideoPose3D (Human3.6M, HumanEva-I) are scored differently from the root joint to the
headline.  Whatever differs is a field of `Suite`; suites.py has the two and chooses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.data.cache.reader import Split
from glagcn.data.sequence import SequenceInfo
from glagcn.skeleton import Skeleton

Arrays = list[np.ndarray]
Figures = dict[str, Any]
Tables = dict[str, Any]

# Frames that errors are computed of at a time: the intermediate arrays of 65,536 frames take about 0.3 GB, those of
# Human3.6M's test set, 543,344 frames, would take ten times that.
BLOCK = 65_536


def sequence_bounds(split: Split, frames: np.ndarray) -> np.ndarray:
    """Where each sequence begins in the increasing frame numbers `frames` [n], and n: [S+1] int64."""
    return np.append(np.searchsorted(frames, split.starts), len(frames))


@dataclass(frozen=True)
class Scored:
    """The n scored frames of a split with their predictions, in the order of the S sequences.

    sequences   the split's S rows; one without scored frames is among them.
    bounds      [S+1]: sequence s has the entries bounds[s]:bounds[s+1] of the arrays below.
    frames      [n] frame numbers in the split, increasing.
    predicted   [n,V,3] mm, relative to the root;  target likewise, its root at zero.
    activity    [n], or None where the data has no activities.
    annotation  what the target is, such as "univ"; may be empty.
    root        what was done to the predicted root: "zero" or "as predicted".
    """

    sequences: tuple[SequenceInfo, ...]
    bounds: np.ndarray
    frames: np.ndarray
    predicted: np.ndarray
    target: np.ndarray
    activity: np.ndarray | None
    annotation: str
    root: str

    def by_sequence(self, values: np.ndarray) -> Arrays:
        """Views of the S parts of an array [n,...]."""
        return np.split(values, self.bounds[1:-1])


@dataclass(frozen=True)
class Suite:
    """One convention of scoring.

    zero_root  whether the predicted root is set to zero.  Where it is not, its small error counts.
    scalars    the figures for curves and logs; "mpjpe_mm", which chooses best.pt, is among them.
    score      scored frames -> what result.json holds of them, and tables.
    mpjpe      errors [n,V], their split and their frames [n] -> the figure mpjpe_mm, for a baseline.
    curves     figures -> {kind: {name: value}}, what else is recorded of an evaluation during training.
    headline   figures, from memory or from result.json -> one line: the figures and the protocol they follow.
    show       an evaluation, and whether to show every subject -> the tables for the screen.
    write      writes the files beside result.json into a folder.
    files      the names of these files, for a sentence.
    """

    zero_root: bool
    scalars: tuple[str, ...]
    score: Callable[[Scored], tuple[Figures, Tables]]
    mpjpe: Callable[[np.ndarray, Split, np.ndarray], float]
    curves: Callable[[Figures], dict[str, dict[str, float]]]
    headline: Callable[[Figures], str]
    show: Callable[["Evaluation", bool], str]
    write: Callable[["Evaluation", Path], None]
    files: str

    @property
    def root(self) -> str:
        """What result.json says of the predicted root."""
        return "zero" if self.zero_root else "as predicted"


@dataclass(frozen=True)
class Evaluation:
    """The predictions of an evaluation, by sequence, and every figure that follows from them.

    names       of the S test sequences; one without scored frames keeps its place in the tables.
    predicted   S arrays [n,V,3] mm, relative to the root;  target likewise, its root at zero.
    activity    S arrays [n], or None where the data has no activities.
    figures     what result.json holds: scalars, the protocol, groups, per sequence.
    tables      the suite's own, for its files and the screen.
    suite       the convention that all of this follows.
    skeleton    of the poses.
    """

    names: list[str]
    predicted: Arrays
    target: Arrays
    activity: Arrays | None
    figures: Figures
    tables: Tables
    suite: Suite
    skeleton: Skeleton

    @property
    def scalars(self) -> dict[str, float]:
        """The figures for curves and logs."""
        return {name: self.figures[name] for name in self.suite.scalars}
