"""Writes the coordinates of the frames shown to .npz or .csv."""

import csv
import io
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from glagcn.errors import UserError
from glagcn.files import write_atomically
from glagcn.rendering.animation import Clip

SUFFIXES = (".npz", ".csv")
ABOUT = (
    "3D: millimetres relative to the root joint, camera coordinates (x right, y down, z forward). "
    "2D: pixels of an image of {width} x {height}, x right, y down. "
    "frames: numbers in the sequence {name}, from 0. Skeleton: {skeleton}."
)


def check_export(path: Path) -> None:
    """Raise UserError unless `path` ends in .npz or .csv and is not a folder."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"invalid --viz-export {path}: must end in .npz or .csv")
    if path.is_dir():
        raise UserError(f"invalid --viz-export {path}: is a folder; give the name of a file")


def write_poses(path: Path, clip: Clip, name: str, fps: float) -> None:
    """Write the coordinates of the n frames of a clip as .npz or .csv, atomically.

    name  of the sequence;  fps  of the frames shown.

    .npz: frames [n], joints [V] names, parents [V], predicted_mm [n,V,3], target_mm [n,V,3] if there is a target,
    pixels [n,Vin,2], fps, about (text on units and coordinates).  No pickled objects.
    .csv: a row per frame and joint: frame, joint, x_mm, y_mm, z_mm, then true_x_mm, ... if there is a target, then
    u_px, v_px, which are empty for a joint without a 2D input joint.
    """
    write = _write_npz if path.suffix.lower() == ".npz" else _write_csv
    write_atomically(path, lambda file: write(file, clip, name, fps))


def _write_npz(file: BinaryIO, clip: Clip, name: str, fps: float) -> None:
    width, height = clip.image_size
    arrays: dict[str, Any] = {
        "frames": clip.frames.astype(np.int64),
        "joints": np.array(clip.skeleton.joints),
        "parents": np.array(clip.skeleton.parents, dtype=np.int64),
        "predicted_mm": clip.predicted,
        "pixels": clip.pixels,
        "fps": np.float64(fps),
        "about": np.array(ABOUT.format(width=width, height=height, name=name, skeleton=clip.skeleton.name)),
    }
    if clip.target is not None:
        arrays["target_mm"] = clip.target
    np.savez_compressed(file, **arrays)


def _write_csv(file: BinaryIO, clip: Clip, name: str, fps: float) -> None:  # noqa: ARG001
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    table = csv.writer(text, lineterminator="\n")
    true = [] if clip.target is None else ["true_x_mm", "true_y_mm", "true_z_mm"]
    table.writerow(["frame", "joint", "x_mm", "y_mm", "z_mm", *true, "u_px", "v_px"])
    inputs = _input_joints(clip)
    for index, frame in enumerate(clip.frames):
        for joint, label in enumerate(clip.skeleton.joints):
            values = [clip.predicted[index, joint]]
            values += [] if clip.target is None else [clip.target[index, joint]]
            numbers = [f"{value:.3f}" for value in np.concatenate(values)]
            pixel = inputs[joint]
            numbers += ["", ""] if pixel is None else [f"{value:.3f}" for value in clip.pixels[index, pixel]]
            table.writerow([int(frame), label, *numbers])
    text.flush()
    text.detach()  # the caller closes the file


def _input_joints(clip: Clip) -> list[int | None]:
    """For each joint the index of the same joint in the 2D input; None for a mean of several input joints."""
    skeleton = clip.skeleton
    if skeleton.joint_map is None:
        return list(range(skeleton.num_joints))
    return [joints[0] if len(joints) == 1 else None for joints in skeleton.joint_map]
