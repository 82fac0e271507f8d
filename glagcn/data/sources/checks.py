"""What every array from outside must satisfy before it may enter a cache."""

import numpy as np

from glagcn.errors import UserError

# A person is about a metre across: no joint set has a median distance from the pelvis below 20 mm or above 20 m.
SMALLEST_MEDIAN_MM = 20.0
LARGEST_MEDIAN_MM = 20_000.0
# Normalised 2D lies in [-1, 1], a little beyond where a person leaves the image.
LARGEST_NORMALISED = 2.5


def as_frames(where: str, name: str, array: object, joints: int, channels: int) -> np.ndarray:
    """`array` as [T,joints,channels] float32.  Raises UserError when it is no such array of numbers."""
    found = np.asarray(array)
    expected = f"(frames, {joints}, {channels})"
    if found.dtype.kind not in "fiu":
        raise UserError(f"{where}: {name} holds {found.dtype} values; expected numbers of shape {expected}")
    if found.ndim != 3 or found.shape[1:] != (joints, channels):
        raise UserError(
            f"{where}: {name} has shape {found.shape}; expected {expected}. "
            "Another joint set or another file? See docs/data.md for the formats that can be read."
        )
    return np.ascontiguousarray(found, dtype=np.float32)


def check_poses(where: str, pixels: np.ndarray, millimetres: np.ndarray, root: int) -> None:
    """Check pixels [T,V,2] against millimetres [T,V,3]; raises UserError that begins with `where`.

    Equal lengths, finite values, 3D in millimetres, 2D in pixels.  2D may leave the image: published test
    sequences do, so that is not an error.
    """
    if len(pixels) != len(millimetres):
        raise UserError(
            f"{where}: {len(pixels)} frames of 2D but {len(millimetres)} frames of 3D; expected equally many. "
            "The file is damaged or was put together from two versions; get it again."
        )
    if not len(pixels):
        raise UserError(f"{where}: holds no frames; expected at least one")
    _check_finite(where, "2D", pixels)
    _check_finite(where, "3D", millimetres)
    distance = float(np.median(np.linalg.norm(millimetres - millimetres[:, root : root + 1], axis=-1)))
    if not SMALLEST_MEDIAN_MM <= distance <= LARGEST_MEDIAN_MM:
        unit = " (it looks like metres: multiply by 1000)" if distance < SMALLEST_MEDIAN_MM else ""
        raise UserError(
            f"{where}: the median distance of the joints from the pelvis is {distance:.4g}{unit}; "
            "expected some hundred millimetres. Convert the 3D to millimetres."
        )
    largest = float(np.abs(pixels).max())
    if largest <= LARGEST_NORMALISED:
        raise UserError(
            f"{where}: the largest 2D coordinate is {largest:.4g}, so the 2D looks normalised; "
            "expected pixels. Undo the normalisation: x = (x' + 1) * width / 2, y = (y' + height / width) * width / 2."
        )


def _check_finite(where: str, name: str, values: np.ndarray) -> None:
    bad = ~np.isfinite(values).all(axis=-1)
    if bad.any():
        frames = np.flatnonzero(bad.any(axis=-1))
        raise UserError(
            f"{where}: {name} is not finite in {len(frames)} of {len(values)} frames, first in frame {frames[0]} "
            f"({int(bad[frames[0]].sum())} of {values.shape[1]} joints); expected numbers everywhere. "
            "The file is damaged; get it again."
        )


def as_valid(where: str, values: object, frames: int) -> np.ndarray:
    """The [T] bool mask of scored frames from 0/1 values of shape (T,) or (T, 1).  Raises UserError."""
    found = _column(where, "the valid-frame table", values, frames)
    if not np.isin(found, (0, 1)).all():
        wrong = found[~np.isin(found, (0, 1))][0]
        raise UserError(f"{where}: the valid-frame table holds {wrong}; expected 0 or 1 for every frame")
    return found.astype(bool)


def as_activity(where: str, values: object, valid: np.ndarray) -> np.ndarray:
    """The [T] uint8 activities, 1..7 on valid frames (0 elsewhere means none), of shape (T,) or (T, 1)."""
    found = _column(where, "the activity table", values, len(valid))
    allowed = np.isin(found, range(1, 8)) | (~valid & (found == 0))
    if not allowed.all():
        frame = int(np.flatnonzero(~allowed)[0])
        raise UserError(f"{where}: the activity of frame {frame} is {found[frame]}; expected a whole number 1..7")
    return found.astype(np.uint8)


def _column(where: str, name: str, values: object, frames: int) -> np.ndarray:
    found = np.asarray(values)
    if found.dtype.kind not in "biuf" or found.shape not in ((frames,), (frames, 1)):
        raise UserError(f"{where}: {name} has shape {found.shape}, {found.dtype}; expected {frames} numbers")
    return found.reshape(frames)
