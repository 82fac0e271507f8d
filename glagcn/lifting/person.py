"""LiftedPerson: the 3D poses of one person in a video, with the 2D poses that they were lifted from."""

from dataclasses import dataclass, replace

import numpy as np

from glagcn.skeleton import Skeleton

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
