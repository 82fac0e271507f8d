"""Evaluation: every scored frame once, on any number of processes, and what is written about it.

Each rank predicts its share of the scored frames; the poses meet on rank 0, which computes every figure in float64.
Poses travel instead of sums because Procrustes alignment, velocities and the official tables need them, and they
are small: 17 joints of 2,900 frames are half a megabyte, those of Human3.6M's 543,344 test frames 111.

Which figures, tables and files there are is a matter of the suite (suites.py), which the skeleton chooses.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glagcn.config import Config
from glagcn.data.cache import Cache, Split
from glagcn.data.plan import WindowIds, share_bounds
from glagcn.data.validation import frames_of
from glagcn.data.windows import MM_PER_METRE, FrameStore, mirror, one_thread
from glagcn.engine.files import write_atomically
from glagcn.engine.ranks import Ranks
from glagcn.engine.suite import Evaluation, Scored, sequence_bounds
from glagcn.engine.suites import suite_of, suite_of_figures
from glagcn.errors import UserError
from glagcn.model.folded import folded
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import Skeleton

# What one feature map of a batch may hold: on a CPU it should stay in the cache, and a GPU should be filled.
CPU_FLOATS, GPU_FLOATS = 1 << 19, 1 << 25
LEAST_WINDOWS = 16  # in a batch: for fewer, one thread computes 1x1 convolutions by PyTorch's slow way


@dataclass(frozen=True)
class EvaluationSet:
    """What is evaluated on.

    name    "test" or "validation".
    split   the sequences; its arrays may hold more than they are.
    store   the resident frames, numbered as in the split.
    frames  [n] the frames that are scored, increasing.
    """

    name: str
    split: Split
    store: FrameStore
    frames: np.ndarray


def scored_frames(split: Split, most: int | None = None) -> np.ndarray:
    """The valid frames [n] int64 of a split's sequences; evenly thinned to `most`."""
    frames = frames_of(split)
    if len(frames) == 0:
        raise UserError("no test frame is valid, so there is nothing to evaluate; prepare the data set again")
    if most is None or most >= len(frames):
        return frames
    return frames[np.linspace(0, len(frames) - 1, most).round().astype(int)]


@torch.inference_mode()
def predict_frames(
    model: LiftingNetwork,
    store: FrameStore,
    frames: np.ndarray,
    ranks: Ranks,
    *,
    flip: bool,
    zero_root: bool,
    batch_size: int | None = None,
) -> np.ndarray:
    """Predicted poses [n,V,3] mm of the windows centred on `frames`: on every rank, for any world size.

    flip        average each prediction with the un-mirrored prediction of the mirrored window.
    zero_root   set the root to zero, where targets have it; else it stays as predicted.  A matter of the suite.
    batch_size  frames predicted at a time; None: as many as suit the device.
    """
    batch_size = batch_size or _frames_at_once(model, store, flip)
    model = folded(model)
    order = torch.tensor(store.skeleton.mirror, device=ranks.device)
    begin, end = share_bounds(len(frames), ranks.rank, ranks.world_size)
    mine = WindowIds(frames[begin:end], np.zeros(end - begin, dtype=bool))

    def batches() -> Iterator[WindowIds]:
        for begin in range(0, len(mine.frames), batch_size):
            ids = mine.part(begin, begin + batch_size)
            both = WindowIds(np.tile(ids.frames, 2), np.repeat([False, True], len(ids.frames)))
            yield both if flip else ids

    # Every rank gathers the same shape: rank 0's share, which no other exceeds.
    poses = torch.zeros(share_bounds(len(frames), 0, ranks.world_size)[1], *_pose_shape(store), device=ranks.device)

    def lift(inputs: Tensor) -> Tensor:
        predicted = model(inputs).center[:, 0].float()  # [n or 2n,V,3]
        if not flip:
            return predicted
        straight, mirrored = predicted.chunk(2)
        return (straight + mirror(mirrored, order)) / 2

    if store.device.type == "cpu":
        parts = _on_every_core(lambda ids: lift(store.windows(ids).inputs), batches())
    else:
        parts = (lift(batch.inputs) for batch in store.stream(batches()))
    done = 0
    for predicted in parts:
        poses[done : done + len(predicted)] = predicted
        done += len(predicted)
    if zero_root:
        poses[:, store.skeleton.root] = 0
    gathered = ranks.gather(poses)
    bounds = [share_bounds(len(frames), rank, ranks.world_size) for rank in range(ranks.world_size)]
    whole = torch.cat([part[: end - begin] for part, (begin, end) in zip(gathered, bounds, strict=True)])
    millimetres = whole.double().cpu().numpy()
    millimetres *= MM_PER_METRE
    return millimetres


def _on_every_core(work: Callable[[WindowIds], Tensor], items: Iterator[WindowIds]) -> Iterator[Tensor]:
    """map(work, items) on a CPU, in as many threads as PyTorch computes in, each of which computes alone: threads that
    share every operation wait for each other at its end."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(work, items)
        return
    with one_thread(), ThreadPoolExecutor(threads) as pool:
        yield from pool.map(torch.inference_mode()(work), items)


def _frames_at_once(model: LiftingNetwork, store: FrameStore, flip: bool) -> int:
    floats = CPU_FLOATS if store.device.type == "cpu" else GPU_FLOATS
    window = store.num_frames * store.skeleton.num_joints * model.channels
    return max(LEAST_WINDOWS, floats // window) // (1 + flip)


def _pose_shape(store: FrameStore) -> tuple[int, int]:
    return store.skeleton.num_joints, 3


def summarise(
    split: Split, skeleton: Skeleton, annotation: str, frames: np.ndarray, predicted: np.ndarray
) -> Evaluation:
    """All figures of the predictions [n,V,3] mm of the frames `frames` [n], increasing, of a split, in float64.

    skeleton    of the poses; it chooses the suite, which must have been asked what to do with the predicted root.
    annotation  what the 3D of the split is, such as "univ"; empty where there is but one.
    """
    suite = suite_of(skeleton)
    target = split.millimetres[frames].astype(np.float64)
    target -= target[:, skeleton.root : skeleton.root + 1]
    scored = Scored(
        sequences=split.sequences,
        bounds=sequence_bounds(split, frames),
        frames=frames,
        predicted=predicted,
        target=target,
        activity=None if split.activity is None else split.activity[frames],
        annotation=annotation,
        root=suite.root,
    )
    figures, tables = suite.score(scored)
    return Evaluation(
        names=[info.name for info in split.sequences],
        predicted=scored.by_sequence(predicted),
        target=scored.by_sequence(target),
        activity=None if scored.activity is None else scored.by_sequence(scored.activity),
        figures=figures | {"root": suite.root},
        tables=tables,
        suite=suite,
        skeleton=skeleton,
    )


def evaluate(
    model: LiftingNetwork, data: EvaluationSet, ranks: Ranks, *, annotation: str, flip: bool
) -> Evaluation | None:
    """Predict on all ranks; -> the evaluation on rank 0, None elsewhere."""
    skeleton = data.store.skeleton
    zero_root = suite_of(skeleton).zero_root
    predicted = predict_frames(model, data.store, data.frames, ranks, flip=flip, zero_root=zero_root)
    evaluation = None
    with ranks.agree():
        if ranks.is_main:
            evaluation = summarise(data.split, skeleton, annotation, data.frames, predicted)
    return evaluation


def write_results(evaluation: Evaluation, folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Write result.json and the files of the suite; -> the content of result.json.

    about  what else result.json says: the checkpoint, the data, warnings.
    """
    evaluation.suite.write(evaluation, folder)
    result = _without_nan(evaluation.figures | about)
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    write_atomically(folder / "result.json", lambda file: file.write(text.encode()))
    return result


def about_evaluation(config: Config, cache: Cache, path: Path, ranks: Ranks) -> dict[str, Any]:
    """What result.json says of the circumstances of an evaluation of the checkpoint at `path`."""
    return {
        "checkpoint": str(path),
        "dataset": cache.dataset,
        "keypoints": cache.keypoints,
        "annotation": cache.annotation,
        "skeleton": cache.skeleton,
        "data_fingerprint": cache.fingerprint,
        "flip": config.test_flip,
        "all_frames": config.test_frames is None,
        "processes": ranks.world_size,
        "warnings": [],
    }


def _without_nan(value: Any) -> Any:
    """JSON has no NaN; null says that there was nothing to average."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value


def headline(figures: dict[str, Any]) -> str:
    """One line for the log, of figures from memory or from result.json: the figures and the protocol they follow."""
    return suite_of_figures(figures).headline(figures)
