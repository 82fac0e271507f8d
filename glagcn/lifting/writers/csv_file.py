"""People as a table."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from glagcn.files import write_atomically
from glagcn.lifting.person import LiftedPerson

# What is the same for the whole video is a column too: a table has no other place that every program reads.
COLUMNS = (
    "person", "frame", "joint", "x_mm", "y_mm", "z_mm", "root_x_mm", "root_y_mm", "root_z_mm", "confidence",
    "u_px", "v_px", "parent", "skeleton", "axes", "fps", "image_width", "image_height",
)  # fmt: skip


def write_csv(path: Path, people: Sequence[LiftedPerson]) -> list[Path]:
    """A line of names, then a row per person, frame and joint, in that order.

    person, frame          numbers; the frame's is that of the video
    joint, parent          names; the root joint is its own parent
    x_mm, y_mm, z_mm       millimetres relative to the root joint
    root_x_mm, ...         millimetres, where the root joint is; empty where that is unknown
    confidence, u_px, v_px of the 2D joint, in pixels of the image, x right, y down; empty where there is none
    skeleton, axes, fps, image_width, image_height
                           the same in every row: the skeleton's name, a name in person.AXES, frames per second, pixels
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
    """Numbers to three decimals, empty for what is not finite."""
    return [f"{value:.3f}" if math.isfinite(value) else "" for value in values]
