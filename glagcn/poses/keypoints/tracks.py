"""Who is who in the frames of a keypoint file."""

from dataclasses import dataclass

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.gaps import GAP_SECONDS, gap_frames
from glagcn.poses.keypoints.read import NO_ID, KeypointFile

LEAST_OVERLAP = 0.1  # of two boxes, intersection over union; people move less than their own width between frames


@dataclass(frozen=True)
class Track:
    """One person in a stretch of frames.

    person     the file's id, else the number of the track, from 0.
    start      the first frame.
    keypoints  [T,J,3] float32: x, y in pixels and a confidence; (0, 0, 0) where a joint or the person is missing.
    """

    person: int
    start: int
    keypoints: np.ndarray


def tracks(file: KeypointFile, fps: float | None = None, gap: float = GAP_SECONDS) -> list[Track]:
    """The people of a file, by their first frames.

    With ids, a track is a person; without, who overlaps most with whom in the frame before (or before a gap) is the
    same.  Nobody for more than `gap` seconds ends a track.
    """
    longest = gap_frames(fps or file.fps, gap)
    labels = _follow(file, longest) if (file.persons == NO_ID).any() else file.persons
    found: list[Track] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        for part in np.split(rows, np.flatnonzero(np.diff(file.frames[rows]) > longest + 1) + 1):
            frames = file.frames[part]
            keypoints = np.zeros((frames[-1] - frames[0] + 1, *file.keypoints.shape[1:]), np.float32)
            keypoints[frames - frames[0]] = file.keypoints[part]
            found.append(Track(int(label), int(frames[0]), keypoints))
    return sorted(found, key=lambda track: (track.start, track.person))


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
        return max(people.values(), key=lambda parts: sum(_areas(_boxes(part.keypoints)).sum() for part in parts))
    if person == "longest":
        return max(people.values(), key=lambda parts: sum(len(part.keypoints) for part in parts))
    chosen = [track for track in found if str(track.person) == str(person)]
    if not chosen:
        ids = ", ".join(map(str, sorted(people)[:20])) + (", ..." if len(people) > 20 else "")
        raise UserError(f"there is no person {person}; expected largest, longest, all or one of the ids {ids}")
    return chosen


def _follow(file: KeypointFile, longest: int) -> np.ndarray:
    """[D] the number of the person of each pose, by the overlap of boxes; one where no frame has two."""
    labels = np.full(len(file.frames), -1)
    if (np.diff(file.frames) > 0).all():
        return np.zeros_like(labels)
    from scipy.optimize import linear_sum_assignment  # slow to import

    boxes = _boxes(file.keypoints)
    last: dict[int, int] = {}  # the last pose of each person
    people = 0
    _, begins = np.unique(file.frames, return_index=True)
    for rows in np.split(np.arange(len(labels)), begins[1:]):
        last = {who: row for who, row in last.items() if file.frames[rows[0]] - file.frames[row] <= longest + 1}
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
