"""Ultralytics (YOLO pose): `result.to_json()` of every frame, or the label files of `save_txt=True`.

JSON: INSTANCE is {"name": "person", "class": 0, "confidence": s, "box": {...}, "track_id": 1,
"keypoints": {"x": [...], "y": [...], "visible": [...]}}.  One frame is a list of instances, as a text or parsed; a file
holds one frame, a list of frames, or one after the other.  Frames count from 0.

Labels: `labels/NAME_12.txt`, a line for each person, `class x y w h` and x, y, visible of each joint, all in parts of
the image, then the confidence (save_conf) and the id (tracking) where they were asked for.  Frames count from 1; where
there is no label of frame 0, they are counted from 0 here.
"""

import math
from typing import Any

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.gaps import with_confidence
from glagcn.poses.keypoints.content import (
    Content,
    Format,
    as_numbers,
    frames_of_names,
    parse_json,
    person_of,
    score_of,
    shown,
)
from glagcn.poses.keypoints.tracks import Detections, Poses, counts_of, to_pixels

NORMALISED = 1.5  # to_json(normalize=True) writes parts of the image
BOX = 5  # class x y w h


def _is_instance(value: Any) -> bool:
    return (
        isinstance(value, dict) and isinstance(value.get("keypoints"), dict) and {"x", "y"} <= set(value["keypoints"])
    )


def _is_frame(value: Any) -> bool:
    return isinstance(value, list) and all(_is_instance(part) for part in value)


def _parsed(content: Content, value: Any) -> Any:
    """A frame that was saved as a text, parsed."""
    return parse_json(content.path, value) if isinstance(value, str) else value


def _frames(content: Content) -> list[tuple[int, Any]]:
    if content.kind == "folder":
        return content.frames()
    if _is_frame(content.value) and content.value:
        return [(0, content.value)]
    return [(frame, _parsed(content, value)) for frame, value in enumerate(content.value)]


def _fits(content: Content) -> bool:
    if not isinstance(content.value, list | dict):
        return False
    try:
        frames = [frame for _, frame in _frames(content)]
    except UserError:
        return False
    return any(isinstance(frame, list) and frame for frame in frames) and all(_is_frame(frame) for frame in frames)


def _read(content: Content) -> Detections:
    poses, frames = content.poses(), _frames(content)
    for frame, instances in frames:
        for instance in instances:
            where, points = f"frame {frame}", instance["keypoints"]
            columns = [points["x"], points["y"], points.get("visible") or [1.0] * len(points["x"] or [])]
            if not all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
                raise UserError(f"{content.path}: {where}: x, y and visible are {shown(points)}; expected equal lists")
            if columns[0]:
                keypoints = as_numbers(content.path, f"{where}: keypoints", columns).T
                person = person_of(content.path, where, instance, "track_id")
                poses.add(frame, keypoints, person, score_of(content.path, where, instance, "confidence"), where)
    places = [row[1][:, :2] for row in poses.rows]
    if places and np.nanmax(np.abs(places), initial=0) <= NORMALISED:
        _scale(content, poses)
    return content.detections(poses, length=frames[-1][0] + 1)


def _scale(content: Content, poses: Poses) -> None:
    where = str(content.path)
    poses.rows = [(f, to_pixels(where, keypoints, content.size()), p, s) for f, keypoints, p, s in poses.rows]


ULTRALYTICS = Format("ultralytics", "Ultralytics JSON", ("json", "folder"), _fits, _read)


# ---- labels


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]


def _label_fits(content: Content) -> bool:
    lines = [line for text in content.value.values() for line in _lines(text)]
    return all(len(line) > BOX and line[0].isdigit() for line in lines)


def _read_labels(content: Content) -> Detections:
    poses = content.poses()
    frames = frames_of_names(content.path, content.value) if len(content.value) > 1 else dict.fromkeys(content.value, 0)
    first = min(frames.values())
    rows = [(name, line) for name, text in content.value.items() for line in _lines(text)]
    lengths = {len(line) for _, line in rows}
    if len(lengths) > 1:
        raise UserError(
            f"{content.path}: lines of {min(lengths)} and of {max(lengths)} numbers; expected all alike. Write the "
            "labels again, of a pose model"
        )
    table = np.array([_numbers(content, name, line) for name, line in rows]).reshape(len(rows), -1)
    joints, channels = _layout(content, poses, table.shape[1]) if rows else (0, 0)
    end = BOX + joints * channels
    scores, persons = _extra(table[:, end:])
    for (name, _), numbers, score, person in zip(rows, table, scores, persons, strict=True):
        keypoints = with_confidence(numbers[BOX:end].reshape(joints, channels))
        poses.add(frames[name] - min(first, 1), keypoints, int(person), float(score), name)
    _scale(content, poses)
    return content.detections(poses, length=max(frames.values()) + 1 - min(first, 1))


def _numbers(content: Content, name: str, line: list[str]) -> list[float]:
    try:
        return [float(word) for word in line]
    except ValueError:
        raise UserError(f"{content.path}: {name} holds {' '.join(line)[:40]!r}; expected numbers") from None


def _layout(content: Content, poses: Poses, length: int) -> tuple[int, int]:
    """The joints of a line and its numbers for each: the 17 of COCO where they fit, as published models have them."""
    for joints in sorted(counts_of(poses.convention), key=lambda count: (count != 17, count)):
        for channels in (3, 2):
            if 0 <= length - BOX - joints * channels <= 2:
                return joints, channels
    raise UserError(
        f"{content.path}: lines of {length} numbers; expected class, box and the joints of a pose: "
        f"{', '.join(str(count) for count in sorted(counts_of(poses.convention)))} of them"
    )


def _extra(rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The confidences and ids after the joints [D,0..2]; a single column of whole numbers is ids."""
    scores, persons = np.full(len(rest), math.nan), np.full(len(rest), -1.0)
    whole = [bool(((column == np.floor(column)) & (column >= 0) & (column < 1e6)).all()) for column in rest.T]
    if rest.shape[1] == 2 or (rest.shape[1] == 1 and not whole[0]):
        scores = rest[:, 0]
    if rest.shape[1] and whole[-1]:
        persons = rest[:, -1]
    return scores, persons


LABELS = Format("ultralytics_labels", "Ultralytics labels", ("labels",), _label_fits, _read_labels)
