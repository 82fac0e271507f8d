"""Follows people through the frames of a keypoint file, and fills what is missing in between."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from glagcn.data.sources.keypoints.detections import NO_ID, Detections
from glagcn.errors import UserError

GAP_SECONDS = 0.5
USUAL_FPS = 25.0
LEAST_OVERLAP = 0.1  # of two boxes, intersection over union; people move less than their own width between frames


@dataclass(frozen=True)
class Track:
    """One person in a stretch of frames.

    person     the file's id, else the number of the track, from 0.
    start      the first frame.
    keypoints  [T,J,3] float32, every joint somewhere; confidence 0 where its place was filled in.
    """

    person: int
    start: int
    keypoints: np.ndarray


@dataclass
class Counts:
    """What had to be filled, for the user.

    missing  joints that were missing, of those
    filled   in gaps short enough to be interpolated,
    held     in longer ones and at the ends, where the nearest place was taken, and
    unseen   of joints never seen in their track, which lie in the middle of the pose.
    splits   gaps that were too long, so that a track ends and another begins.
    """

    missing: int = 0
    filled: int = 0
    held: int = 0
    unseen: int = 0
    splits: int = 0
    lost: list[int] = field(default_factory=list)  # the joints never seen

    def words(self, names: Sequence[str] = ()) -> str:
        """What to say, with the names of the joints; "" where nothing was missing."""
        if not self.missing:
            return ""
        lost = [names[joint] if names else f"joint {joint}" for joint in sorted(set(self.lost))]
        parts = [
            f"{count} {what}"
            for count, what in (
                (self.filled, "interpolated"),
                (self.held, "held at their nearest place"),
                (self.unseen, f"never seen ({', '.join(lost)})"),
            )
            if count
        ]
        return f"{self.missing} missing joints: {', '.join(parts)}"


def gap_frames(fps: float | None, seconds: float = GAP_SECONDS) -> int:
    """The longest gap that is filled, in frames: half a second, and 12 frames where the rate is not known."""
    return max(1, int(seconds * (fps or USUAL_FPS)))


def tracks(detections: Detections, fps: float | None = None, gap: float = GAP_SECONDS) -> tuple[list[Track], Counts]:
    """The people of a file and what was filled, by their first frames.

    With ids, a track is a person; without, who overlaps most with whom in the frame before (or before a gap) is the
    same.  Nobody for more than `gap` seconds ends a track.
    """
    longest = gap_frames(fps or detections.fps, gap)
    labels = _follow(detections, longest) if (detections.persons == NO_ID).any() else detections.persons
    found: list[Track] = []
    counts = Counts()
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        parts = np.split(rows, np.flatnonzero(np.diff(detections.frames[rows]) > longest + 1) + 1)
        counts.splits += len(parts) - 1
        for part in parts:
            frames = detections.frames[part]
            keypoints = np.zeros((frames[-1] - frames[0] + 1, *detections.keypoints.shape[1:]), np.float32)
            keypoints[frames - frames[0]] = detections.keypoints[part]
            found.append(Track(int(label), int(frames[0]), fill_gaps(keypoints, longest, counts)))
    return sorted(found, key=lambda track: (track.start, track.person)), counts


def select(found: list[Track], person: str | int = "largest") -> list[Track]:
    """All tracks of one person: the "largest", the one who is there "longest", or an id; or of "all".

    The largest has the most box area in all frames together: a false detection is large in a few at most.

    Raises UserError where there is no such person.
    """
    people: dict[int, list[Track]] = {}
    for track in found:
        people.setdefault(track.person, []).append(track)
    if person == "all" or not people:
        return found
    if person == "largest":
        return max(people.values(), key=lambda parts: sum(_box_areas(part).sum() for part in parts))
    if person == "longest":
        return max(people.values(), key=lambda parts: sum(len(part.keypoints) for part in parts))
    chosen = [track for track in found if str(track.person) == str(person)]
    if not chosen:
        ids = ", ".join(map(str, sorted(people)[:20])) + (", ..." if len(people) > 20 else "")
        raise UserError(f"there is no person {person}; expected largest, longest, all or one of the ids {ids}")
    return chosen


def fill_gaps(keypoints: np.ndarray, longest: int, counts: Counts | None = None) -> np.ndarray:
    """[T,J,3] with every joint somewhere: what has confidence 0 keeps it, and gets a place.

    Gaps of up to `longest` frames are interpolated; in longer ones and at the ends the nearest place is held; a joint
    that is never seen lies in the middle of those that are.  Raises UserError where there is no joint at all.
    """
    counts = Counts() if counts is None else counts
    seen = keypoints[..., 2] > 0
    if seen.all():
        return keypoints
    if not seen.any():
        raise UserError("every joint is missing in every frame; expected at least one")
    filled, frames = keypoints.copy(), np.arange(len(keypoints))
    never = ~seen.any(axis=0)
    counts.missing += int((~seen).sum())
    counts.unseen += int(never.sum()) * len(keypoints)
    counts.lost += np.flatnonzero(never).tolist()
    for joint in np.flatnonzero(~never & ~seen.all(axis=0)):
        known = np.flatnonzero(seen[:, joint])
        after = np.searchsorted(known, frames).clip(0, len(known) - 1)
        before = (np.searchsorted(known, frames, side="right") - 1).clip(0)
        nearest = np.where(known[after] - frames < frames - known[before], known[after], known[before])
        nearest = np.where(frames < known[0], known[0], np.where(frames > known[-1], known[-1], nearest))
        short = (known[after] - known[before] - 1 <= longest) & (frames > known[0]) & (frames < known[-1])
        missing = ~seen[:, joint]
        for axis in (0, 1):
            places = np.interp(frames, known, keypoints[known, joint, axis])
            held = keypoints[nearest, joint, axis]
            filled[missing, joint, axis] = np.where(short, places, held)[missing]
        counts.filled += int((missing & short).sum())
        counts.held += int((missing & ~short).sum())
    filled[:, never, :2] = filled[:, ~never, :2].mean(axis=1, keepdims=True)
    return filled


def _follow(detections: Detections, longest: int) -> np.ndarray:
    """[D] the number of the person of each pose, by the overlap of boxes; one where no frame has two."""
    labels = np.full(len(detections.frames), -1)
    if (np.diff(detections.frames) > 0).all():
        return np.zeros_like(labels)
    from scipy.optimize import linear_sum_assignment  # slow to import, and training imports this file too

    boxes = _boxes(detections.keypoints)
    last: dict[int, int] = {}  # the last pose of each person
    people = 0
    _, begins = np.unique(detections.frames, return_index=True)
    for rows in np.split(np.arange(len(labels)), begins[1:]):
        frame = detections.frames[rows[0]]
        last = {who: row for who, row in last.items() if frame - detections.frames[row] <= longest + 1}
        known = list(last)
        overlap = _overlap(boxes[[last[who] for who in known]], boxes[rows])
        for place, number in zip(*linear_sum_assignment(-overlap), strict=True):
            if overlap[place, number] >= LEAST_OVERLAP:
                labels[rows[number]] = known[place]
        for row in rows:
            if labels[row] < 0:
                labels[row], people = people, people + 1
            last[int(labels[row])] = int(row)
    return labels


def _boxes(keypoints: np.ndarray) -> np.ndarray:
    """[...,4]: left, top, right, bottom around the joints that are seen; all 0 where none is."""
    seen = keypoints[..., 2:] > 0
    low = np.where(seen, keypoints[..., :2], np.inf).min(axis=-2)
    high = np.where(seen, keypoints[..., :2], -np.inf).max(axis=-2)
    boxes = np.concatenate([low, high], axis=-1)
    return np.where(seen.any(axis=-2), boxes, 0)


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[A,B] intersection over union of boxes [A,4] and [B,4]."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    common = (high - low).clip(0).prod(axis=-1)
    union = _areas(a)[:, None] + _areas(b) - common
    return common / np.where(union > 0, union, 1)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)


def _box_areas(track: Track) -> np.ndarray:
    """The areas of the boxes of the frames in which the person is seen."""
    seen = (track.keypoints[..., 2] > 0).any(axis=1)
    return _areas(_boxes(track.keypoints[seen]))
