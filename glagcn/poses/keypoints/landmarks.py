"""Landmarks of MediaPipe Pose, which has no file format of its own: what programs write of them, as JSON or a table.

JSON: a landmark is {"x": ..., "y": ..., "z": ..., "visibility": ...} or [x, y], [x, y, z] or [x, y, z, visibility].  A
pose is 33 of them in a list, in an object by their names, or under "landmark".  A frame is a pose, a list of poses or
null, or an object with one of them under "landmarks", "pose_landmarks" or the like, and maybe its number under "frame".
A file is a list of frames, an object of frames by number, or an object with such a list under "frames" (or as a frame
has its pose), and maybe "width", "height" and "fps".  A folder holds one frame a file.

Tables (.csv): wide with columns such as `x0, y0, z0, v0`, `landmark_0_x` or `nose_x, nose_y, nose_visibility`, counted
from 0 or 1, and maybe `frame` and `person`; or no header and 33 times x, y, z, visibility.  Long with columns `frame`,
`landmark` (or `id`, `name`, `joint`), `x`, `y` and maybe `visibility` and `person`.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.gaps import FASTEST_FPS
from glagcn.poses.joints import CONVENTIONS, MEDIAPIPE33
from glagcn.poses.keypoints.content import (
    FRAME,
    PERSON,
    Content,
    Format,
    Found,
    as_numbers,
    as_whole,
    entry,
    frames_of_names,
    person_of,
)

POSE = ("landmarks", "poselandmarks", "landmark", "pose", "keypoints", "points")
LISTS = ("frames", "data", "results", *POSE)
FACTS = ("metadata", "meta", "video", "info")
SURE = ("visibility", "vis", "v", "confidence", "conf", "score", "c", "presence")
COUNT = len(MEDIAPIPE33)


# ---- JSON


def _is_landmark(value: Any) -> bool:
    if isinstance(value, dict):
        return {"x", "y"} <= set(value)
    return isinstance(value, list) and 2 <= len(value) <= 5 and all(isinstance(v, int | float | None) for v in value)


def _pose(value: Any) -> list | None:
    """The 33 landmarks of a pose in order; None in what is none."""
    if isinstance(value, dict):
        named = {_plain(str(name)): landmark for name, landmark in value.items()}
        if set(MEDIAPIPE33) <= set(named):
            return _pose([named[name] for name in MEDIAPIPE33])
        return _pose(entry(value, POSE))
    fits = isinstance(value, list) and len(value) == COUNT and all(_is_landmark(part) for part in value)
    return value if fits else None


def _poses(frame: Any) -> list[list] | None:
    """The poses of a frame; None in what is no frame."""
    if isinstance(frame, dict) and _pose(frame) is None:
        frame = entry(frame, POSE) if any(key.lower().replace("_", "") in POSE for key in frame) else 0
    if frame is None:
        return []
    if (pose := _pose(frame)) is not None:
        return [pose]
    found = [_pose(part) for part in frame] if isinstance(frame, list) and len(frame) < COUNT else [None]
    return None if any(pose is None for pose in found) else found  # type: ignore[return-value]


def _frames(content: Content) -> list[tuple[Any, Any]]:
    """(number, name or None, frame) of a content; empty where it is none."""
    value = content.value
    if content.kind == "folder":
        return list(value.items())
    if isinstance(value, dict) and _pose(value) is None:
        if value and all(str(key).isdigit() for key in value):
            return list(value.items())
        value = entry(value, LISTS)
        value = value if isinstance(value, list) else []
    # A list of poses is taken for frames, not for people: who writes one frame alone writes its pose.
    frames = value if _pose(value) is None else [value]
    stated = [entry(frame, FRAME) if isinstance(frame, dict) else None for frame in frames]
    if any(number is None for number in stated):
        return list(enumerate(frames))
    return list(zip(stated, frames, strict=True))


def _fits(content: Content) -> bool:
    found = [_poses(frame) for _, frame in _frames(content)] if isinstance(content.value, list | dict) else []
    return any(found) and all(poses is not None for poses in found)


def _read(content: Content) -> Iterator[Found]:
    frames = _frames(content)
    names = frames_of_names(content.path, content.value) if content.kind == "folder" else {}
    facts = content.value if content.kind == "json" and isinstance(content.value, dict) else {}
    _describe(content, {**facts, **next((facts[key] for key in FACTS if isinstance(facts.get(key), dict)), {})})
    for stated, frame in frames:
        number = names[stated] if names else as_whole("a frame's number", stated)
        yield number, None, None
        for pose in _poses(frame) or ():
            try:
                yield number, _points(pose), person_of(frame) if isinstance(frame, dict) else None
            except ValueError as problem:
                yield number, problem, None


def _points(pose: list) -> np.ndarray:
    """[33,3] of x, y and visibility."""
    rows = []
    for mark in pose:
        if isinstance(mark, dict):
            rows.append([mark["x"], mark["y"], next((mark[key] for key in SURE if key in mark), 1.0)])
        else:
            rows.append([mark[0], mark[1], mark[3] if len(mark) > 3 else 1.0])
    return as_numbers("landmarks", rows).reshape(len(rows), 3)


def _describe(content: Content, facts: dict[str, Any]) -> None:
    """Take the image size and frames per second that an object around the frames states, where they make sense."""
    numbers = {key: v for key, v in facts.items() if isinstance(v, int | float) and 0 < v < 1e5 and v is not True}
    width, height = int(numbers.get("width", 0)), int(numbers.get("height", 0))
    content.image_size = (width, height) if width and height else None
    content.fps = numbers["fps"] if numbers.get("fps", 1e9) <= FASTEST_FPS else None


# ---- tables

LANDMARK = ("landmark", "landmarkid", "landmarkindex", "landmarkname", "id", "index", "joint", "keypoint", "name")
NUMBERED = re.compile(r"(?:landmark|lm|point|kp|keypoint|joint)?_?(\d{1,3})")
MOST = 10_000_000  # frames and people


def _rows(content: Content) -> list[list[str]]:
    try:
        return [row for row in csv.reader(content.value.splitlines(), skipinitialspace=True) if any(row)]
    except csv.Error as error:
        raise UserError(f"{content.path} is no table of comma-separated values: {error}") from None


def _table_fits(content: Content) -> bool:
    try:
        return bool(_rows(content))
    except UserError:
        return False


def _read_table(content: Content) -> Iterator[Found]:
    rows = _rows(content)
    header = [_plain(name) for name in rows[0]]
    if _is_number(header[-1]):
        header = _usual_header(content, len(header))
    else:
        rows = rows[1:]
    places = {name.replace("_", ""): place for place, name in enumerate(header)}
    long = "x" in places and "y" in places and any(name in places for name in LANDMARK)
    frames, people, keypoints = (_long if long else _wide)(content, header, places, rows)
    for frame, person, pose in zip(frames, people, keypoints, strict=True):
        yield int(frame), pose, int(person) if person >= 0 else None


def _usual_header(content: Content, width: int) -> list[str]:
    """The columns of a table that has no header."""
    for axes in (("x", "y", "z", "v"), ("x", "y", "z")):
        columns = ["frame", *(f"{axis}{joint}" for joint in range(COUNT) for axis in axes)]
        if width in (len(columns), len(columns) - 1):
            return columns[-width:]
    raise UserError(f"{content.path} has {width} columns and no header; expected 33 times x, y, z, visibility")


def _wide(
    content: Content, header: list[str], places: dict[str, int], rows: list[list[str]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, ids and keypoints of a table with a row for each pose."""
    columns: dict[tuple[str, str], int] = {}  # {(joint, x, y or sure): column}
    for place, name in enumerate(header):
        for joint, axis in ((name.rpartition("_")[0], name.rpartition("_")[2]), (name[1:].strip("_"), name[:1])):
            if axis in ("x", "y", *SURE) and joint and axis != name:
                number = NUMBERED.fullmatch(joint)
                joint = str(int(number[1])) if number else joint
                columns.setdefault((joint, axis if axis in ("x", "y") else "sure"), place)
                break
    found = list(dict.fromkeys(joint for joint, axis in columns if axis == "x" and (joint, "y") in columns))
    if not found or not rows:
        raise UserError(
            f"{content.path} has columns {', '.join(header)[:80]} and {len(rows)} rows; expected x and y of "
            "each landmark"
        )
    joints, numbers = _joints(content, found), _numbers(content, rows, len(header))
    keypoints = np.ones((len(rows), len(joints), 3))
    for place, joint in enumerate(joints):
        for channel, axis in enumerate(("x", "y", "sure")):
            if (joint, axis) in columns:
                keypoints[:, place, channel] = numbers[:, columns[joint, axis]]
    frames = _whole(content, header, places, numbers, FRAME, np.arange(len(rows)))
    return frames, _whole(content, header, places, numbers, PERSON, np.full(len(rows), -1)), keypoints


def _long(
    content: Content, header: list[str], places: dict[str, int], rows: list[list[str]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, ids and keypoints of a table with a row for each landmark."""
    place = next(places[name] for name in LANDMARK if name in places)
    names = [_plain(row[place]) if place < len(row) else "" for row in rows]
    if not rows or not all(names):
        raise UserError(f"{content.path} has {len(rows)} rows, some without a landmark; expected one in each row")
    order = {joint: number for number, joint in enumerate(_joints(content, list(dict.fromkeys(names))))}
    kept = [number for number, name in enumerate(names) if name in order]
    rows, names = [rows[number] for number in kept], [names[number] for number in kept]
    numbers = _numbers(content, [[*row[:place], "nan", *row[place + 1 :]] for row in rows], len(header))
    frames = _whole(content, header, places, numbers, FRAME, np.zeros(len(rows)))
    people = _whole(content, header, places, numbers, PERSON, np.full(len(rows), -1))
    whose, row_of = np.unique(np.stack([frames, people], axis=1), axis=0, return_inverse=True)
    which = (row_of.reshape(-1), [order[name] for name in names])
    if len(np.unique(np.stack(which), axis=1).T) < len(rows):
        raise UserError(
            f"{content.path} has a landmark twice in a frame; expected a column 'frame', and 'person' for several"
        )
    sure = next((places[name] for name in SURE if name in places), None)
    columns = [numbers[:, places[axis]] for axis in ("x", "y")]
    columns.append(np.ones(len(rows)) if sure is None else numbers[:, sure])
    keypoints = np.full((len(whose), len(order), 3), np.nan)
    keypoints[which] = np.stack(columns, axis=1)
    return whose[:, 0], whose[:, 1], keypoints


def _joints(content: Content, found: list[str]) -> list[str]:
    """The joints of a table in order; by name, whose convention is then that of the content, else by number.

    Raises UserError where the numbers have gaps or the names are of no convention.
    """
    if all(joint.isdigit() for joint in found):
        numbers = sorted(map(int, found))
        if numbers[0] > 1 or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise UserError(f"{content.path} has landmarks {numbers[0]} to {numbers[-1]}; expected all from 0 or 1 on")
        return [str(number) for number in numbers]
    fitting = [c for c in CONVENTIONS.values() if set(c.joints) == set(found)]
    fitting += [CONVENTIONS["mediapipe33"]] if set(MEDIAPIPE33) <= set(found) else []
    if not fitting:
        raise UserError(
            f"{content.path} names {len(found)} joints ({', '.join(found)[:60]}); expected those of MediaPipe Pose"
        )
    content.joints = fitting[0].name
    return list(fitting[0].joints)


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _numbers(content: Content, rows: list[list[str]], width: int) -> np.ndarray:
    """[R,width] float64, NaN for what is empty or no number."""
    for number, row in enumerate(rows):
        if len(row) != width:
            raise UserError(
                f"{content.path}: row {number + 1} has {len(row)} columns, the header {width}; expected as many"
            )
    return np.array([[float(word) if _is_number(word) else np.nan for word in row] for row in rows]).reshape(-1, width)


def _whole(
    content: Content,
    header: list[str],
    places: dict[str, int],
    numbers: np.ndarray,
    names: Sequence[str],
    otherwise: np.ndarray,
) -> np.ndarray:
    """The whole numbers of the first of some columns that is there; else `otherwise`."""
    place = next((places[name] for name in names if name in places), None)
    if place is None:
        return otherwise.astype(np.int64)
    values = numbers[:, place]
    if not (np.abs(values) < MOST).all() or (values != np.floor(values)).any():
        raise UserError(f"{content.path}: the column {header[place]!r} holds other than whole numbers")
    return values.astype(np.int64)


LANDMARKS = (
    Format("mediapipe", "MediaPipe landmarks as JSON", ("json", "folder"), _fits, _read),
    Format("landmark_table", "a table of landmarks", ("csv",), _table_fits, _read_table),
)
