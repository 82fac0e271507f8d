"""Follows people through the frames of a keypoint file."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.gaps import FAR, GAP_SECONDS, LEAST_CONFIDENCE, gap_frames, mark_missing
from glagcn.poses.joints import CONVENTIONS, Convention, conventions_of, get_convention
from glagcn.skeletons import SKELETONS, Skeleton

# ---- What a keypoint file holds: poses, each of a frame, and what the file says about them.


MOST_FRAMES = 1_000_000  # more than five hours of 50 frames per second; a larger number is no frame number
NO_ID = -1


@dataclass(frozen=True)
class Detections:
    """D poses of J joints, in the order of their frames.

    convention  the name of the joints (see glagcn.poses.joints); None where nothing says it.
    frames      [D] int64, the frame of each pose, from 0.
    keypoints   [D,J,3] float32: x, y in pixels and a confidence above 0; (0, 0, 0) where a joint is missing.
    persons     [D] int64, whose pose it is; -1 everywhere where the file has no ids.
    scores      [D] float32, how sure the detector is of the pose; the mean confidence where the file has no score.
    image_size  (width, height) in pixels,
    fps         frames per second, and
    length      the number of frames, with those without a person: None where the file does not say.
    format      the title of the file's format; "" where these are not read from a file.
    """

    convention: str | None
    frames: np.ndarray
    keypoints: np.ndarray
    persons: np.ndarray
    scores: np.ndarray
    image_size: tuple[int, int] | None = None
    fps: float | None = None
    length: int | None = None
    format: str = ""

    def mapped_to(self, skeleton: Skeleton) -> "Detections":
        """The same poses in the input joints of a skeleton.  Raises UserError where the convention is not known."""
        if self.convention is None:
            raise UserError(f"the order of these {self.keypoints.shape[1]} joints is not known; say joints=")
        joints = CONVENTIONS[self.convention].map_to(skeleton)
        return replace(self, convention=None, keypoints=joints.apply(self.keypoints))


class Poses:
    """Collects the poses of a file while it is read."""

    def __init__(self, path: Path, joints: str | None) -> None:
        self.path = path
        self.convention = None if joints is None else get_convention(joints)
        self.rows: list[tuple[int, np.ndarray, int, float]] = []

    def add(
        self, frame: int, keypoints: np.ndarray, person: int = NO_ID, score: float = np.nan, where: str = ""
    ) -> None:
        """A pose [J,3]; `where` in the file it is, for messages.  Raises UserError for another joint count."""
        where = where or f"frame {frame}"
        if self.convention and len(keypoints) != len(self.convention.joints):
            raise UserError(
                f"{self.path}: {where}: {len(keypoints)} joints; expected {len(self.convention.joints)}, as "
                f"{self.convention.name} ({self.convention.title}) has"
            )
        if self.rows and self.rows[0][1].shape != keypoints.shape:
            raise UserError(
                f"{self.path}: {where}: {len(keypoints)} joints, and {len(self.rows[0][1])} in a pose before it; "
                "expected equally many"
            )
        if not 0 <= frame < MOST_FRAMES:
            raise UserError(f"{self.path}: {where}: frame number {frame}; expected 0 to {MOST_FRAMES - 1}")
        self.rows.append((frame, keypoints, person, score))

    def detections(
        self,
        usual: bool,
        image_size: tuple[int, int] | None,
        fps: float | None = None,
        length: int | None = None,
        least_confidence: float = LEAST_CONFIDENCE,
    ) -> Detections:
        """All poses, in the order of their frames; those without any joint are left out.

        usual  take the usual convention with so many joints where none is stated: this format comes from detectors.
        Raises UserError where there is no pose, a person is twice in a frame, or no convention has so many joints.
        """
        if not self.rows:
            raise UserError(f"{self.path} holds no person in any frame; expected at least one pose")
        keypoints = mark_missing(np.stack([row[1] for row in self.rows]), image_size, least_confidence)
        frames, persons = (np.array([row[i] for row in self.rows], np.int64) for i in (0, 2))
        scores = np.array([row[3] for row in self.rows]).clip(-FAR, FAR)
        scores = np.where(np.isfinite(scores), scores, keypoints[..., 2].mean(axis=1)).astype(np.float32)
        seen = np.asarray((keypoints[..., 2] > 0).any(axis=1))
        if not seen.any():
            raise UserError(
                f"{self.path}: every joint of its {len(seen)} poses is missing: zero, not finite, of a confidence "
                f"below {least_confidence:g}, or far outside the image; expected at least one"
            )
        order = np.flatnonzero(seen)
        order = order[np.argsort(frames[order], kind="stable")]
        frames, keypoints, persons, scores = frames[order], keypoints[order], persons[order], scores[order]
        if (persons == NO_ID).any():
            persons = np.full_like(persons, NO_ID)  # ids of some poses alone follow nobody
        else:
            self._check_ids(frames, persons)
        convention = self._usual(keypoints.shape[1], usual)
        if length is not None:
            length = max(length, int(frames[-1]) + 1)
        return Detections(convention, frames, keypoints, persons, scores, image_size, fps, length)

    def _usual(self, joints: int, usual: bool) -> str | None:
        if self.convention:
            return self.convention.name
        fitting = [c for c in conventions_of(joints) if usual or c.name not in SKELETONS]
        if not fitting and usual:
            known = ", ".join(f"{c.name}" for c in CONVENTIONS.values())
            raise UserError(f"{self.path} holds poses of {joints} joints; expected those of {known}")
        return fitting[0].name if fitting and (usual or joints != 17) else None

    def _check_ids(self, frames: np.ndarray, persons: np.ndarray) -> None:
        both = np.stack([frames, persons], axis=1)
        found, count = np.unique(both, axis=0, return_counts=True)
        if (count > 1).any():
            frame, person = found[count > 1][0]
            raise UserError(
                f"{self.path}: person {person} is {count.max()} times in frame {frame}; expected once. Files of "
                "several videos, or without a tracker, cannot be followed by their ids; remove the ids"
            )


def to_pixels(where: str, keypoints: np.ndarray, image_size: tuple[int, int] | None) -> np.ndarray:
    """Keypoints [...,3] in parts of the image (0 to 1) in pixels.  Raises UserError where no image size is known."""
    if image_size is None:
        raise UserError(
            f"{where} holds normalised coordinates, and does not say how large the image is; give the image size"
        )
    return keypoints * [*image_size, 1]


def counts_of(convention: Convention | None) -> set[int]:
    """The joint counts that a pose may have."""
    return {len(c.joints) for c in ([convention] if convention else CONVENTIONS.values())}


# ---- Follows people through the frames of a keypoint file.


LEAST_OVERLAP = 0.1  # of two boxes, intersection over union; people move less than their own width between frames


@dataclass(frozen=True)
class Track:
    """One person in a stretch of frames.

    person     the file's id, else the number of the track, from 0.
    start      the first frame.
    keypoints  [T,J,3] float32; (0, 0, 0) where a joint is missing, or the person in a gap.
    """

    person: int
    start: int
    keypoints: np.ndarray


def tracks(detections: Detections, fps: float | None = None, gap: float = GAP_SECONDS) -> tuple[list[Track], int]:
    """The people of a file, by their first frames, and how many gaps were so long that a track ends and another begins.

    With ids, a track is a person; without, who overlaps most with whom in the frame before (or before a gap) is the
    same.  Nobody for more than `gap` seconds ends a track.
    """
    longest = gap_frames(fps or detections.fps, gap)
    labels = _follow(detections, longest) if (detections.persons == NO_ID).any() else detections.persons
    found: list[Track] = []
    splits = 0
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        parts = np.split(rows, np.flatnonzero(np.diff(detections.frames[rows]) > longest + 1) + 1)
        splits += len(parts) - 1
        for part in parts:
            frames = detections.frames[part]
            keypoints = np.zeros((frames[-1] - frames[0] + 1, *detections.keypoints.shape[1:]), np.float32)
            keypoints[frames - frames[0]] = detections.keypoints[part]
            found.append(Track(int(label), int(frames[0]), keypoints))
    return sorted(found, key=lambda track: (track.start, track.person)), splits


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
