"""Evaluation: every scored frame once, on any number of processes, and what is written about it.

Each rank predicts its share of the scored frames; the poses meet on rank 0, which computes every figure in float64.
Poses travel instead of sums because Procrustes alignment, velocities and the official tables need them, and they
are few: 17 joints of 2,900 frames are half a megabyte.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glagcn.config import Config
from glagcn.data.cache import Cache, Split
from glagcn.data.windows import MM_PER_METRE, FrameStore, WindowIds, mirror, share, share_bounds
from glagcn.engine import metrics, protocols, reports
from glagcn.engine.files import write_atomically
from glagcn.engine.ranks import Ranks
from glagcn.errors import UserError
from glagcn.model.network import LiftingNetwork

Arrays = list[np.ndarray]


def scored_frames(split: Split, most: int | None = None) -> np.ndarray:
    """The valid frames [n] int64 of a split; evenly thinned to `most`."""
    frames = np.flatnonzero(split.valid)
    if len(frames) == 0:
        raise UserError("no test frame is valid, so there is nothing to evaluate; prepare the data set again")
    if most is None or most >= len(frames):
        return frames
    return frames[np.linspace(0, len(frames) - 1, most).round().astype(int)]


@torch.no_grad()
def predict_frames(
    model: LiftingNetwork, store: FrameStore, frames: np.ndarray, ranks: Ranks, *, flip: bool, batch_size: int = 64
) -> np.ndarray:
    """Predicted poses [n,V,3] mm, root at zero, of the windows centred on `frames`: on every rank, for any world size.

    flip  average each prediction with the un-mirrored prediction of the mirrored window.
    """
    model.eval()
    order = torch.tensor(store.skeleton.mirror, device=ranks.device)
    mine = share(WindowIds(frames, np.zeros(len(frames), dtype=bool)), ranks.rank, ranks.world_size)

    def batches() -> Iterator[WindowIds]:
        for begin in range(0, len(mine.frames), batch_size):
            ids = WindowIds(*(part[begin : begin + batch_size] for part in mine))
            both = WindowIds(np.tile(ids.frames, 2), np.repeat([False, True], len(ids.frames)))
            yield both if flip else ids

    # Every rank gathers the same shape: rank 0's share, which no other exceeds.
    poses = torch.zeros(share_bounds(len(frames), 0, ranks.world_size)[1], *_pose_shape(store), device=ranks.device)
    done = 0
    for batch in store.stream(batches()):
        predicted = model(batch.inputs).center[:, 0].float()  # [n or 2n,V,3]
        if flip:
            straight, mirrored = predicted.chunk(2)
            predicted = (straight + mirror(mirrored, order)) / 2
        poses[done : done + len(predicted)] = predicted
        done += len(predicted)
    poses[:, store.skeleton.root] = 0
    gathered = ranks.gather(poses)
    bounds = [share_bounds(len(frames), rank, ranks.world_size) for rank in range(ranks.world_size)]
    whole = torch.cat([part[: end - begin] for part, (begin, end) in zip(gathered, bounds, strict=True)])
    return whole.double().cpu().numpy() * MM_PER_METRE


def _pose_shape(store: FrameStore) -> tuple[int, int]:
    return store.skeleton.num_joints, 3


@dataclass(frozen=True)
class Evaluation:
    """The predictions of an evaluation, by sequence, and every figure that follows from them.

    names       of the S test sequences; one without scored frames keeps its place in the tables.
    predicted   S arrays [n,V,3] mm, root at zero;  target likewise.
    activity    S arrays [n], or None where the data has no activities.
    figures     what result.json holds: scalars, protocols, scenes, per sequence.
    tables      the official tables (metrics.official_3dhp).
    """

    names: list[str]
    predicted: Arrays
    target: Arrays
    activity: Arrays | None
    figures: dict[str, Any]
    tables: dict[str, Any]

    @property
    def scalars(self) -> dict[str, float]:
        """The figures for curves and logs."""
        return {name: self.figures[name] for name in SCALARS}


SCALARS = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "velocity_mm", "pck", "auc")


def summarise(cache: Cache, root: int, frames: np.ndarray, predicted: np.ndarray) -> Evaluation:
    """All figures of the predictions [n,V,3] mm of the test frames `frames` [n], in float64."""
    split = cache.test
    target = split.millimetres[frames].astype(np.float64)
    target -= target[:, root : root + 1]
    owner = np.searchsorted(split.starts, frames, side="right") - 1
    names = [info.name for info in split.sequences]
    groups = [np.flatnonzero(owner == s) for s in range(len(names))]
    by_sequence = {"predicted": [predicted[g] for g in groups], "target": [target[g] for g in groups]}
    activity = None if split.activity is None else [split.activity[frames[g]] for g in groups]

    named = protocols.protocols(**by_sequence, annotation=cache.annotation)
    protocol = next(iter(named))
    consecutive = (np.diff(frames) == 1) & (np.diff(owner) == 0)
    figures = {
        **named[protocol],
        "p_mpjpe_mm": metrics.p_mpjpe(predicted, target),
        "n_mpjpe_mm": metrics.n_mpjpe(predicted, target),
        "velocity_mm": metrics.velocity_error(predicted, target, consecutive) if consecutive.any() else float("nan"),
        "frames": len(frames),
        "protocol": protocol,
        "protocols": named,
        "scenes": protocols.scenes(**by_sequence),
        "sequences": {name: {"frames": len(group)} for name, group in zip(names, groups, strict=True)},
    }
    tables = metrics.official_3dhp(**by_sequence, activity=activity)
    return Evaluation(names, **by_sequence, activity=activity, figures=figures, tables=tables)


def evaluate(
    model: LiftingNetwork, cache: Cache, store: FrameStore, frames: np.ndarray, ranks: Ranks, *, flip: bool
) -> Evaluation | None:
    """Predict on all ranks; -> the evaluation on rank 0, None elsewhere."""
    predicted = predict_frames(model, store, frames, ranks, flip=flip)
    evaluation = None
    with ranks.agree():
        if ranks.is_main:
            evaluation = summarise(cache, store.skeleton.root, frames, predicted)
    return evaluation


def write_results(evaluation: Evaluation, folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Write result.json, the official CSV tables and inference_data.mat; -> the content of result.json.

    about  what else result.json says: the checkpoint, the data, warnings.
    """
    reports.write_official_csv(evaluation.tables, folder)
    reports.write_inference_mat(dict(zip(evaluation.names, evaluation.predicted, strict=True)), folder)
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
    """One line for the log: the figures and the protocol they follow."""
    return (
        f"MPJPE {figures['mpjpe_mm']:.2f} mm, P-MPJPE {figures['p_mpjpe_mm']:.2f} mm, "
        f"PCK {figures['pck']:.2f}, AUC {figures['auc']:.2f} "
        f"({figures['protocol']}, {figures['frames']} frames: MPJPE over 17 joints, PCK and AUC over 14)"
    )
