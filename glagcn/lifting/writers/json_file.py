"""People as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.files import write_text
from glagcn.lifting.person import AXES, LiftedPerson

DECIMALS = 3  # of millimetres and pixels


def write_json(path: Path, people: Sequence[LiftedPerson]) -> list[Path]:
    """One object:

    skeleton    {"name", "joints": V names, "parents": V numbers; the root is its own}
    fps         frames per second; frame n is shown n / fps seconds after the start of the video
    image_size  [width, height] in pixels
    units       {"poses", "root", "pixels", "confidence"}, in words
    axes        {"name", "about"}: a name in person.AXES, and what it means
    people      a list of {"person": number, "frames": T numbers, "poses": [T][V][3], "root": [T][3] or null where it is
                unknown, "confidence": [T][V], "pixels": [T][V][2], null where there is no joint}
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
            "confidence": "of the pixels, 0 where there are none",
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
    """Nested lists, rounded; None for what is not finite, which JSON has no word for."""
    numbers = np.round(values.astype(np.float64), DECIMALS).astype(object)
    numbers[~np.isfinite(values)] = None
    return numbers.tolist()
