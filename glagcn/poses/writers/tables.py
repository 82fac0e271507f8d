"""Poses as tables: arrays (.npz), a CSV file, JSON.  A new format is a function and a line of WRITERS."""

import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glagcn.errors import UserError
from glagcn.files import write_arrays, write_text
from glagcn.poses.draw.video import SUFFIXES
from glagcn.poses.result import AXES, Poses
from glagcn.poses.writers.bvh import write_bvh
from glagcn.poses.writers.html import people_html
from glagcn.poses.writers.markers import write_c3d, write_mot, write_trc
from glagcn.tables import write_csv

if TYPE_CHECKING:
    from glagcn.poses.draw.video import Video

logger = logging.getLogger(__name__)

# Facts about the whole file are columns too, because many programs cannot read comment lines in a CSV file.
ONCE = ("skeleton", "axes", "fps", "image_width", "image_height")
ROOT, PLACE, SEEN = ("root_x_mm", "root_y_mm", "root_z_mm"), ("x_mm", "y_mm", "z_mm"), ("confidence", "u_px", "v_px")
DECIMALS = 3  # of millimetres and pixels in text
ABOUT = (
    "poses_mm: millimetres relative to the root joint. root_mm: position of the root joint in millimetres, NaN if "
    "unknown. Axes of both: {axes}. pixels: x right, y down, NaN if unknown. confidence: of pixels. "
    "time_s: of the frame, in seconds after the start of the video."
)
ABOUT_COMPARISON = (
    "3D: millimetres relative to the root joint, camera coordinates (x right, y down, z forward). "
    "2D: pixels of an image of {width} x {height}, x right, y down. "
    "frames: numbers in the sequence {name}, from 0. Skeleton: {skeleton}."
)


def write_people(
    path: Path,
    people: Sequence[Poses],
    video: "Video | None" = None,
    times: np.ndarray | None = None,
    length: int | None = None,
    *,
    names: str = "glagcn",
    wide: bool = False,
) -> list[Path]:
    """Write the people of a video in the format of the suffix of `path`; returns the paths written.

    Each file is written atomically.
    video, times, length  of pictures (.gif, .mp4): what is drawn behind the 2D poses, the seconds of all frames of the
                          video, and their number; see `animate_people`.
    names                 of the bones of a .bvh, a key of bvh.NAMES.
    wide                  a .csv has a row per frame, not per frame and joint.
    Raises UserError if there are no people, the suffix is unknown or a file cannot be written, ValueError if the people
    differ in skeleton, fps, image size or axes.
    """
    if not people:
        raise UserError(f"nothing to write to {path}: no person was lifted")
    if len({(p.skeleton.name, p.fps, p.image_size, p.axes) for p in people}) > 1:
        raise ValueError("the people of one file must have the same skeleton, fps, image size and axes")
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        from glagcn.poses.draw.animation import animate_people  # with matplotlib

        animate_people(path, people, video, times, length)
        return [path]
    if suffix not in WRITERS:
        raise UserError(f"invalid file {path}: must end in {', '.join((*WRITERS, *SUFFIXES))}")
    options: dict[str, dict[str, Any]] = {".bvh": {"names": names}, ".csv": {"wide": wide}}
    written = WRITERS[suffix](path, people, **options.get(suffix, {}))
    for file in written:
        logger.info(f"Wrote {file}")
    return written


def people_npz(path: Path, people: Sequence[Poses]) -> list[Path]:
    """Write an .npz file with n rows, one per person and frame, sorted by person.

    person [n], frame [n] int64; time_s [n] after the start of the video; poses_mm [n,V,3], root_mm [n,3] (NaN if
    unknown), confidence [n,V], pixels [n,V,2] float32; and for the whole file: skeleton (name), joints [V] (names),
    parents [V] (joint numbers; the root is its own parent), fps, image_size [2] (width, height), axes (a key of
    result.AXES), about (units and axes in words).  Nothing is pickled.
    """
    one = people[0]
    arrays: dict[str, Any] = {
        "person": np.concatenate([np.full(len(p.frames), p.person, dtype=np.int64) for p in people]),
        "frame": _together([p.frames for p in people], np.int64),
        "time_s": _together([p.seconds for p in people], np.float64),
        "poses_mm": _together([p.xyz for p in people], np.float32),
        "root_mm": _together([_root(p) for p in people], np.float32),
        "confidence": _together([p.confidence for p in people], np.float32),
        "pixels": _together([p.pixels for p in people], np.float32),
        "skeleton": np.array(one.skeleton.name),
        "joints": np.array(one.joints),
        "parents": np.array(one.parents, dtype=np.int64),
        "fps": np.float64(one.fps),
        "image_size": np.array(one.image_size, dtype=np.int64),
        "axes": np.array(one.axes),
        "about": np.array(ABOUT.format(axes=AXES[one.axes])),
    }
    return [write_arrays(path, arrays, compress=True)]


def _together(parts: list[np.ndarray], kind: type) -> np.ndarray:
    """The rows of several people in a type; those of one person as they are: hours of them are not copied."""
    if len(parts) == 1:
        return parts[0].astype(kind, copy=False)
    return np.concatenate(parts, dtype=kind, casting="same_kind")


def people_csv(path: Path, people: Sequence[Poses], wide: bool = False) -> list[Path]:
    """Write a CSV file with a header and a row per person, frame and joint, sorted in this order.

    x_mm, y_mm, z_mm are relative to the root joint, root_x_mm, ... its position, empty if unknown; confidence is that
    of the 2D joint u_px, v_px (x right, y down; empty if unknown); time_s that of the frame after the start of the
    video.  What does not change is written once: parent in the rows of the first frame (the root is its own), and the
    columns of ONCE in the first row: the skeleton's name, a key of result.AXES, frames per second, pixels.
    wide  a row per person and frame instead, with columns of each joint, such as left_knee_x_mm.
    """
    one = people[0]
    about = [one.skeleton.name, one.axes, f"{one.fps:.10g}", *map(str, one.image_size)]
    if wide:
        of_joints = [f"{joint}_{name}" for joint in one.joints for name in (*PLACE, *SEEN)]
        columns = ["person", "frame", "time_s", *ROOT, *of_joints, *ONCE]
    else:
        columns = ["person", "frame", "joint", *PLACE, *ROOT, *SEEN, "time_s", "parent", *ONCE]

    def rows() -> Iterator[list[Any]]:
        """The cells of each row; what is written once is empty in the later ones."""
        parents, once = [one.joints[parent] for parent in one.parents], about
        for person in people:
            joints = np.concatenate([person.xyz, person.confidence[..., None], person.pixels], axis=-1)
            numbers = (person.frames.tolist(), person.seconds.tolist(), _root(person).tolist(), joints.tolist())
            for frame, seconds, root, pose in zip(*numbers, strict=True):
                time, at = f"{seconds:.6f}", _cells(root)
                if wide:
                    yield [person.person, frame, time, *at, *(cell for joint in pose for cell in _cells(joint)), *once]
                    once = [""] * len(ONCE)
                    continue
                for name, joint, parent in zip(one.joints, pose, parents, strict=True):
                    cells = _cells(joint)
                    yield [person.person, frame, name, *cells[:3], *at, *cells[3:], time, parent, *once]
                    once = [""] * len(ONCE)
                parents = [""] * len(parents)

    return [write_csv(path, columns, rows())]


def _root(person: Poses) -> np.ndarray:
    """[T,3] mm, NaN where it is not known."""
    return np.full((len(person.frames), 3), np.nan) if person.root is None else person.root


def _cells(values: Sequence[float]) -> list[str]:
    """Numbers as text; empty for values that are not finite."""
    return [f"{value:.{DECIMALS}f}" if math.isfinite(value) else "" for value in values]


def people_json(path: Path, people: Sequence[Poses]) -> list[Path]:
    """Write a JSON file with one object, as it stands below.

    "parents" are numbers of joints, and the root is its own; "poses" [T][V][3], "root" [T][3] or null if unknown,
    "confidence" [T][V], "pixels" [T][V][2] with null for unknown coordinates.
    """
    one = people[0]
    content = {
        "skeleton": {"name": one.skeleton.name, "joints": one.joints, "parents": one.parents},
        "fps": float(one.fps),
        "image_size": [int(side) for side in one.image_size],
        "units": {
            "poses": "millimetres relative to the root joint",
            "root": "millimetres",
            "pixels": "pixels of the image, x right, y down",
            "confidence": "of the pixels",
            "times": "seconds after the start of the video",
        },
        "axes": {"name": one.axes, "about": AXES[one.axes]},
        "people": [
            {
                "person": int(person.person),
                "frames": person.frames.tolist(),
                "times": np.round(person.seconds, 6).tolist(),
                "poses": _numbers(person.xyz),
                "root": None if person.root is None else _numbers(person.root),
                "confidence": _numbers(person.confidence),
                "pixels": _numbers(person.pixels),
            }
            for person in people
        ],
    }
    return [write_text(path, json.dumps(content, allow_nan=False))]


def _numbers(values: np.ndarray) -> Any:
    """Nested lists, rounded, with None for values that are not finite, which JSON does not have."""
    numbers = np.round(values.astype(np.float64), DECIMALS).astype(object)
    numbers[~np.isfinite(values)] = None
    return numbers.tolist()


# A writer takes the path and the people, and returns the paths of the files that it wrote.
WRITERS: dict[str, Callable[..., list[Path]]] = {
    ".npz": people_npz,
    ".json": people_json,
    ".csv": people_csv,
    ".bvh": write_bvh,
    ".trc": write_trc,
    ".mot": write_mot,
    ".c3d": write_c3d,
    ".html": people_html,
}


def write_comparison(path: Path, poses: Poses, truth: Poses | None, name: str) -> None:
    """Write n frames of one person beside the true poses as .npz or .csv, atomically.

    truth  in all of the frames or some; None: not known.
    name   of the sequence.

    .npz: frames [n], times [n] seconds, joints [V] names, parents [V], predicted_mm [n,V,3], target_mm [n,V,3] (NaN in
    frames without) if there is a true pose, pixels [n,V,2] (NaN if unknown), fps, about (text on units and axes).
    .csv: a row per frame and joint: frame, joint, x_mm, y_mm, z_mm, then true_x_mm, ... if there is a true pose, then
    u_px, v_px and time_s; empty where unknown.
    """
    target = []  # at most one array
    if truth is not None:
        target = [np.full_like(poses.xyz, np.nan)]
        _, rows, true_rows = np.intersect1d(poses.frames, truth.frames, return_indices=True)
        target[0][rows] = truth.xyz[true_rows]
    if path.suffix.lower() == ".csv":
        true = ["true_x_mm", "true_y_mm", "true_z_mm"] if target else []
        values = np.concatenate([poses.xyz, *target, poses.pixels], axis=-1).tolist()
        lines = (
            [frame, joint, *_cells(numbers), f"{time:.6f}"]
            for frame, time, pose in zip(poses.frames.tolist(), poses.seconds, values, strict=True)
            for joint, numbers in zip(poses.joints, pose, strict=True)
        )
        write_csv(path, ["frame", "joint", "x_mm", "y_mm", "z_mm", *true, "u_px", "v_px", "time_s"], lines)
        return
    width, height = poses.image_size
    arrays: dict[str, Any] = {
        "frames": poses.frames.astype(np.int64),
        "times": poses.seconds,
        "joints": np.array(poses.joints),
        "parents": np.array(poses.parents, dtype=np.int64),
        "predicted_mm": poses.xyz,
        "pixels": poses.pixels.astype(np.float32),
        "fps": np.float64(poses.fps),
        "about": ABOUT_COMPARISON.format(width=width, height=height, name=name, skeleton=poses.skeleton.name),
    }
    if target:
        arrays["target_mm"] = target[0]
    write_arrays(path, arrays, compress=True)
