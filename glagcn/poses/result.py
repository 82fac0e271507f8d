"""Poses: the 3D poses of one person, with the 2D poses that they were lifted from.  What every writer takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glagcn.errors import UserError
from glagcn.files import make_folder
from glagcn.skeletons import Skeleton

if TYPE_CHECKING:
    import pandas

CAMERA, Z_UP = "camera", "z_up"
AXES = {
    CAMERA: "x right, y down, z forward; the camera is the origin",
    Z_UP: "x right, y away from the camera, z up; the origin is the floor below the camera",
}
TO_Y_UP = {  # the rotation [3,3] from these axes to x right, y up, z towards the camera
    CAMERA: np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]),
    Z_UP: np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}


SHORTEST_MM = 1e-6  # a shorter bone has no direction


@dataclass(frozen=True, repr=False, eq=False)
class Poses:
    """T frames of one person.

    person      number of the person in the video.
    skeleton    of the 3D poses, V joints.
    frames      [T] int64, ascending frame numbers of the video; there may be gaps.
    fps         frames per second.
    xyz         [T,V,3] float32, millimetres relative to the root joint.
    confidence  [T,V] float32, of the 2D joints; 0 where a joint was not seen.
    pixels      [T,V,2] the 2D position of each 3D joint, after the skeleton's joint map; NaN if unknown.
    image_size  (width, height) in pixels.
    root        [T,3] position of the root joint in millimetres; None if unknown.
    axes        coordinate axes of xyz and root, a key of AXES.
    times       [T] seconds of the frames after the start of the video; None: frame n is at n / fps.

    Raises ValueError if shapes do not match, frames do not ascend, or xyz or root are not finite.
    """

    person: int
    skeleton: Skeleton
    frames: np.ndarray
    fps: float
    xyz: np.ndarray
    confidence: np.ndarray
    pixels: np.ndarray
    image_size: tuple[int, int]
    root: np.ndarray | None = None
    axes: str = CAMERA
    times: np.ndarray | None = None

    def __post_init__(self) -> None:
        count, joints = len(self.frames), self.skeleton.num_joints
        shapes = {"xyz": (count, joints, 3), "confidence": (count, joints), "pixels": (count, joints, 2)}
        if self.root is not None:
            shapes["root"] = (count, 3)
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} of person {self.person} is {getattr(self, name).shape}; expected {shape}")
        if count == 0 or (np.diff(self.frames) <= 0).any():
            raise ValueError(f"frames of person {self.person} must ascend, and there must be at least one")
        if not np.isfinite(self.xyz).all() or (self.root is not None and not np.isfinite(self.root).all()):
            raise ValueError(f"xyz and root of person {self.person} must be finite")

    def __repr__(self) -> str:
        count, seconds = len(self.frames), self.seconds
        where = "no root path" if self.root is None else f"{np.linalg.norm(self.root, axis=1).mean() / 1000:.1f} m away"
        where = "z up" if self.axes == Z_UP else where
        return (
            f"Poses(person {self.person}, {count} frames, {seconds[0]:.2f} to {seconds[-1]:.2f} s at {self.fps:.4g} fps"
            f", {self.skeleton.name}, {where})"
        )

    def save(self, path: str | Path, *others: "Poses", names: str = "glagcn", wide: bool = False) -> list[Path]:
        """Write this person, and others of the same video, in the format of the suffix; returns the paths written.

        The suffixes are those of `glagcn lift --out`, such as .bvh, .trc, .csv, .npz, .html and .mp4.  Folders are
        made.  Raises UserError for another suffix and where the file cannot be written.
        names  of the bones of a .bvh: "glagcn" or "mixamo";  wide  a .csv has a row a frame.
        """
        path = Path(path).expanduser()
        make_folder(path.parent, "the folder")
        # By name: writers import this module.
        return import_module("glagcn.poses.writers.tables").write_people(path, [self, *others], names=names, wide=wide)

    def to_dataframe(self) -> "pandas.DataFrame":
        """A row for each frame and joint, with the columns of the .csv that belong to them.

        The columns: person, frame, time_s, joint, x_mm, y_mm, z_mm (relative to the root), root_x_mm, root_y_mm,
        root_z_mm (NaN if unknown), confidence, u_px, v_px.  `attrs` holds skeleton, axes, fps and image_size.
        Raises UserError without pandas.
        """
        try:
            pandas = import_module("pandas")
        except ImportError:
            raise UserError("to_dataframe needs pandas; install it: pip install pandas") from None
        count, joints = self.xyz.shape[:2]
        root = np.full((count, 3), np.nan) if self.root is None else self.root
        numbers = {
            **dict(zip(("x_mm", "y_mm", "z_mm"), self.xyz.reshape(-1, 3).T, strict=True)),
            **dict(zip(("root_x_mm", "root_y_mm", "root_z_mm"), np.repeat(root, joints, axis=0).T, strict=True)),
            "confidence": self.confidence.ravel(),
            **dict(zip(("u_px", "v_px"), self.pixels.reshape(-1, 2).T, strict=True)),
        }
        frames = {"person": self.person, "frame": np.repeat(self.frames, joints)}
        names = {"time_s": np.repeat(self.seconds, joints), "joint": list(self.joints) * count}
        table = pandas.DataFrame(frames | names | numbers)
        facts = {"skeleton": self.skeleton.name, "axes": self.axes, "fps": self.fps, "image_size": self.image_size}
        table.attrs.update(facts)
        return table

    def view(self, *others: "Poses") -> Any:
        """The page of `save("x.html")`: a notebook shows it, to turn and play; elsewhere it is text."""
        return import_module("glagcn.poses.writers.html").page([self, *others])

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the frame in the middle."""
        return import_module("glagcn.poses.draw.animation").still(self)

    @property
    def joints(self) -> tuple[str, ...]:
        """The names of the V joints."""
        return self.skeleton.joints

    @property
    def parents(self) -> tuple[int, ...]:
        """The parent of each of the V joints; the root is its own parent."""
        return self.skeleton.parents

    @property
    def seconds(self) -> np.ndarray:
        """[T] seconds of the frames after the start of the video."""
        return self.frames / self.fps if self.times is None else self.times

    @property
    def places(self) -> np.ndarray:
        """[T] the frames in numbers of a constant rate: the frame numbers, or times in units of 1 / fps."""
        return self.frames if self.times is None else self.times * self.fps


def in_space(people: Sequence[Poses]) -> list[np.ndarray]:
    """[T,V,3] of each person at the root position, mm; somebody without one is in the middle of the others."""
    roots = [person.root for person in people if person.root is not None]
    middle = np.concatenate(roots).mean(axis=0) if roots else np.zeros(3)
    return [person.xyz + (middle if person.root is None else person.root[:, None]) for person in people]


def rigid(person: Poses) -> Poses:
    """The person with bones of constant length: the median of each, in the direction that it has in each frame.

    So is the head from its middle to its top, where both hang from the neck: their angle is its median.
    The root path stays, so that hands and feet no longer project exactly onto their 2D joints.
    """
    parents, bones = list(person.parents), person.xyz.astype(np.float64)
    bones = bones - bones[:, parents]
    lengths = np.linalg.norm(bones, axis=-1, keepdims=True)
    bones /= np.maximum(lengths, SHORTEST_MM)
    if {"head", "head_top"} <= {*person.joints}:
        head, top = (bones[:, person.joints.index(name)] for name in ("head", "head_top"))
        along = (head * top).sum(axis=-1, keepdims=True)
        aside = head - along * top
        apart = np.linalg.norm(aside, axis=-1, keepdims=True)
        angle = np.median(np.arctan2(apart, along))
        head[:] = np.cos(angle) * top + np.sin(angle) * aside / np.maximum(apart, SHORTEST_MM)
    bones *= np.median(lengths, axis=0)
    xyz, order = np.zeros_like(bones), [person.skeleton.root]
    for above in order:
        below = [joint for joint, parent in enumerate(parents) if parent == above != joint]
        xyz[:, below] = xyz[:, [above]] + bones[:, below]
        order += below
    return replace(person, xyz=xyz.astype(np.float32))


def joined(parts: list[Poses]) -> Poses:
    """One person from poses of the same person in frames that follow each other."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        frames=np.concatenate([part.frames for part in parts]),
        xyz=np.concatenate([part.xyz for part in parts]),
        confidence=np.concatenate([part.confidence for part in parts]),
        pixels=np.concatenate([part.pixels for part in parts]),
        times=None if parts[0].times is None else np.concatenate([part.seconds for part in parts]),
    )


def filled(poses: Poses, first: int, last: int) -> Poses:
    """The person in all frames `first`..`last` (both included) of a constant rate, without gaps.

    xyz and root of missing frames are interpolated linearly; before the first and after the last frame they are
    constant.  In missing frames confidence is 0 and pixels are NaN.
    """
    frames = np.arange(first, last + 1)
    seen = np.isin(poses.places, frames)
    rows = (poses.places[seen] - first).astype(np.int64)
    confidence = np.zeros((len(frames), *poses.confidence.shape[1:]), dtype=np.float32)
    pixels = np.full((len(frames), *poses.pixels.shape[1:]), np.nan, dtype=poses.pixels.dtype)
    confidence[rows], pixels[rows] = poses.confidence[seen], poses.pixels[seen]
    return replace(
        poses,
        frames=frames,
        xyz=interpolated(poses.places, poses.xyz, frames).astype(np.float32),
        confidence=confidence,
        pixels=pixels,
        root=None if poses.root is None else interpolated(poses.places, poses.root, frames),
        times=None,
    )


def interpolated(frames: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Interpolate values [T,...] of ascending `frames` [T] linearly at `wanted` [n]; constant beyond both ends.

    Where all are wanted, these are the values themselves, not a copy.
    """
    if np.array_equal(frames, wanted):
        return values
    columns = values.reshape(len(values), -1).T
    found = np.stack([np.interp(wanted, frames, column) for column in columns], axis=-1)
    return found.reshape(len(wanted), *values.shape[1:])
