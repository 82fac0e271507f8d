"""Evaluation: predict every scored frame once, on any number of processes, and compute the metrics.

Each rank predicts its share of the scored frames.  The poses are gathered, and rank 0 computes all metrics in float64.
Poses are gathered instead of sums because Procrustes alignment, velocities and the official tables need them.  They are
small: 0.5 MB for 2,900 frames of 17 joints, 111 MB for the 543,344 test frames of Human3.6M.

The benchmark of the data set (benchmarks.py) defines the metrics, tables and result files.
"""

from dataclasses import dataclass, replace

import numpy as np

from glagcn import dist
from glagcn.data.cache.reader import Split
from glagcn.data.validation import frames_of
from glagcn.data.windows.store import FrameStore
from glagcn.errors import UserError
from glagcn.evaluation.benchmark import Benchmark, Evaluation, by_sequence
from glagcn.evaluation.predict import predict_frames
from glagcn.model.interface import Model
from glagcn.skeleton import Skeleton


@dataclass(frozen=True)
class EvaluationSet:
    """The frames to evaluate on.

    name       "test" or "validation".
    split      the sequences; its arrays may contain other sequences too.
    store      the resident frames, numbered as in the split.
    frames     [n] the scored frames, increasing.
    benchmark  benchmark of the data set.
    """

    name: str
    split: Split
    store: FrameStore
    frames: np.ndarray
    benchmark: Benchmark


def scored_frames(split: Split, max_frames: int | None = None) -> np.ndarray:
    """The valid frames [n] int64 of a split's sequences, or `max_frames` of them, evenly spaced.

    Raises UserError if no frame is valid.
    """
    frames = frames_of(split)
    if len(frames) == 0:
        raise UserError("no test frame is valid, so there is nothing to evaluate; prepare the data set again")
    if max_frames is None or max_frames >= len(frames):
        return frames
    return frames[np.linspace(0, len(frames) - 1, max_frames).round().astype(int)]


def summarise(
    benchmark: Benchmark,
    split: Split,
    skeleton: Skeleton,
    annotation: str,
    frames: np.ndarray,
    predicted: np.ndarray,
) -> Evaluation:
    """Score the predictions [n,V,3] mm of the frames `frames` [n], increasing, of a split, in float64.

    benchmark   scores the predictions, whose root must follow its `zero_root`.
    skeleton    joint set of the poses.
    annotation  annotation of the split, such as "univ"; empty if the data set has only one.
    """
    target = split.millimetres[frames].astype(np.float64)
    target -= target[:, skeleton.root : skeleton.root + 1]
    evaluation = Evaluation(
        benchmark,
        skeleton,
        split.sequences,
        by_sequence(split, frames, frames),
        by_sequence(split, frames, predicted),
        by_sequence(split, frames, target),
        None if split.activity is None else by_sequence(split, frames, split.activity[frames]),
        annotation,
    )
    metrics, tables = benchmark.score(evaluation)
    root = "zero" if benchmark.zero_root else "as predicted"
    return replace(evaluation, metrics=metrics | {"root": root}, tables=tables)


def evaluate(model: Model, data: EvaluationSet, *, annotation: str, flip: bool) -> Evaluation | None:
    """Predict on all ranks and score on rank 0.  Returns the evaluation on rank 0, None on other ranks."""
    skeleton = data.store.skeleton
    zero_root = data.benchmark.zero_root
    predicted = predict_frames(model, data.store, data.frames, flip=flip, zero_root=zero_root)
    evaluation = None
    with dist.agree():
        if dist.is_main():
            evaluation = summarise(data.benchmark, data.split, skeleton, annotation, data.frames, predicted)
    return evaluation
