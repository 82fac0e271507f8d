"""Lift the people of a recording with a model."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch

from glagcn.errors import UserError
from glagcn.model.cores import full_precision
from glagcn.model.interface import Model
from glagcn.poses.joints import CONVENTIONS, input_joints
from glagcn.poses.keypoints.tracks import Counts, Track, fill_gaps, gap_frames
from glagcn.poses.lift import check_pixels, input_windows, lift_frames, warn_if_swapped
from glagcn.poses.recording import Recording
from glagcn.progress import Progress
from glagcn.skeletons import Skeleton

# ---- LiftedPerson: the 3D poses of one person in a video, with the 2D poses that they were lifted from.


CAMERA, Z_UP = "camera", "z_up"
AXES = {
    CAMERA: "x right, y down, z forward; the camera is the origin",
    Z_UP: "x right, y away from the camera, z up; the origin is the floor below the camera",
}


@dataclass(frozen=True)
class LiftedPerson:
    """T frames of one person.

    person      number of the person in the video.
    skeleton    of the 3D poses, V joints.
    frames      [T] int64, ascending frame numbers of the video; there may be gaps.
    fps         of the video: frame n is n / fps seconds after the start.
    poses       [T,V,3] float32, millimetres relative to the root joint.
    confidence  [T,V] float32, of the 2D joints.
    pixels      [T,V,2] the 2D position of each 3D joint, after the skeleton's joint map; NaN if unknown.
    image_size  (width, height) in pixels.
    root        [T,3] position of the root joint in millimetres; None if unknown.
    axes        coordinate axes of poses and root, a key of AXES.

    Raises ValueError if shapes do not match, frames do not ascend, or poses or root are not finite.
    """

    person: int
    skeleton: Skeleton
    frames: np.ndarray
    fps: float
    poses: np.ndarray
    confidence: np.ndarray
    pixels: np.ndarray
    image_size: tuple[int, int]
    root: np.ndarray | None = None
    axes: str = CAMERA

    def __post_init__(self) -> None:
        count, joints = len(self.frames), self.skeleton.num_joints
        shapes = {"poses": (count, joints, 3), "confidence": (count, joints), "pixels": (count, joints, 2)}
        if self.root is not None:
            shapes["root"] = (count, 3)
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} of person {self.person} is {getattr(self, name).shape}; expected {shape}")
        if count == 0 or (np.diff(self.frames) <= 0).any():
            raise ValueError(f"frames of person {self.person} must ascend, and there must be at least one")
        if not np.isfinite(self.poses).all() or (self.root is not None and not np.isfinite(self.root).all()):
            raise ValueError(f"poses and root of person {self.person} must be finite")


def filled(person: LiftedPerson, first: int, last: int) -> LiftedPerson:
    """The person in all frames `first`..`last` (both included), without gaps.

    Poses and root of missing frames are interpolated linearly; before the first and after the last frame they are
    constant.  In missing frames confidence is 0 and pixels are NaN.
    """
    frames = np.arange(first, last + 1)
    seen = np.isin(person.frames, frames)
    there = person.frames[seen] - first
    confidence = np.zeros((len(frames), *person.confidence.shape[1:]), dtype=np.float32)
    pixels = np.full((len(frames), *person.pixels.shape[1:]), np.nan, dtype=person.pixels.dtype)
    confidence[there], pixels[there] = person.confidence[seen], person.pixels[seen]
    return replace(
        person,
        frames=frames,
        poses=interpolated(person.frames, person.poses, frames).astype(np.float32),
        confidence=confidence,
        pixels=pixels,
        root=None if person.root is None else interpolated(person.frames, person.root, frames),
    )


def interpolated(frames: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Interpolate values [T,...] of ascending `frames` [T] linearly at `wanted` [n]; constant beyond both ends."""
    columns = values.reshape(len(values), -1).T
    found = np.stack([np.interp(wanted, frames, column) for column in columns], axis=-1)
    return found.reshape(len(wanted), *values.shape[1:])


# ---- Lift the people of a recording with a model.


logger = logging.getLogger(__name__)

CHUNK = 1024  # frames between two signs of progress


def lift_people(model: Model, recording: Recording, flip: bool) -> list[LiftedPerson]:
    """The people of a recording in camera axes, without a root path, by their numbers.

    Each track is lifted alone, amid its own frames.
    flip  average with the mirrored-back prediction for the mirrored poses.
    Raises UserError where the joints of the recording do not give those that the model reads, or nobody is left.
    """
    skeleton = model.skeleton
    joints = CONVENTIONS[recording.convention].map_to(skeleton)
    if joints.approximated:
        logger.info(
            f"{skeleton.name} from {recording.convention}: {', '.join(joints.approximated)} are made of other joints"
        )
    mapped = [replace(track, keypoints=joints.apply(track.keypoints)) for track in recording.tracks]
    there = [track for track in mapped if track.keypoints[..., 2].any()]
    if not there:
        raise UserError(f"no joint that the model reads ({skeleton.name}) is seen in any frame; nothing can be lifted")
    counts, size = Counts(), np.array(recording.image_size)
    filled = [fill_gaps(track.keypoints, gap_frames(recording.fps), counts) for track in there]
    for track, keypoints in zip(there, filled, strict=True):
        try:
            check_pixels(keypoints[..., :2], size)
        except UserError as error:
            raise UserError(f"person {track.person}: {error}") from error
    warn_if_swapped(np.concatenate([keypoints[..., :2] for keypoints in filled]), size)
    parts, done, total = [], 0, sum(map(len, filled))
    with Progress("lifted") as progress, full_precision():
        for track, keypoints in zip(there, filled, strict=True):
            windows = input_windows(model, keypoints, size)  # once: a track may have 100,000 frames
            poses = []
            for chunk in torch.arange(len(keypoints)).split(CHUNK):
                poses.append(lift_frames(model, windows, flip, chunk))
                done += len(chunk)
                progress(done, total)
            parts.append(_person(track, np.concatenate(poses), skeleton, recording))
    if counts.missing:
        logger.info(counts.words(input_joints(skeleton)))
    people: dict[int, list[LiftedPerson]] = {}
    for part in parts:
        people.setdefault(part.person, []).append(part)
    return [_joined(people[number]) for number in sorted(people)]


def _person(track: Track, poses: np.ndarray, skeleton: Skeleton, recording: Recording) -> LiftedPerson:
    """The lifted track; joints that were missing have confidence 0 and no pixels."""
    keypoints = track.keypoints  # before gaps were filled
    if skeleton.joint_map is not None:
        rows = [keypoints[:, list(joints)] for joints in skeleton.joint_map]
        places = [np.append(row[..., :2].mean(axis=1), row[..., 2].min(axis=1)[:, None], axis=1) for row in rows]
        keypoints = np.stack(places, axis=1)
    confidence = keypoints[..., 2].astype(np.float32)
    return LiftedPerson(
        person=track.person,
        skeleton=skeleton,
        frames=track.start + np.arange(len(poses)),
        fps=recording.fps,
        poses=poses.astype(np.float32),
        confidence=confidence,
        pixels=np.where(confidence[..., None] > 0, keypoints[..., :2], np.nan).astype(np.float64),
        image_size=recording.image_size,
    )


def _joined(parts: list[LiftedPerson]) -> LiftedPerson:
    """One person from the tracks of that person, which follow each other."""
    return replace(
        parts[0],
        frames=np.concatenate([part.frames for part in parts]),
        poses=np.concatenate([part.poses for part in parts]),
        confidence=np.concatenate([part.confidence for part in parts]),
        pixels=np.concatenate([part.pixels for part in parts]),
    )
