"""Evaluation: predict every scored frame once, on any number of processes, compute the metrics and write the results.

Each rank predicts its share of the scored frames.  The poses are gathered, and rank 0 computes all metrics in float64.
Poses are gathered instead of sums because Procrustes alignment, velocities and the official tables need them.  They are
small: 0.5 MB for 2,900 frames of 17 joints, 111 MB for the 543,344 test frames of Human3.6M.
"""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glagcn import dist
from glagcn.config.options import Config
from glagcn.data.dataset import Cache, Split
from glagcn.data.detector_noise import with_detector_noise
from glagcn.data.lenses import find_lenses
from glagcn.data.plan import BatchSpec, share_bounds
from glagcn.data.selection import select, valid_frames
from glagcn.data.windows import FrameStore
from glagcn.evaluate.benchmarks import Benchmark, Evaluation, benchmark_of, by_sequence
from glagcn.files import write_text
from glagcn.machine import describe, program
from glagcn.model.cores import LEAST_WINDOWS, cpu_batch, cpu_stretch, on_every_core
from glagcn.model.interface import Model
from glagcn.poses.lift import lifting, stretches
from glagcn.poses.normalise import MM_PER_METRE
from glagcn.poses.ray import turned_back
from glagcn.skeletons import Skeleton, get_skeleton

GPU_FLOATS = 1 << 25  # floats of the largest feature map of a batch that fills a GPU
BATCHES_BETWEEN_CHECKS = 4  # batches between checks for a stop signal


@dataclass(frozen=True)
class EvaluationSet:
    """The frames to evaluate on."""

    name: str  # "test" or "validation"
    split: Split  # the sequences; its arrays may contain other sequences too
    store: FrameStore  # the resident frames, numbered as in the split
    frames: np.ndarray  # [n] the scored frames, increasing
    benchmark: Benchmark


def scored_frames(split: Split, max_frames: int | None = None) -> np.ndarray:
    """The valid frames [n] int64 of a split's sequences, or `max_frames` of them, evenly spaced."""
    frames = valid_frames(split)
    if max_frames is None or max_frames >= len(frames):
        return frames
    return frames[np.linspace(0, len(frames) - 1, max_frames).round().astype(int)]


def place_test_set(cache: Cache, model: Model, split: Split, frames: np.ndarray) -> EvaluationSet:
    """The `frames` of a test split on the device, as a model reads them."""
    lenses = find_lenses(cache, split, training=False) if model.frame == "ray" else None
    form: dict[str, Any] = {"channels": len(model.input), "causal": model.causal, "lenses": lenses}
    store = FrameStore(split, get_skeleton(cache.skeleton), model.frames, dist.device(), **form)
    return EvaluationSet("test", split, store, frames, benchmark_of(cache.dataset))


def select_test(config: Config, cache: Cache) -> tuple[Split, np.ndarray]:
    """The test split of the options, with simulated detections if they say so, and its scored frames [n]."""
    split = select(cache, "test", config.data.subjects_test, config.data.actions, config.data.downsample)
    split = with_detector_noise(split, get_skeleton(cache.skeleton), config.selection.test_detections)
    return split, scored_frames(split, config.selection.test_frames)


def evaluate(model: Model, data: EvaluationSet, *, annotation: str, flip: bool) -> Evaluation | None:
    """Predict on all ranks and score on rank 0.  Returns the evaluation on rank 0, None on other ranks."""
    benchmark, skeleton = data.benchmark, data.store.skeleton
    predicted = predict_frames(model, data.store, data.frames, flip=flip, zero_root=benchmark.zero_root)
    evaluation = None
    with dist.agree():
        if dist.is_main():
            evaluation = summarise(benchmark, data.split, skeleton, annotation, data.frames, predicted)
    return evaluation


@torch.inference_mode()
def predict_frames(
    model: Model, store: FrameStore, frames: np.ndarray, *, flip: bool, zero_root: bool, batch_size: int | None = None
) -> np.ndarray:
    """The predicted poses [n,V,3] mm of the target frames `frames`, on every rank.

    flip        average with the un-mirrored prediction of the mirrored window (test-time augmentation).
    zero_root   set the predicted root to zero.
    batch_size  frames per batch; None: suitable for the device.
    """
    model = model.for_prediction()
    lift = lifting(model, flip)
    if store.device.type == "cpu":
        most, windows = cpu_stretch(model), cpu_batch(model) // (1 + flip)
    else:
        most, windows = (
            max(LEAST_WINDOWS, GPU_FLOATS // size) for size in (model.sequence_map, (1 + flip) * model.map_size)
        )
    bounds = [share_bounds(len(frames), rank, dist.world_size()) for rank in range(dist.world_size())]
    shares = [frames[begin:end] for begin, end in bounds]
    plans = [
        list(stretches(share, np.diff(store.sequence_of(share)) != 0, batch_size or most, batch_size or windows))
        for share in shares
    ]

    def lifted(part: tuple[bool, np.ndarray]) -> Tensor:
        together, chosen = part
        if together:
            inputs, rotations = store.stretch(int(chosen[0]), int(chosen[-1]))
        else:
            inputs, _, rotations = store.windows(BatchSpec(chosen, np.zeros(len(chosen), dtype=bool)))
        return turned_back(lift(inputs), rotations)

    # All ranks gather the same shape: that of rank 0, which has the largest share.
    poses = torch.zeros(bounds[0][1], store.skeleton.num_joints, 3, device=dist.device())
    plan = plans[dist.rank()]
    parts = on_every_core(lifted, plan) if store.device.type == "cpu" else (lifted(part) for part in plan)
    with closing(parts):
        done = 0
        for number in range(max(map(len, plans))):  # so that all ranks check together
            for predicted in islice(parts, 1):
                poses[done : done + len(predicted)] = predicted
                done += len(predicted)
            if number % BATCHES_BETWEEN_CHECKS == 0:
                dist.check_stop()
    if zero_root:
        poses[:, store.skeleton.root] = 0
    gathered = zip(dist.gather(poses), bounds, strict=True)
    return torch.cat([part[: end - begin] for part, (begin, end) in gathered]).double().cpu().numpy() * MM_PER_METRE


def summarise(
    benchmark: Benchmark, split: Split, skeleton: Skeleton, annotation: str, frames: np.ndarray, predicted: np.ndarray
) -> Evaluation:
    """Score the predictions [n,V,3] mm of the frames `frames` [n], increasing, of a split, in float64.

    The predicted root must follow `zero_root` of the benchmark.  The annotation, such as "univ", is empty if the data
    set has only one.
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
    root = "zero" if benchmark.zero_root else "as predicted"
    return replace(evaluation, metrics=benchmark.score(evaluation) | {"root": root})


class Result(dict[str, Any]):
    """The content of result.json.

    headline  the metrics in a line.
    folder    where result.json and the tables are.
    """

    def __init__(self, content: Mapping[str, Any], headline: str, folder: Path) -> None:
        super().__init__(content)
        self.headline, self.folder = headline, folder

    def __repr__(self) -> str:
        return f"Result({self.headline}; {self.folder})"


def write_results(evaluation: Evaluation, folder: Path, about: dict[str, Any]) -> Result:
    """Write result.json and the files of the benchmark.  Returns the content of result.json.

    about  further entries of result.json: the checkpoint, the data, warnings.
    """
    evaluation.benchmark.write(evaluation, folder)
    result = _without_nan(evaluation.metrics | about)
    write_text(folder / "result.json", json.dumps(result, indent=2, allow_nan=False) + "\n")
    return Result(result, evaluation.headline, folder)


def about_evaluation(config: Config, cache: Cache, path: Path, store: FrameStore) -> dict[str, Any]:
    """The entries of result.json that describe the checkpoint at `path`, the data and the settings."""
    return {
        "checkpoint": str(path),
        "dataset": cache.dataset,
        "keypoints": cache.keypoints,
        "annotation": cache.annotation,
        "skeleton": cache.skeleton,
        "data_fingerprint": cache.fingerprint,
        "frame": "ray" if store.lenses else "camera",
        "focal_lengths": store.lenses.source if store.lenses else None,
        "flip": config.data.test_flip,
        "all_frames": config.selection.test_frames is None,
        "simulated_detections": config.selection.test_detections or "none",
        "processes": dist.world_size(),
        "program": program(),
        "machine": describe(dist.device()),
        "warnings": [],
    }


def _without_nan(value: Any) -> Any:
    """`value` with NaN replaced by None, because JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
