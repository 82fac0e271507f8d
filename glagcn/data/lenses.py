"""The focal lengths and principal points of sequences, which the ray frame needs (poses.ray)."""

from typing import Any, NamedTuple

import numpy as np

from glagcn.data.camera_augmentation import MAX_ERROR, fit_camera
from glagcn.data.dataset import Cache, Split
from glagcn.data.datasets import get_dataset
from glagcn.poses.ray import USUAL_VIEW_DEGREES, usual_lens
from glagcn.skeletons import Skeleton, get_skeleton

FITTED = "fitted to training poses"


class Lenses(NamedTuple):
    """Focal lengths and principal points (fx, fy, cx, cy) [S,4] of sequences in pixels, and where they come from."""

    values: np.ndarray
    source: str


def find_lenses(cache: Cache, split: Split, *, training: bool) -> Lenses:
    """The lenses of the sequences of a split that was selected from a cache, to train or to test on.

    That of the calibration, where the data set has one.  Else, of a training sequence, the pinhole that fits its 2D and
    3D, and of a test sequence the median of those of the training sequences by the same camera: the 3D of the test is
    not used.  Else a guess: `usual_focal` and the middle of the image.
    """
    dataset, skeleton = get_dataset(cache.dataset), get_skeleton(cache.skeleton)
    rows, sources, by_camera = [], [], {}
    for row, info in enumerate(split.sequences):
        lens: Any = dataset.lens(info)
        source = "calibration"
        if lens is None and training:
            lens, source = _fitted(split, row, skeleton), FITTED
        elif lens is None and dataset.same_cameras:
            if info.camera not in by_camera:
                by_camera[info.camera] = _of_camera(cache.train, info.camera, skeleton)
            lens, source = by_camera[info.camera], FITTED
        if lens is None:
            lens, source = usual_lens((info.width, info.height)), f"guessed ({USUAL_VIEW_DEGREES:g} degrees)"
        rows.append(lens)
        sources.append(source)
    return Lenses(np.array(rows, np.float64).reshape(-1, 4), ", ".join(dict.fromkeys(sources)))


def _of_camera(train: Split, camera: int, skeleton: Skeleton) -> np.ndarray | None:
    """The median lens [4] of the training sequences by a camera; None where none fits."""
    same = [row for row, info in enumerate(train.sequences) if info.camera == camera]
    fits = [fit for row in same if (fit := _fitted(train, row, skeleton)) is not None]
    return np.median(fits, axis=0) if fits else None


def _fitted(split: Split, row: int, skeleton: Skeleton) -> np.ndarray | None:
    """The lens [4] that fits a sequence; None where 2D and 3D have different joints, or no pinhole fits."""
    if skeleton.joint_map is not None:
        return None
    camera, error = fit_camera(split, row, skeleton)
    return camera[:4] if error < MAX_ERROR * split.sequences[row].width else None
