"""The writer of each file suffix.  A new format is a function and a line of WRITERS."""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from glagcn.errors import UserError
from glagcn.files import write_atomically, write_text
from glagcn.poses.result import AXES, Poses
from glagcn.poses.writers.bvh import write_bvh

# ---- Lifted people as a table (.csv).


# Facts about the whole file are columns too, because many programs cannot read comment lines in a CSV file.
COLUMNS = (
    "person", "frame", "joint", "x_mm", "y_mm", "z_mm", "root_x_mm", "root_y_mm", "root_z_mm", "confidence",
    "u_px", "v_px", "parent", "skeleton", "axes", "fps", "image_width", "image_height",
)  # fmt: skip


def write_csv(path: Path, people: Sequence[Poses]) -> list[Path]:
    """Write a CSV file with a header and a row per person, frame and joint, sorted in this order.

    person, frame      numbers; frame is the frame number in the video
    joint, parent      joint names; the root is its own parent
    x_mm, y_mm, z_mm   millimetres relative to the root joint
    root_x_mm, ...     position of the root joint in millimetres; empty if unknown
    confidence         of the 2D joint
    u_px, v_px         the 2D joint in pixels, x right, y down; empty if unknown
    skeleton, axes, fps, image_width, image_height
                       equal in all rows: the skeleton's name, a key of person.AXES, frames per second, pixels
    """
    return [write_atomically(path, lambda file: _write(file, people))]


def _write(file: BinaryIO, people: Sequence[Poses]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for person in people:
        joints = person.skeleton.joints
        parents = [joints[parent] for parent in person.skeleton.parents]
        about = [person.skeleton.name, person.axes, f"{person.fps:.10g}", *person.image_size]
        roots = np.full((len(person.frames), 3), np.nan) if person.root is None else person.root
        numbers = (person.frames, roots, person.xyz, person.confidence[..., None], person.pixels)
        for frame, root, pose, confidence, pixels in zip(*(array.tolist() for array in numbers), strict=True):
            for joint, parent, place, sure, pixel in zip(joints, parents, pose, confidence, pixels, strict=True):
                cells = _cells([*place, *root, *sure, *pixel])
                table.writerow([person.person, frame, joint, *cells, parent, *about])
    text.flush()
    text.detach()  # the caller closes the file


def _cells(values: list[float]) -> list[str]:
    """Numbers with three decimals; empty for values that are not finite."""
    return [f"{value:.3f}" if math.isfinite(value) else "" for value in values]


# ---- Lifted people as JSON.


DECIMALS = 3  # of millimetres and pixels


def write_json(path: Path, people: Sequence[Poses]) -> list[Path]:
    """Write a JSON file with one object.

    skeleton    {"name", "joints": V names, "parents": V joint numbers; the root is its own parent}
    fps         frames per second; frame n is n / fps seconds after the start of the video
    image_size  [width, height] in pixels
    units       {"poses", "root", "pixels", "confidence"}, in words
    axes        {"name": a key of person.AXES, "about": its meaning}
    people      list of {"person": number, "frames": T numbers, "poses": [T][V][3], "root": [T][3] or null if unknown,
                "confidence": [T][V], "pixels": [T][V][2] with null for unknown coordinates}
    """
    one = people[0]
    content = {
        "skeleton": {"name": one.skeleton.name, "joints": one.skeleton.joints, "parents": one.skeleton.parents},
        "fps": float(one.fps),
        "image_size": [int(side) for side in one.image_size],
        "units": {
            "poses": "millimetres relative to the root joint",
            "root": "millimetres",
            "pixels": "pixels of the image, x right, y down",
            "confidence": "of the pixels",
        },
        "axes": {"name": one.axes, "about": AXES[one.axes]},
        "people": [_person(person) for person in people],
    }
    write_text(path, json.dumps(content, allow_nan=False))
    return [path]


def _person(person: Poses) -> dict[str, Any]:
    return {
        "person": int(person.person),
        "frames": person.frames.tolist(),
        "poses": _numbers(person.xyz),
        "root": None if person.root is None else _numbers(person.root),
        "confidence": _numbers(person.confidence),
        "pixels": _numbers(person.pixels),
    }


def _numbers(values: np.ndarray) -> Any:
    """Nested lists, rounded, with None for values that are not finite, which JSON does not have."""
    numbers = np.round(values.astype(np.float64), DECIMALS).astype(object)
    numbers[~np.isfinite(values)] = None
    return numbers.tolist()


# ---- Lifted people as NumPy arrays (.npz).


ABOUT = (
    "poses_mm: millimetres relative to the root joint. root_mm: position of the root joint in millimetres, NaN if "
    "unknown. Axes of both: {axes}. pixels: x right, y down, NaN if unknown. confidence: of pixels. "
    "Frame n is n / fps seconds after the start of the video."
)


def write_npz(path: Path, people: Sequence[Poses]) -> list[Path]:
    """Write an .npz file with n rows, one per person and frame, sorted by person.

    person [n], frame [n] int64; poses_mm [n,V,3], root_mm [n,3] (NaN if unknown), confidence [n,V], pixels [n,V,2]
    float32; and for the whole file: skeleton (name), joints [V] (names), parents [V] (joint numbers; the root is its
    own parent), fps, image_size [2] (width, height), axes (a key of person.AXES), about (units and axes in words).
    Nothing is pickled.
    """
    one = people[0]
    roots = [np.full((len(p.frames), 3), np.nan) if p.root is None else p.root for p in people]
    arrays: dict[str, Any] = {
        "person": np.concatenate([np.full(len(p.frames), p.person, dtype=np.int64) for p in people]),
        "frame": np.concatenate([p.frames for p in people]).astype(np.int64),
        "poses_mm": np.concatenate([p.xyz for p in people]).astype(np.float32),
        "root_mm": np.concatenate(roots).astype(np.float32),
        "confidence": np.concatenate([p.confidence for p in people]).astype(np.float32),
        "pixels": np.concatenate([p.pixels for p in people]).astype(np.float32),
        "skeleton": np.array(one.skeleton.name),
        "joints": np.array(one.skeleton.joints),
        "parents": np.array(one.skeleton.parents, dtype=np.int64),
        "fps": np.float64(one.fps),
        "image_size": np.array(one.image_size, dtype=np.int64),
        "axes": np.array(one.axes),
        "about": np.array(ABOUT.format(axes=AXES[one.axes])),
    }
    return [write_atomically(path, lambda file: np.savez_compressed(file, **arrays))]


# ---- The writer of each file suffix. A new format is a function and a line of WRITERS.


# A writer takes the path and the people, and returns the paths of the files that it wrote.
WRITERS: dict[str, Callable[[Path, Sequence[Poses]], list[Path]]] = {
    ".npz": write_npz,
    ".json": write_json,
    ".csv": write_csv,
    ".bvh": write_bvh,
}


def write_people(path: Path, people: Sequence[Poses]) -> list[Path]:
    """Write the people of a video in the format of the suffix of `path`; returns the paths written.

    Each file is written atomically.  Raises UserError if there are no people or a file cannot be written, ValueError if
    the people differ in skeleton, fps, image size or axes.
    """
    if not people:
        raise UserError(f"nothing to write to {path}: no person was lifted")
    if len({(p.skeleton.name, p.fps, p.image_size, p.axes) for p in people}) > 1:
        raise ValueError("the people of one file must have the same skeleton, fps, image size and axes")
    return WRITERS[path.suffix.lower()](path, people)
