"""Lifted people as a table (.csv)."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from glagcn.files import write_atomically
from glagcn.lifting.person import LiftedPerson

# Facts about the whole file are columns too, because many programs cannot read comment lines in a CSV file.
COLUMNS = (
    "person", "frame", "joint", "x_mm", "y_mm", "z_mm", "root_x_mm", "root_y_mm", "root_z_mm", "confidence",
    "u_px", "v_px", "parent", "skeleton", "axes", "fps", "image_width", "image_height",
)  # fmt: skip


def write_csv(path: Path, people: Sequence[LiftedPerson]) -> list[Path]:
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


def _write(file: BinaryIO, people: Sequence[LiftedPerson]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for person in people:
        joints = person.skeleton.joints
        parents = [joints[parent] for parent in person.skeleton.parents]
        about = [person.skeleton.name, person.axes, f"{person.fps:.10g}", *person.image_size]
        roots = np.full((len(person.frames), 3), np.nan) if person.root is None else person.root
        numbers = (person.frames, roots, person.poses, person.confidence[..., None], person.pixels)
        for frame, root, pose, confidence, pixels in zip(*(array.tolist() for array in numbers), strict=True):
            for joint, parent, place, sure, pixel in zip(joints, parents, pose, confidence, pixels, strict=True):
                cells = _cells([*place, *root, *sure, *pixel])
                table.writerow([person.person, frame, joint, *cells, parent, *about])
    text.flush()
    text.detach()  # the caller closes the file


def _cells(values: list[float]) -> list[str]:
    """Numbers with three decimals; empty for values that are not finite."""
    return [f"{value:.3f}" if math.isfinite(value) else "" for value in values]
