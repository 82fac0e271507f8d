"""What a keypoint file holds: poses, each of a frame, and what the file says about them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from glagcn.conventions import CONVENTIONS, Convention, conventions_of, get_convention
from glagcn.errors import UserError
from glagcn.skeleton import SKELETONS, Skeleton

# A joint less sure than this is not where it is said to be; detectors write such joints rather than none.
LEAST_CONFIDENCE = 0.05
MOST_FRAMES = 1_000_000  # more than five hours of 50 frames per second; a larger number is no frame number
NO_ID = -1
FAR = 1e7  # beyond any image and any confidence


@dataclass(frozen=True)
class Detections:
    """D poses of J joints, in the order of their frames.

    convention  the name of the joints (see glagcn.conventions); None where nothing says it.
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


def mark_missing(
    keypoints: np.ndarray, image_size: tuple[float, float] | None = None, least_confidence: float = LEAST_CONFIDENCE
) -> np.ndarray:
    """[...,3] float32 with (0, 0, 0) for every joint of [...,3] that is not really there.

    Missing is: not finite, (0, 0) and (-1, -1), a confidence below `least_confidence`, or a place more than one image
    size beyond the image.
    """
    xy, confidence = keypoints[..., :2], keypoints[..., 2]
    seen = np.isfinite(keypoints).all(axis=-1) & (np.abs(keypoints) < FAR).all(axis=-1)
    seen &= ~((xy == 0).all(axis=-1) | (xy == -1).all(axis=-1)) & (confidence >= max(least_confidence, 1e-12))
    if image_size is not None:
        size = np.array(image_size)
        seen &= ((xy >= -size) & (xy <= 2 * size)).all(axis=-1)
    return np.where(seen[..., None], keypoints, 0).astype(np.float32)


def with_confidence(points: np.ndarray) -> np.ndarray:
    """[...,2] or [...,3] as [...,3] float64, with a confidence of 1 where there was none; masked values are NaN."""
    points = np.ma.filled(np.ma.asarray(points).astype(np.float64), np.nan)
    if points.shape[-1] == 3:
        return points
    return np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)


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
