"""What every array from outside must satisfy before it may enter a cache."""

import numpy as np

from glagcn.errors import UserError

# The joints of a person, child or adult, are half a metre from the pelvis in the median: 0.5 in metres, 50 in
# centimetres, and the distance from the camera, some metres, where only the pelvis is absolute.
SMALLEST_MEDIAN_MM = 100.0
LARGEST_MEDIAN_MM = 2_000.0
LARGEST_MEDIAN_METRES = 5.0
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


def check_poses(where: str, pixels: np.ndarray, millimetres: np.ndarray, root: int, valid: np.ndarray) -> None:
    """Check pixels [T,V,2] against millimetres [T,V,3]; raises UserError that begins with `where`.

    Equal lengths, finite values, 3D in millimetres, 2D in pixels.  2D may leave the image: published test
    sequences do, so that is not an error.  2D is context in every frame and is checked in all of them; 3D is read
    where `valid` [T] says so, and copies of the test set fill it with anything elsewhere (see `unscored_note`).
    """
    check_lengths(where, pixels, millimetres)
    if not len(pixels):
        raise UserError(f"{where}: holds no frames; expected at least one")
    _check_finite(where, "2D", pixels, np.ones(len(pixels), dtype=bool))
    scored = judged_frames(valid)
    _check_finite(where, "3D", millimetres, scored)
    _check_unit(where, millimetres[scored], root)
    largest = float(np.abs(pixels).max())
    if largest <= LARGEST_NORMALISED:
        raise UserError(
            f"{where}: the largest 2D coordinate is {largest:.4g}, so the 2D looks normalised; "
            "expected pixels. Undo the normalisation: x = (x' + 1) * width / 2, y = (y' + height / width) * width / 2."
        )


def check_world(where: str, metres: np.ndarray, root: int) -> None:
    """Raise UserError unless 3D [T,V,3] in a world frame has frames, is finite, and is in metres."""
    if not len(metres):
        raise UserError(f"{where}: holds no frames; expected at least one")
    _check_finite(where, "3D", metres, np.ones(len(metres), dtype=bool))
    distance = _median_distance(metres, root)
    if SMALLEST_MEDIAN_MM <= 1000 * distance <= LARGEST_MEDIAN_MM:
        return
    cause = "Convert the 3D to metres"
    if SMALLEST_MEDIAN_MM <= distance <= LARGEST_MEDIAN_MM:
        cause += ": it looks like millimetres, so divide by 1000"
    raise UserError(
        f"{where}: the median distance of the joints from the pelvis is {distance:.4g}; expected about half a metre. "
        f"{cause}."
    )


def check_lengths(where: str, pixels: np.ndarray, millimetres: np.ndarray) -> None:
    """Raise UserError unless there are as many frames of 2D as of 3D."""
    if len(pixels) != len(millimetres):
        raise UserError(
            f"{where}: {len(pixels)} frames of 2D but {len(millimetres)} frames of 3D; expected equally many. "
            "The file is damaged or was put together from two versions; get it again."
        )


def judged_frames(valid: np.ndarray) -> np.ndarray:
    """The [T] bool mask of the frames whose 3D is judged: those that are scored, or all where none is."""
    return valid if valid.any() else np.ones_like(valid)


def unscored_note(name: str, millimetres: np.ndarray) -> str | None:
    """What to say about 3D [T,V,3] that passed `check_poses` and is not finite in some unscored frames; else None."""
    bad = int((~np.isfinite(millimetres).all(axis=(1, 2))).sum())
    return f"{name}: the 3D is not finite in {bad} frames, none of which is scored; kept as it is" if bad else None


def _check_finite(where: str, name: str, values: np.ndarray, judged: np.ndarray) -> None:
    bad = ~np.isfinite(values).all(axis=-1) & judged[:, None]
    if bad.any():
        frames = np.flatnonzero(bad.any(axis=-1))
        judged_as = "frames" if judged.all() else "scored frames"
        raise UserError(
            f"{where}: {name} is not finite in {len(frames)} of {judged.sum()} {judged_as}, first in frame {frames[0]} "
            f"({int(bad[frames[0]].sum())} of {values.shape[1]} joints); expected numbers everywhere. "
            "The file is damaged; get it again."
        )


def _check_unit(where: str, millimetres: np.ndarray, root: int) -> None:
    distance = _median_distance(millimetres, root)
    if SMALLEST_MEDIAN_MM <= distance <= LARGEST_MEDIAN_MM:
        return
    from_camera = np.median(np.linalg.norm(millimetres, axis=-1), axis=0)  # of each joint
    if distance < LARGEST_MEDIAN_METRES:
        cause = "Convert the 3D to millimetres: it looks like metres, so multiply by 1000."
    elif distance < SMALLEST_MEDIAN_MM:
        cause = "Convert the 3D to millimetres: it looks like centimetres, so multiply by 10."
    elif np.median(from_camera) <= LARGEST_MEDIAN_MM < from_camera[root]:
        cause = (
            "The pelvis is absolute while the others are relative to it: the file was saved after a program had "
            "changed its arrays. Get it again."
        )
    else:
        cause = "Convert the 3D to millimetres."
    raise UserError(
        f"{where}: the median distance of the joints from the pelvis is {distance:.4g}; "
        f"expected some hundred millimetres. {cause}"
    )


def _median_distance(poses: np.ndarray, root: int) -> float:
    return float(np.median(np.linalg.norm(poses - poses[:, root : root + 1], axis=-1)))


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
