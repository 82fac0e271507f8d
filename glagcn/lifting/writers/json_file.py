"""Lifted people as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.files import write_text
from glagcn.lifting.person import AXES, LiftedPerson

DECIMALS = 3  # of millimetres and pixels


def write_json(path: Path, people: Sequence[LiftedPerson]) -> list[Path]:
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


def _person(person: LiftedPerson) -> dict[str, Any]:
    return {
        "person": int(person.person),
        "frames": person.frames.tolist(),
        "poses": _numbers(person.poses),
        "root": None if person.root is None else _numbers(person.root),
        "confidence": _numbers(person.confidence),
        "pixels": _numbers(person.pixels),
    }


def _numbers(values: np.ndarray) -> Any:
    """Nested lists, rounded, with None for values that are not finite, which JSON does not have."""
    numbers = np.round(values.astype(np.float64), DECIMALS).astype(object)
    numbers[~np.isfinite(values)] = None
    return numbers.tolist()
