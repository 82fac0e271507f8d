"""A page (.html) that plays the people in any browser, without a network: orbit, play, scrub."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from glagcn.files import write_text
from glagcn.poses.result import CAMERA, Poses, in_space
from glagcn.skeletons import Skeleton

TEMPLATE = Path(__file__).with_name("viewer.html")
DATA = "/*DATA*/"
ALONE = ("#2b6cb0", "#c53030", "#222222")  # left, right and middle of one person
COLOURS = (  # of several: left, right, middle
    ("#1f77b4", "#12466a", "#195f90"), ("#e6750f", "#89460a", "#b85e0d"), ("#2ca02c", "#1a601a", "#238023"),
    ("#c51b8a", "#761053", "#9e166e"), ("#8c6bb1", "#54406a", "#70568e"), ("#17a2b8", "#0e616e", "#128293"),
)  # fmt: skip
OUTLIER_PERCENT = 1.0  # of the places at each end, which the first view may cut off
FLOOR_MM, MOST_LINES = 500, 40  # the side of a square of the floor, and squares in a row at most


class Page(str):
    """The text of a page, which a notebook shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Page({len(self) // 1000} kB)"

    def _repr_html_(self) -> str:
        style = "width: 100%; height: 480px; border: 0"
        return f'<iframe srcdoc="{escape(self)}" style="{style}" sandbox="allow-scripts"></iframe>'


def people_html(path: Path, people: Sequence[Poses]) -> list[Path]:
    """Write a page with the people; it needs no other file and no network."""
    return [write_text(path, page(people))]


def page(people: Sequence[Poses]) -> Page:
    """The page: viewer.html with the people as JSON.

    joints [V] names, parents [V], sides [V] (0 left, 1 right, 2 middle), fps, image_size; middle [3] and size of the
    first view, floor (x and y from, x and y to, side of a square) and level (its height), all in whole millimetres, z
    up; and for each person a number, colours [3] of the sides, frames [T], times [T] seconds, xyz [T*V*3] whole
    millimetres and pixels [T*V*2], null where unknown.
    """
    one = people[0]
    # Camera axes (x right, y down, z forward) to upright ones, of a level camera.
    turn = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]) if one.axes == CAMERA else np.eye(3)
    places = [place @ turn.T for place in in_space(people)]
    low, high = np.percentile(
        np.concatenate([place.reshape(-1, 3) for place in places]), [OUTLIER_PERCENT, 100 - OUTLIER_PERCENT], axis=0
    )
    level = float(low[2]) - 40 if one.axes == CAMERA else 0.0  # the ankles are above the floor
    square = FLOOR_MM * max(1, int(np.ceil((high - low)[:2].max() / (FLOOR_MM * MOST_LINES))))
    corners = [*(np.floor(low[:2] / square - 1) * square), *(np.ceil(high[:2] / square + 1) * square)]
    content = {
        "title": f"{len(people)} people" if len(people) > 1 else f"person {one.person}",
        "joints": one.joints,
        "parents": one.parents,
        "sides": [_side(joint, one.skeleton) for joint in range(one.skeleton.num_joints)],
        "fps": float(one.fps),
        "image_size": [int(side) for side in one.image_size],
        "middle": _whole((low + high) / 2),
        "size": max(1000, round(float((high - low).max()))),
        "floor": [int(corner) for corner in corners] + [square],
        "level": round(level),
        "people": [
            {
                "person": int(person.person),
                "colours": ALONE if len(people) == 1 else COLOURS[number % len(COLOURS)],
                "frames": person.frames.tolist(),
                "times": np.round(person.seconds, 4).tolist(),
                "xyz": _whole(place),
                "pixels": _whole(person.pixels),
            }
            for number, (person, place) in enumerate(zip(people, places, strict=True))
        ],
    }
    # "</script>" in a name would end the data.
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return Page(TEMPLATE.read_text(encoding="utf-8").replace(DATA, text))


def _side(joint: int, skeleton: Skeleton) -> int:
    return 0 if joint in skeleton.left else 1 if joint in skeleton.right else 2


def _whole(values: np.ndarray) -> list[int | None]:
    """All values in whole numbers; None where they are not finite."""
    flat = np.asarray(values, np.float64).ravel()
    return [round(number) if known else None for number, known in zip(flat.tolist(), np.isfinite(flat), strict=True)]
