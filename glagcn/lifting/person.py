"""One person of a video, lifted: what the model made of the 2D poses, and what it was made of."""

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

    person      its number in the video.
    skeleton    of the 3D poses, V joints.
    frames      [T] int64, numbers in the video, ascending; some may be missing.
    fps         of the video: frame n is shown n / fps seconds after its start.
    poses       [T,V,3] float32 millimetres relative to the root joint.
    confidence  [T,V] float32, of the 2D joints.
    pixels      [T,V,2], the 2D joints; NaN where there is none.
    image_size  (width, height) in pixels.
    root        [T,3] millimetres, where the root joint is in space; None where that is unknown.
    axes        of poses and root: a name in AXES.

    Raises ValueError where shapes do not fit, frames do not ascend, or poses or root are not finite.
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
            raise ValueError(f"frames of person {self.person} must ascend, and there must be one")
        if not np.isfinite(self.poses).all() or (self.root is not None and not np.isfinite(self.root).all()):
            raise ValueError(f"poses and root of person {self.person} must be finite")


def filled(person: LiftedPerson, first: int, last: int) -> LiftedPerson:
    """The person in every frame from number `first` to `last`, both included.

    Missing poses lie on the straight line between their neighbours, and before the first and after the last frame the
    person stands still.  Confidence is 0 and pixels are NaN where there was no frame.
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
    """Values [T,...] at ascending `frames` [T], linearly interpolated at `wanted` [n]; those at the ends hold on."""
    columns = values.reshape(len(values), -1).T
    found = np.stack([np.interp(wanted, frames, column) for column in columns], axis=-1)
    return found.reshape(len(wanted), *values.shape[1:])
