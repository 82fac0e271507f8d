"""Who is who in the frames of a keypoint file."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.gaps import GAP_SECONDS, gap_frames
from glagcn.poses.keypoints.read import NO_ID, KeypointFile

LOST_SECONDS = 3.0  # how long somebody may be hidden before a tracker gives him another id
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


def tracks(
    file: KeypointFile, fps: float | None = None, gap: float = GAP_SECONDS, same: Sequence[int] = ()
) -> list[Track]:
    """The people of a file, by their first frames.

    Who has an id in the file is a person; poses without one are of whom they overlap most with in the frame before (or
    before a gap).  Nobody for more than `gap` seconds ends a track.
    same  numbers of people who are one, whose id has changed; the first is kept.
    Raises UserError where there is no such person, or two of them are in the same frame.
    """
    rate = fps or file.fps
    longest = gap_frames(rate, gap)
    places = file.frames if file.times is None or not rate else file.times[file.frames] * rate
    labels = _follow(file, longest, places)
    if same:
        for person in same:
            _check_person(person, np.unique(labels).tolist())
        joined = np.isin(labels, same)
        frames, count = np.unique(file.frames[joined], return_counts=True)
        if (count > 1).any():
            numbers = ", ".join(map(str, same))
            raise UserError(f"persons {numbers} are not one: frame {frames[count > 1][0]} has {count.max()} of them")
        labels = np.where(joined, same[0], labels)
    found: list[Track] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        for part in np.split(rows, np.flatnonzero(np.diff(places[rows]) > longest + 1) + 1):
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
    people = _by_person(found)
    if person == "all" or not people:
        return found
    if person == "largest":
        return max(people.values(), key=lambda parts: sum(_areas(_boxes(part.keypoints)).sum() for part in parts))
    if person == "longest":
        return max(people.values(), key=lambda parts: sum(len(part.keypoints) for part in parts))
    _check_person(int(person), list(people))
    return people[int(person)]


def _check_person(person: int, people: list[int]) -> None:
    if person not in people:
        ids = ", ".join(map(str, sorted(people)[:20])) + (", ..." if len(people) > 20 else "")
        raise UserError(f"there is no person {person}; expected largest, longest, all or one of the ids {ids}")


def likely_same(found: list[Track], chosen: list[Track], fps: float) -> list[int]:
    """Who is likely the chosen person with another id: never together, and one begins where the other has ended."""
    others = _by_person([track for track in found if track.person != chosen[0].person])
    longest, same = gap_frames(fps, LOST_SECONDS), list[int]()
    while following := [person for person, parts in others.items() if _continues(parts, chosen, longest)][:1]:
        same += following
        chosen = chosen + others.pop(following[0])
    return same


def _by_person(found: list[Track]) -> dict[int, list[Track]]:
    people: dict[int, list[Track]] = {}
    for track in found:
        people.setdefault(track.person, []).append(track)
    return people


def _continues(parts: list[Track], chosen: list[Track], longest: int) -> bool:
    there, others = (
        {frame for track in tracks for frame in range(track.start, track.start + len(track.keypoints))}
        for tracks in (chosen, parts)
    )
    if there & others:
        return False
    for one, other in ((a, b) for part in parts for own in chosen for a, b in ((part, own), (own, part))):
        lost = other.start - one.start - len(one.keypoints)
        boxes = _boxes(np.stack([one.keypoints[-1], other.keypoints[0]]))
        middles = boxes.reshape(2, 2, 2).mean(axis=1)
        if 0 <= lost <= longest and np.ptp(middles, axis=0).max() < (boxes[:, 2:] - boxes[:, :2]).max():
            return True
    return False


def _follow(file: KeypointFile, longest: int, places: np.ndarray) -> np.ndarray:
    """[D] the number of the person of each pose: its id, else by the overlap of boxes.

    places  [D] the frames of the poses, in frames of a constant rate.

    Nobody has an id and no frame has two: all are one.  Who is first seen without an id takes the one that he gets.
    """
    labels = file.persons.copy()
    unnamed = labels == NO_ID
    if not unnamed.any():
        return labels
    if unnamed.all() and (np.diff(file.frames) > 0).all():
        return np.zeros_like(labels)
    from scipy.optimize import linear_sum_assignment  # slow to import

    boxes = _boxes(file.keypoints)
    last: dict[int, int] = {}  # the last pose of each person
    first = people = int(labels.max()) + 1  # those without an id have the numbers from here on
    _, begins = np.unique(file.frames, return_index=True)
    for rows in np.split(np.arange(len(labels)), begins[1:]):
        last = {who: row for who, row in last.items() if places[rows[0]] - places[row] <= longest + 1}
        known = [who for who in last if who not in labels[rows]]
        free = [row for row in rows if labels[row] not in last]
        overlap = _overlap(boxes[[last[who] for who in known]], boxes[free])
        overlap[np.ix_([who < first for who in known], ~unnamed[free])] = 0  # two ids are two people
        for place, number in zip(*linear_sum_assignment(-overlap), strict=True):
            who, row = known[place], free[number]
            if overlap[place, number] < LEAST_OVERLAP:
                continue
            if unnamed[row]:
                labels[row] = who
            elif not np.isin(file.frames[labels == who], file.frames[labels == labels[row]]).any():
                labels[labels == who] = labels[row]
                last.pop(who)
        for row in rows:
            if labels[row] == NO_ID:
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
