"""Evaluation: every scored frame once, on any number of processes, and what is written about it.

Each rank predicts its share of the scored frames; the poses meet on rank 0, which computes every metric in float64.
Poses travel instead of sums because Procrustes alignment, velocities and the official tables need them, and they
are small: 17 joints of 2,900 frames are half a megabyte, those of Human3.6M's 543,344 test frames 111.

The benchmark of the data set (benchmarks.py) defines the metrics, tables and result files.
"""

from dataclasses import dataclass

import numpy as np

from glagcn.data.cache.reader import Split
from glagcn.data.validation import frames_of
from glagcn.data.windows.store import FrameStore
from glagcn.distributed.ranks import Ranks
from glagcn.errors import UserError
from glagcn.evaluation.benchmark import Benchmark, Evaluation, ScoredFrames, sequence_bounds
from glagcn.evaluation.predict import predict_frames
from glagcn.model.interface import Model
from glagcn.skeleton import Skeleton


@dataclass(frozen=True)
class EvaluationSet:
    """What is evaluated on.

    name       "test" or "validation".
    split      the sequences; its arrays may hold more than they are.
    store      the resident frames, numbered as in the split.
    frames     [n] the frames that are scored, increasing.
    benchmark  of the data set.
    """

    name: str
    split: Split
    store: FrameStore
    frames: np.ndarray
    benchmark: Benchmark


def scored_frames(split: Split, most: int | None = None) -> np.ndarray:
    """The valid frames [n] int64 of a split's sequences; evenly thinned to `most`."""
    frames = frames_of(split)
    if len(frames) == 0:
        raise UserError("no test frame is valid, so there is nothing to evaluate; prepare the data set again")
    if most is None or most >= len(frames):
        return frames
    return frames[np.linspace(0, len(frames) - 1, most).round().astype(int)]


def summarise(
    benchmark: Benchmark,
    split: Split,
    skeleton: Skeleton,
    annotation: str,
    frames: np.ndarray,
    predicted: np.ndarray,
) -> Evaluation:
    """All metrics of the predictions [n,V,3] mm of the frames `frames` [n], increasing, of a split, in float64.

    benchmark   that scores them; the predictions follow its `zero_root`.
    skeleton    of the poses.
    annotation  what the 3D of the split is, such as "univ"; empty where there is but one.
    """
    target = split.millimetres[frames].astype(np.float64)
    target -= target[:, skeleton.root : skeleton.root + 1]
    scored = ScoredFrames(
        sequences=split.sequences,
        bounds=sequence_bounds(split, frames),
        frames=frames,
        predicted=predicted,
        target=target,
        activity=None if split.activity is None else split.activity[frames],
        annotation=annotation,
    )
    metrics, tables = benchmark.score(scored)
    return Evaluation(
        names=[info.name for info in split.sequences],
        predicted=scored.by_sequence(predicted),
        target=scored.by_sequence(target),
        activity=None if scored.activity is None else scored.by_sequence(scored.activity),
        metrics=metrics | {"root": benchmark.root},
        tables=tables,
        benchmark=benchmark,
        skeleton=skeleton,
    )


def evaluate(model: Model, data: EvaluationSet, ranks: Ranks, *, annotation: str, flip: bool) -> Evaluation | None:
    """Predict on all ranks.  Returns the evaluation on rank 0, None elsewhere."""
    skeleton = data.store.skeleton
    zero_root = data.benchmark.zero_root
    predicted = predict_frames(model, data.store, data.frames, ranks, flip=flip, zero_root=zero_root)
    evaluation = None
    with ranks.agree():
        if ranks.is_main:
            evaluation = summarise(data.benchmark, data.split, skeleton, annotation, data.frames, predicted)
    return evaluation
