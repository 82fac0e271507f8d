"""The sequence to render: 2D poses, and true 3D poses if the data set has them."""

import logging
from dataclasses import dataclass

import numpy as np

from glagcn.data.cache.reader import Cache, Split
from glagcn.data.datasets import get_dataset
from glagcn.data.sequence import SequenceInfo
from glagcn.errors import UserError
from glagcn.skeleton import get_skeleton

logger = logging.getLogger(__name__)

MOST_LISTED = 40


@dataclass(frozen=True)
class Recording:
    """All T frames of one sequence.

    name        for the log.
    pixels      [T,Vin,2], image coordinates.
    target      [T,V,3] mm relative to the root, camera coordinates, or None.
    image_size  (width, height) in pixels.
    fps         frames per second.
    rotation    [3,3] camera to world coordinates, z up; None if unknown.
    confidence  [T,Vin] of the joints, 0 where a place was filled in; None if unknown.
    """

    name: str
    pixels: np.ndarray
    target: np.ndarray | None
    image_size: tuple[int, int]
    fps: float
    rotation: np.ndarray | None = None
    confidence: np.ndarray | None = None


def cached_recording(cache: Cache, subject: str | None, action: str | None, camera: int) -> Recording:
    """The sequence of --viz-subject, --viz-action and --viz-camera, from either split of a cache.

    action  a prefix is enough: "Walking" finds "Walking 1"; None if the subject has only one action.
    camera  0 also finds a sequence with a single unnumbered camera.
    Raises UserError, listing the valid names, if there is no such sequence.
    """
    everything = [(split, number) for split in (cache.test, cache.train) for number in range(len(split.sequences))]
    split, number = _choose(everything, subject, action, camera)
    info, first = split.sequences[number], int(split.starts[number])
    frames = slice(first, first + info.length)
    target = split.millimetres[frames]
    root = get_skeleton(cache.skeleton).root
    return Recording(
        name=info.name,
        pixels=split.pixels[frames],
        target=target - target[:, root, None],
        image_size=(info.width, info.height),
        fps=float(info.fps),
        rotation=get_dataset(cache.dataset).camera_rotation(info),
    )


def _choose(
    everything: list[tuple[Split, int]], subject: str | None, action: str | None, camera: int
) -> tuple[Split, int]:
    """The split and index of the sequence."""
    rows = [(split.sequences[number], split, number) for split, number in everything]
    subjects = _distinct(info.subject for info, *_ in rows)
    if subject not in subjects:
        must = f"must be one of {_listed(subjects)}"
        if subject is None:
            raise UserError(f"--viz-subject is missing: {must}")
        raise UserError(f"invalid --viz-subject {subject}: {must}")
    rows = [row for row in rows if row[0].subject == subject]
    actions = _distinct(info.action for info, *_ in rows)
    matching = _matching_actions(actions, action)
    if not matching:
        raise UserError(_no_action(subject, actions, action))
    if len(matching) > 1:
        logger.info(f"--viz-action {action} matches {_listed(matching)}: taking the first")
    rows = [row for row in rows if row[0].action == matching[0]]
    for info, split, number in rows:
        if info.camera == camera or (info.camera == -1 and camera == 0):
            return split, number
    raise UserError(
        f"invalid --viz-camera {camera}: must be one of "
        f"{_listed(sorted({str(max(info.camera, 0)) for info, *_ in rows}))} for {_take(rows[0][0])}"
    )


def _matching_actions(actions: list[str], wanted: str | None) -> list[str]:
    """The actions that match a name: exactly, else as numbered takes ("Walking 1"), else as a prefix."""
    if wanted is None:
        return actions if len(actions) == 1 else []
    if wanted in actions:
        return [wanted]
    takes = [action for action in actions if action.startswith(f"{wanted} ")]
    return takes or [action for action in actions if wanted and action.startswith(wanted)]


def _no_action(subject: str, actions: list[str], wanted: str | None) -> str:
    if actions == [""]:
        return f"invalid --viz-action {wanted}: {subject} has a single sequence without a name; leave the flag out"
    must = f"must be one of {_listed(actions)} for {subject}"
    return f"--viz-action is missing: {must}" if wanted is None else f"invalid --viz-action {wanted}: {must}"


def _take(info: SequenceInfo) -> str:
    return f"{info.subject}/{info.action}".removesuffix("/")


def _distinct(names) -> list[str]:
    return list(dict.fromkeys(names))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more
