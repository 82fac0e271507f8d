"""Lifted people as NumPy arrays (.npz)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.files import write_atomically
from glagcn.lifting.person import AXES, LiftedPerson

ABOUT = (
    "poses_mm: millimetres relative to the root joint. root_mm: position of the root joint in millimetres, NaN if "
    "unknown. Axes of both: {axes}. pixels: x right, y down, NaN if unknown. confidence: of pixels. "
    "Frame n is n / fps seconds after the start of the video."
)


def write_npz(path: Path, people: Sequence[LiftedPerson]) -> list[Path]:
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
        "poses_mm": np.concatenate([p.poses for p in people]).astype(np.float32),
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
