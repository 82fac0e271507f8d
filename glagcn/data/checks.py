"""Checks of the arrays of published files before they are written to a cache.

Every message starts with `where`, which names the file and the sequence.
"""

from collections.abc import Iterator

import numpy as np

from glagcn.data.dataset import Sequence, Source, SplitName
from glagcn.errors import UserError
from glagcn.poses.checks import check_track
from glagcn.poses.gaps import fill_gaps, gap_frames, mark_missing, with_confidence
from glagcn.poses.joints import input_convention
from glagcn.skeletons import get_skeleton

# The median distance of a person's joints from the pelvis is about half a metre: 500 in millimetres, 0.5 in metres, 50
# in centimetres.  If only the pelvis is absolute, it is the distance from the camera, several metres.
UNITS = {"millimetres": 1, "centimetres": 10, "metres": 1000}
SMALLEST_MEDIAN_MM = 100.0
LARGEST_MEDIAN_MM = 2_000.0
# Normalised 2D is in [-1, 1], or slightly outside if the person leaves the image.
LARGEST_NORMALISED = 2.5
# No person is 100 m from the camera.  2D outside the image is normal, but not by many images.  A person who leaves the
# scene may come close to the camera plane, where projections are large: such frames are context only.
LARGEST_MM = 100_000.0
LARGEST_IMAGES, LARGEST_UNSCORED_IMAGES = 10, 1_000
COMPARED = 40  # frames of a sequence, with what filmed people do


def as_frames(where: str, name: str, array: object, joints: int, channels: int) -> np.ndarray:
    """`array` as [T,joints,channels] float32, T > 0.  Raises UserError for another shape or type."""
    found = np.asarray(array)
    expected = f"(frames, {joints}, {channels})"
    if found.dtype.kind not in "fiu":
        raise UserError(f"{where}: {name} has type {found.dtype}; expected numbers of shape {expected}")
    if found.ndim != 3 or found.shape[1:] != (joints, channels):
        raise UserError(
            f"{where}: {name} has shape {found.shape}; expected {expected}. "
            "This is another joint set or another file; see docs/data.md for the supported formats."
        )
    if not len(found):
        raise UserError(f"{where}: {name} has no frames; expected at least one")
    return np.ascontiguousarray(found, dtype=np.float32)


def as_valid(where: str, values: object, frames: int) -> np.ndarray:
    """The [T] bool mask of scored frames from 0/1 values of shape (T,) or (T, 1).  Raises UserError."""
    found = _column(where, "the valid-frame table", values, frames)
    if len(wrong := found[~np.isin(found, (0, 1))]):
        raise UserError(f"{where}: the valid-frame table contains {wrong[0]}; expected 0 or 1 for every frame")
    return found.astype(bool)


def as_activity(where: str, values: object, valid: np.ndarray) -> np.ndarray:
    """The [T] uint8 activities from values of shape (T,) or (T, 1): 1..7, or 0 (none) on frames that are not valid.

    Raises UserError.
    """
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


def check_sequence(where: str, sequence: Sequence, root: int) -> None:
    """Check that a sequence has plausible values in the right units.

    All 2D is checked, because every frame is context.  3D is checked in the scored frames; elsewhere, copies
    of the test set contain arbitrary values, which are kept.  2D outside the image is accepted up to ten image sizes:
    published test sequences have it.

    root  the joint that the others are compared with.
    Raises UserError.
    """
    pixels, checked = sequence.pixels, checked_frames(sequence.valid)
    _check_finite(where, "2D", pixels, np.ones(len(pixels), dtype=bool))
    check_3d(where, sequence.millimetres, root, "millimetres", checked)
    size = np.array([sequence.info.width, sequence.info.height], np.float64)
    for frames, images in ((checked, LARGEST_IMAGES), (~checked, LARGEST_UNSCORED_IMAGES)):
        _check_bound(where, "2D", "px", pixels, frames, images * size)
    largest = float(np.abs(pixels).max())
    if largest <= LARGEST_NORMALISED:
        raise UserError(
            f"{where}: the largest 2D coordinate is {largest:.4g}, so the 2D looks normalised; "
            "expected pixels. Undo the normalisation: x = (x' + 1) * width / 2, y = (y' + height / width) * width / 2."
        )


def checked_sequences(source: Source, split: SplitName, sequences: Iterator[Sequence]) -> Iterator[Sequence]:
    """The sequences of a split; some frames of the 2D of each, all together, are compared with what filmed people do.

    Adds a note to the source, or raises UserError, where `check_track` finds something.
    """
    order, pools = input_convention(get_skeleton(source.skeleton)), dict[tuple[int, int], list[np.ndarray]]()
    for sequence in sequences:
        rows = np.flatnonzero(checked_frames(sequence.valid))
        rows = rows[:: -(-len(rows) // COMPARED)]
        confidence = np.ones(sequence.pixels.shape[:2]) if sequence.confidence is None else sequence.confidence
        some = np.dstack([sequence.pixels[rows], confidence[rows]])
        pools.setdefault((sequence.info.width, sequence.info.height), []).append(some)
        yield sequence
    for (width, height), parts in pools.items():
        found = np.concatenate(parts)
        for finding in check_track(found[..., :2], found[..., 2], order.points, (width, height)):
            text = f"the 2D of the {split} split in images of {width}x{height}: {finding.text}"
            if finding.severity == "refuse":
                raise UserError(f"{source.root}: {text}. The files were changed or are of other data; get them again.")
            source.note(f"warning: {text}")


def checked_frames(valid: np.ndarray) -> np.ndarray:
    """The [T] bool mask of the frames whose 3D is checked: the scored frames, or all if no frame is scored."""
    return valid if valid.any() else np.ones_like(valid)


def check_3d(where: str, poses: np.ndarray, root: int, unit: str, checked: np.ndarray) -> None:
    """Raise UserError unless 3D [T,V,3] is finite, near and in `unit` (of UNITS) in the `checked` frames [T] bool."""
    _check_finite(where, "3D", poses, checked)
    _check_unit(where, poses[checked], root, unit)
    short = {"millimetres": "mm", "metres": "m"}[unit]
    _check_bound(where, "3D", short, poses, checked, np.full(3, LARGEST_MM / UNITS[unit]))


def check_found(where: str, pixels: np.ndarray) -> None:
    """Raise UserError that starts with `where` if a joint of pixels [T,V,2] is NaN, at (0, 0) or at (-1, -1)."""
    missing = mark_missing(with_confidence(pixels))[..., 2] == 0
    if missing.any():
        frames = np.flatnonzero(missing.any(axis=1))
        raise UserError(
            f"{where}: joints are missing, which is NaN, (0, 0) or (-1, -1), in {len(frames)} of {len(pixels)} frames, "
            f"first joint {int(missing[frames[0]].argmax())} of {pixels.shape[1]} in frame {frames[0]} (both counted "
            f"from 0); expected a place for every joint. glagcn prepare --mark_missing fills the gaps and marks them."
        )


def fill_missing(where: str, pixels: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [T,V,2] with a place for every joint, and the confidences [T,V]: 0 where the place was filled in, else 1.

    Gaps are filled as in the keypoints of users, see `fill_gaps`.
    Raises UserError that starts with `where` if no joint is there.
    """
    marked = mark_missing(with_confidence(pixels))
    if not marked[..., 2].any():
        raise UserError(f"{where}: every joint is missing in every frame; expected at least one. Leave the take out.")
    filled = fill_gaps(marked, gap_frames(fps))
    return filled[..., :2], filled[..., 2]


def _check_finite(where: str, name: str, values: np.ndarray, checked: np.ndarray) -> None:
    bad = ~np.isfinite(values).all(axis=-1) & checked[:, None]
    if bad.any():
        frames = np.flatnonzero(bad.any(axis=-1))
        kind = "frames" if checked.all() else "scored frames"
        raise UserError(
            f"{where}: {name} is not finite in {len(frames)} of {checked.sum()} {kind}, first in frame {frames[0]} "
            f"({int(bad[frames[0]].sum())} of {values.shape[1]} joints); expected finite numbers. "
            "The file is damaged; get it again."
        )


def _check_bound(where: str, name: str, unit: str, values: np.ndarray, checked: np.ndarray, bounds: np.ndarray) -> None:
    """Raise UserError if a coordinate of `values` [T,V,C] is farther from 0 than `bounds` [C] in a `checked` frame."""
    beyond = (np.abs(values) > bounds) & checked[:, None, None]
    if beyond.any():
        frame, joint, axis = np.argwhere(beyond)[0]
        raise UserError(
            f"{where}: {name} coordinate {'xyz'[axis]} of joint {joint} of {values.shape[1]} in frame {frame} (both "
            f"counted from 0) is {values[frame, joint, axis]:.4g} {unit}; expected at most {bounds[axis]:.6g} {unit} "
            f"from 0. {int(beyond.any(axis=-1).sum())} joints are farther. The file is damaged; get it again."
        )


def _check_unit(where: str, poses: np.ndarray, root: int, expected: str) -> None:
    distance = float(np.median(np.linalg.norm(poses - poses[:, root : root + 1], axis=-1)))
    likely = [unit for unit, size in UNITS.items() if SMALLEST_MEDIAN_MM <= distance * size <= LARGEST_MEDIAN_MM]
    if expected in likely:
        return
    from_camera = np.median(np.linalg.norm(poses, axis=-1), axis=0)  # of each joint
    cause = f"Convert the 3D to {expected}."
    if likely:
        cause = f"The 3D seems to be in {likely[0]}; multiply it by {UNITS[likely[0]] / UNITS[expected]:g}."
    elif expected == "millimetres" and np.median(from_camera) <= LARGEST_MEDIAN_MM < from_camera[root]:
        cause = (
            "The pelvis is absolute but the other joints are relative to it: a program changed the arrays before it "
            "saved the file. Get the original file."
        )
    raise UserError(
        f"{where}: the median distance of the joints from the pelvis is {distance:.4g}; expected about "
        f"{500 / UNITS[expected]:g} ({expected}). {cause}"
    )


def kind(value: object) -> str:
    """A description of a value for messages: its type, and its shape or length if it has one."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {value.shape}"
    size = f" of {len(value)}" if isinstance(value, list | tuple | dict | set | str) else ""
    return f"{type(value).__name__}{size}"
