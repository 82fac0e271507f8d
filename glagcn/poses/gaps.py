"""Missing joints of 2D poses: which are missing, and what takes their places.

Every way in uses these functions: keypoint files, arrays, streams and data sets.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.joints import STANDING

# A joint less sure than this is not where it is said to be; detectors write such joints rather than none.
LEAST_CONFIDENCE = 0.05
FAR = 1e7  # beyond any image and any confidence
GAP_SECONDS = 0.5  # the longest gap that is interpolated
USUAL_FPS = 25.0  # where nothing states the frames per second
FASTEST_FPS = 1000.0
PART_FRAMES = 4096


def slices(frames: int) -> Iterator[slice]:
    """Slices of at most PART_FRAMES of so many frames.

    What is computed on the way takes memory for a part only: that of a whole long video would be many times its poses.
    """
    for begin in range(0, frames, PART_FRAMES):
        yield slice(begin, min(begin + PART_FRAMES, frames))


def with_confidence(points: np.ndarray) -> np.ndarray:
    """[...,2] or [...,3] as [...,3] float64, with a confidence of 1 where there was none; masked values are NaN."""
    masked = isinstance(points, np.ma.MaskedArray)
    points = np.ma.filled(points.astype(np.float64), np.nan) if masked else np.asarray(points, np.float64)
    if points.shape[-1] == 3:
        return points
    return np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)


def without_depth(points: np.ndarray) -> np.ndarray:
    """Of the x, y, z and visibility of MediaPipe's landmarks [...,33,4] all but z; other arrays as they are."""
    return points[..., [0, 1, 3]] if points.shape[-2:] == (33, 4) else points


def mark_missing(
    keypoints: np.ndarray, image_size: tuple[float, float] | None = None, least_confidence: float = LEAST_CONFIDENCE
) -> np.ndarray:
    """[...,3] float32 with (0, 0, 0) for every missing joint of [...,3].

    Missing is: not finite, (0, 0) and (-1, -1), a confidence below `least_confidence`, or a place more than one image
    size beyond the image.
    """
    if keypoints.ndim == 3 and len(keypoints) > PART_FRAMES:
        marked = np.empty(keypoints.shape, np.float32)
        for part in slices(len(keypoints)):
            marked[part] = mark_missing(keypoints[part], image_size, least_confidence)
        return marked
    xy, confidence = keypoints[..., :2], keypoints[..., 2]
    seen = (np.abs(keypoints) < FAR).all(axis=-1)  # which NaN and infinities are not
    seen &= ~((xy == 0).all(axis=-1) | (xy == -1).all(axis=-1)) & (confidence >= max(least_confidence, 1e-12))
    if image_size is not None:
        size = np.array(image_size)
        seen &= ((xy >= -size) & (xy <= 2 * size)).all(axis=-1)
    return np.where(seen[..., None], keypoints, 0).astype(np.float32)


def gap_frames(fps: float | None, seconds: float = GAP_SECONDS) -> int:
    """The longest gap that is filled, in frames: half a second, and 12 frames where the rate is not known."""
    return max(1, int(seconds * (fps or USUAL_FPS)))


@dataclass
class Counts:
    """What had to be filled, for the user.

    missing  joints that were missing, of those
    filled   in gaps short enough to be interpolated,
    held     in longer ones and at the ends, where the nearest place was taken, and
    unseen   of joints never seen, which lie as in somebody who stands.
    """

    missing: int = 0
    filled: int = 0
    held: int = 0
    unseen: int = 0
    lost: list[int] = field(default_factory=list)  # the joints never seen

    def words(self, names: Sequence[str] = ()) -> str:
        """What to say, with the names of the joints; "" where nothing was missing."""
        if not self.missing:
            return ""
        lost = [names[joint] if names else f"joint {joint}" for joint in sorted(set(self.lost))]
        parts = {
            "interpolated": self.filled,
            "held at their nearest place": self.held,
            f"never seen ({', '.join(lost)})": self.unseen,
        }
        shown = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
        return f"{self.missing} missing joints: {shown}"


def fill_gaps(
    keypoints: np.ndarray,
    longest: int,
    counts: Counts | None = None,
    places: np.ndarray | None = None,
    points: Sequence[str] = (),
) -> np.ndarray:
    """[T,J,3] with every joint somewhere: what has confidence 0 keeps it, and gets a place.

    places  [T] ascending: where the frames are, in frames of a constant rate; None: one after the other.
    points  J names in common words (`Convention.points`).

    Gaps of up to `longest` frames are interpolated; in longer ones and at the ends the nearest place is held; a joint
    that is never seen lies as `like_standing` says.  Raises UserError where there is no joint at all.
    """
    counts = Counts() if counts is None else counts
    seen = keypoints[..., 2] > 0
    if seen.all():
        return keypoints
    if not seen.any():
        raise UserError("every joint is missing in every frame; expected at least one")
    filled, rows = keypoints.copy(), np.arange(len(keypoints))
    frames = rows if places is None else places
    never = np.array(~seen.any(axis=0))
    counts.missing += int((~seen).sum())
    counts.unseen += int(never.sum()) * len(keypoints)
    counts.lost += np.flatnonzero(never).tolist()
    for joint in np.flatnonzero(~never & ~seen.all(axis=0)):
        known = np.flatnonzero(seen[:, joint])
        after = known[np.searchsorted(known, rows).clip(0, len(known) - 1)]
        before = known[(np.searchsorted(known, rows, side="right") - 1).clip(0)]
        nearest = np.where(frames[after] - frames < frames - frames[before], after, before)
        short = (frames[after] - frames[before] - 1 <= longest) & (rows > known[0]) & (rows < known[-1])
        missing = ~seen[:, joint]
        for axis in (0, 1):
            places = np.interp(frames, frames[known], keypoints[known, joint, axis])
            held = keypoints[nearest, joint, axis]
            filled[missing, joint, axis] = np.where(short, places, held)[missing]
        counts.filled += int((missing & short).sum())
        counts.held += int((missing & ~short).sum())
    filled[:, never, :2] = like_standing(filled, never, points)
    return filled


def like_standing(keypoints: np.ndarray, never: np.ndarray, points: Sequence[str] = ()) -> np.ndarray:
    """Places [T,n,2] for the n joints that are `never` [J] seen: those of somebody who stands around the others.

    keypoints  [T,J,2 or 3] with places of the others, y down;  points  J names in common words.

    The height of the standing person is that at which the others are as far apart as they are; the width, which is
    negative for a back, that which fits them best.  Joints whose name is not in STANDING lie in the middle of all.
    """
    seen, places = keypoints[:, ~never, :2], np.full((len(never), 2), np.nan)
    for joint, point in enumerate(points):
        places[joint] = np.array(STANDING.get(point, (np.nan,) * 3))[:2] * (1, -1)
    middle = seen.mean(axis=1, keepdims=True)
    found = np.repeat(middle, never.sum(), axis=1)
    known = np.isfinite(places[~never, 0])
    if not known.any():
        return found
    body = places[~never][known]
    body, wanted = body - body.mean(axis=0), places[never] - body.mean(axis=0)
    middle = seen[:, known].mean(axis=1, keepdims=True)
    around = seen[:, known] - middle
    height = np.linalg.norm(around, axis=-1).sum(axis=1) / max(np.linalg.norm(body, axis=-1).sum(), 1e-9)
    width = (around[..., 0] * body[:, 0]).sum(axis=1) / max((body[:, 0] ** 2).sum(), 1e-9)
    scale = np.stack([width.clip(-height, height), height], axis=-1)
    return np.where(np.isfinite(wanted), middle + scale[:, None] * np.nan_to_num(wanted), found)
