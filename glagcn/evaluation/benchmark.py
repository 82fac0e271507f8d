"""A benchmark: how predictions are scored and reported, from the root joint to the result files."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from glagcn.data.cache.reader import Split
from glagcn.data.sequence import SequenceInfo
from glagcn.evaluation.metrics import Metric
from glagcn.skeleton import Skeleton

Arrays = list[np.ndarray]
Metrics = dict[str, Any]
Tables = dict[str, Any]

# Frames that errors are computed of at a time: the intermediate arrays of 65,536 frames take about 0.3 GB, those of
# Human3.6M's test set, 543,344 frames, would take ten times that.
BLOCK = 65_536


def sequence_bounds(split: Split, frames: np.ndarray) -> np.ndarray:
    """Where each sequence begins in the increasing frame numbers `frames` [n], and n: [S+1] int64."""
    return np.append(np.searchsorted(frames, split.starts), len(frames))


@dataclass(frozen=True)
class ScoredFrames:
    """The n scored frames of a split with their predictions, in the order of the S sequences.

    sequences   the split's S rows; one without scored frames is among them.
    bounds      [S+1]: sequence s has the entries bounds[s]:bounds[s+1] of the arrays below.
    frames      [n] frame numbers in the split, increasing.
    predicted   [n,V,3] mm, relative to the root;  target likewise, its root at zero.
    activity    [n], or None where the data has no activities.
    annotation  what the target is, such as "univ"; may be empty.
    """

    sequences: tuple[SequenceInfo, ...]
    bounds: np.ndarray
    frames: np.ndarray
    predicted: np.ndarray
    target: np.ndarray
    activity: np.ndarray | None
    annotation: str

    def by_sequence(self, values: np.ndarray) -> Arrays:
        """Views of the S parts of an array [n,...]."""
        return np.split(values, self.bounds[1:-1])


class Benchmark(ABC):
    """A convention of scoring; benchmarks.py lists them.

    zero_root  whether the predicted root is set to zero.  Where it is not, its small error counts.
    files      the names of the files beside result.json, for a sentence.
    """

    zero_root: ClassVar[bool]
    files: ClassVar[str]

    @property
    def root(self) -> str:
        """The `root` of result.json: what happened to the predicted root."""
        return "zero" if self.zero_root else "as predicted"

    @property
    @abstractmethod
    def scalars(self) -> tuple[Metric, ...]:
        """The metrics for curves, logs and the headline; MPJPE, which chooses best.pt, is among them."""

    @abstractmethod
    def score(self, scored: ScoredFrames) -> tuple[Metrics, Tables]:
        """All that result.json holds of the scores: scalars, protocol, groups, sequences; and the tables for `show`
        and `write`.  Raises UserError where poses are not finite or do not fit the benchmark.
        """

    @abstractmethod
    def mpjpe(self, errors: np.ndarray, split: Split, frames: np.ndarray) -> float:
        """The scalar mpjpe_mm of joint errors [n,V] of the frames [n] of a split, for a baseline."""

    def curves(self, metrics: Metrics) -> dict[str, dict[str, float]]:  # noqa: ARG002
        """{kind: {name: value}}, recorded of an evaluation during training beside the scalars."""
        return {}

    def headline(self, metrics: Metrics) -> str:
        """One line: the scalars, and the protocol they follow.  `metrics` come from `score` or from result.json."""
        scalars = ", ".join(metric.text(metrics[metric.name]) for metric in self.scalars if metric.name in metrics)
        return f"{scalars} ({self.protocol_line(metrics)})"

    @abstractmethod
    def protocol_line(self, metrics: Metrics) -> str:
        """The protocol, frames and joints of the scalars, in a phrase."""

    @abstractmethod
    def show(self, evaluation: "Evaluation", by_subject: bool) -> str:
        """The tables for the screen; `by_subject` adds those of each subject, where they are not there anyway."""

    @abstractmethod
    def write(self, evaluation: "Evaluation", folder: Path) -> None:
        """Write the files beside result.json.  Raises UserError where the folder cannot be written to."""


@dataclass(frozen=True)
class Evaluation:
    """The predictions of an evaluation, by sequence, and every metric that follows from them.

    names       of the S test sequences; one without scored frames keeps its place in the tables.
    predicted   S arrays [n,V,3] mm, relative to the root;  target likewise, its root at zero.
    activity    S arrays [n], or None where the data has no activities.
    metrics     what result.json holds: scalars, the protocol, groups, per sequence.
    tables      the benchmark's own, for its files and the screen.
    benchmark   the convention that all of this follows.
    skeleton    of the poses.
    """

    names: list[str]
    predicted: Arrays
    target: Arrays
    activity: Arrays | None
    metrics: Metrics
    tables: Tables
    benchmark: Benchmark
    skeleton: Skeleton

    @property
    def scalars(self) -> dict[str, float]:
        """The metrics for curves and logs, by name."""
        return {metric.name: self.metrics[metric.name] for metric in self.benchmark.scalars}

    @property
    def headline(self) -> str:
        """One line for the log."""
        return self.benchmark.headline(self.metrics)
