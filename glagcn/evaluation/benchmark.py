"""The interface of a benchmark: its metrics, tables and result files."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
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

# Errors are computed for this many frames at a time.  Intermediate arrays of 65,536 frames take about 0.3 GB; those of
# all 543,344 test frames of Human3.6M would take ten times that.
BLOCK = 65_536


def by_sequence(split: Split, frames: np.ndarray, values: np.ndarray) -> Arrays:
    """Split values [n,...] of the increasing frame numbers `frames` [n] into views, one for each sequence."""
    return np.split(values, np.searchsorted(frames, split.starts[1:]))


class Benchmark(ABC):
    """A benchmark: scores predictions, formats tables and writes result files.  benchmarks.py lists all of them.

    zero_root  whether the predicted root is set to zero before scoring; otherwise its small error counts.
    files      names of the files written beside result.json, for messages.
    """

    zero_root: ClassVar[bool]
    files: ClassVar[str]

    @property
    @abstractmethod
    def scalars(self) -> tuple[Metric, ...]:
        """The metrics for curves, logs and the headline; they include MPJPE, which selects best.pt."""

    @abstractmethod
    def score(self, evaluation: "Evaluation") -> tuple[Metrics, Tables]:
        """The metrics for result.json (scalars, protocol, groups, sequences) and the tables for `show` and `write`.

        `evaluation` has neither yet.

        Raises UserError if poses are not finite or have the wrong shape for the benchmark.
        """

    @abstractmethod
    def mpjpe(self, errors: np.ndarray, split: Split, frames: np.ndarray) -> float:
        """The scalar mpjpe_mm of a baseline with joint errors [n,V] at the frames [n] of a split."""

    def curves(self, metrics: Metrics) -> dict[str, dict[str, float]]:  # noqa: ARG002
        """Additional curves recorded during training, {kind: {name: value}}."""
        return {}

    def headline(self, metrics: Metrics) -> str:
        """One line with the scalars and their protocol.  `metrics` come from `score` or from result.json.

        A metric that has no value (NaN, or null in result.json), such as the velocity of single frames, is left out.
        """
        values = ((metric, metrics.get(metric.name)) for metric in self.scalars)
        scalars = ", ".join(metric.text(value) for metric, value in values if value is not None and value == value)
        return f"{scalars} ({self.protocol_line(metrics)})".lstrip()

    @abstractmethod
    def protocol_line(self, metrics: Metrics) -> str:
        """A phrase that names the protocol, frames and joints of the scalars."""

    @abstractmethod
    def show(self, evaluation: "Evaluation", by_subject: bool) -> str:
        """The tables as text; `by_subject` adds a table for each subject if the benchmark has none by default."""

    @abstractmethod
    def write(self, evaluation: "Evaluation", folder: Path) -> None:
        """Write the files beside result.json.  Raises UserError if the folder is not writable."""


@dataclass(frozen=True)
class Evaluation:
    """The scored frames of a split with their predictions, S sequences including those without scored frames.

    benchmark   scores the predictions.
    skeleton    joint set of the poses.
    sequences   S descriptions.
    frames      S arrays [n]: the scored frames, counted in the split, increasing.
    predicted   S arrays [n,V,3] mm, relative to the root.
    target      S arrays [n,V,3] mm, relative to the root, which is zero.
    activity    S arrays [n]; None if the data has no activities.
    annotation  annotation of the target, such as "univ"; may be empty.
    metrics     content of result.json: scalars, protocol, groups, sequences.
    tables      tables of the benchmark, for its files and the terminal.
    """

    benchmark: Benchmark
    skeleton: Skeleton
    sequences: tuple[SequenceInfo, ...]
    frames: Arrays
    predicted: Arrays
    target: Arrays
    activity: Arrays | None = None
    annotation: str = ""
    metrics: Metrics = field(default_factory=dict)
    tables: Tables = field(default_factory=dict)

    @property
    def scalars(self) -> dict[str, float]:
        """The metrics for curves and logs, by name."""
        return {metric.name: self.metrics[metric.name] for metric in self.benchmark.scalars}

    @property
    def headline(self) -> str:
        """One line for the log."""
        return self.benchmark.headline(self.metrics)
