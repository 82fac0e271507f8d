"""What is rendered: one person's 2D poses, with the true 3D ones where a data set has them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from glagcn.data.cache.reader import Cache, Split
from glagcn.data.datasets import get_dataset
from glagcn.data.sequence import SequenceInfo
from glagcn.errors import UserError
from glagcn.skeleton import get_skeleton

Say = Callable[[str], None]
MOST_LISTED = 40


@dataclass(frozen=True)
class Subject:
    """The poses of one sequence, all T frames of it.

    name        for the log.
    pixels      [T,Vin,2], image coordinates.
    target      [T,V,3] mm relative to the root, camera coordinates, or None.
    image_size  (width, height) in pixels.
    fps         frames per second.
    rotation    [3,3] camera to world coordinates, z up; None where the camera's orientation is not known.
    """

    name: str
    pixels: np.ndarray
    target: np.ndarray | None
    image_size: tuple[int, int]
    fps: float
    rotation: np.ndarray | None = None


def cached_subject(cache: Cache, subject: str | None, action: str | None, camera: int, say: Say) -> Subject:
    """The sequence of a cache, of either split, that --viz-subject, --viz-action and --viz-camera name.

    action  its beginning is enough: "Walking" finds "Walking 1"; None where the subject does one thing only.
    camera  0 finds the camera of a sequence that was filmed by one only.
    say     is told which of several takes was chosen.
    Raises UserError that lists what there is.
    """
    everything = [(split, number) for split in (cache.test, cache.train) for number in range(len(split.sequences))]
    split, number = _choose(everything, subject, action, camera, say)
    info, first = split.sequences[number], int(split.starts[number])
    frames = slice(first, first + info.length)
    target = split.millimetres[frames]
    root = get_skeleton(cache.skeleton).root
    return Subject(
        name=info.name,
        pixels=split.pixels[frames],
        target=target - target[:, root, None],
        image_size=(info.width, info.height),
        fps=float(info.fps),
        rotation=get_dataset(cache.dataset).camera_rotation(info),
    )


def _choose(
    everything: list[tuple[Split, int]], subject: str | None, action: str | None, camera: int, say: Say
) -> tuple[Split, int]:
    """The split and the row of the sequence."""
    rows = [(split.sequences[number], split, number) for split, number in everything]
    subjects = _distinct(info.subject for info, *_ in rows)
    if subject not in subjects:
        found = "is missing" if subject is None else f"{subject} is not in the data"
        raise UserError(f"--viz-subject {found}; expected one of {_listed(subjects)}")
    rows = [row for row in rows if row[0].subject == subject]
    actions = _distinct(info.action for info, *_ in rows)
    matching = _matching_actions(actions, action)
    if not matching:
        raise UserError(_no_action(subject, actions, action))
    if len(matching) > 1:
        say(f"--viz-action {action} fits {_listed(matching)}: taking the first")
    rows = [row for row in rows if row[0].action == matching[0]]
    for info, split, number in rows:
        if info.camera == camera or (info.camera == -1 and camera == 0):
            return split, number
    raise UserError(
        f"--viz-camera {camera} did not film {_take(rows[0][0])}; expected one of "
        f"{_listed(sorted({str(max(info.camera, 0)) for info, *_ in rows}))}"
    )


def _matching_actions(actions: list[str], wanted: str | None) -> list[str]:
    """The actions that a name fits: itself, else its takes ("Walking 1" before "WalkingDog 1"), else its beginning."""
    if wanted is None:
        return actions if len(actions) == 1 else []
    if wanted in actions:
        return [wanted]
    takes = [action for action in actions if action.startswith(f"{wanted} ")]
    return takes or [action for action in actions if wanted and action.startswith(wanted)]


def _no_action(subject: str, actions: list[str], wanted: str | None) -> str:
    if actions == [""]:
        return f"--viz-action {wanted}: {subject} has one sequence, without a name; leave the flag out"
    found = "is missing" if wanted is None else f"{wanted} is not in the data"
    return f"--viz-action {found}; {subject} has {_listed(actions)}"


def _take(info: SequenceInfo) -> str:
    return f"{info.subject}/{info.action}".removesuffix("/")


def _distinct(names) -> list[str]:
    return list(dict.fromkeys(names))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more
