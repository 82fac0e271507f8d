"""The focal lengths and principal points of sequences, which the ray frame needs (poses.ray)."""

from typing import NamedTuple

import numpy as np

from glagcn.data.camera_augmentation import MAX_ERROR, fit_cameras
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
    rows = [dataset.lens(info) for info in split.sequences]
    unknown = [row for row, lens in enumerate(rows) if lens is None]
    if training:
        found = dict(zip(unknown, _fitted(split, unknown, skeleton), strict=True))
    else:
        cameras = {split.sequences[row].camera for row in unknown} if dataset.same_cameras else set()
        by_camera = {camera: _of_camera(cache.train, camera, skeleton) for camera in cameras}
        found = {row: by_camera.get(split.sequences[row].camera) for row in unknown}
    sources = []
    for row, info in enumerate(split.sequences):
        source = "calibration"
        if row in found:
            rows[row], source = found[row], FITTED
        if rows[row] is None:
            rows[row], source = usual_lens((info.width, info.height)), f"guessed ({USUAL_VIEW_DEGREES:g} degrees)"
        sources.append(source)
    return Lenses(np.array(rows, np.float64).reshape(-1, 4), ", ".join(dict.fromkeys(sources)))


def _of_camera(train: Split, camera: int, skeleton: Skeleton) -> np.ndarray | None:
    """The median lens [4] of the training sequences by a camera; None where none fits."""
    same = [row for row, info in enumerate(train.sequences) if info.camera == camera]
    fits = [fit for fit in _fitted(train, same, skeleton) if fit is not None]
    return np.median(fits, axis=0) if fits else None


def _fitted(split: Split, rows: list[int], skeleton: Skeleton) -> list[np.ndarray | None]:
    """The lenses [4] that fit sequences; None where 2D and 3D have different joints, or no pinhole fits."""
    if skeleton.joint_map is not None:
        return [None] * len(rows)
    cameras, errors = fit_cameras(split, rows, skeleton)
    widths = [split.sequences[row].width for row in rows]
    return [
        camera[:4] if error < MAX_ERROR * width else None
        for camera, error, width in zip(cameras, errors, widths, strict=True)
    ]
