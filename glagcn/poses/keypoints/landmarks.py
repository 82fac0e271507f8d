"""Landmarks of MediaPipe Pose, which has no file format of its own: what programs write of them, as JSON or a table.

JSON: a landmark is {"x": ..., "y": ..., "z": ..., "visibility": ...} or [x, y], [x, y, z] or [x, y, z, visibility].  A
pose is 33 of them in a list, in an object by their names, or under "landmark".  A frame is a pose, a list of poses or
null, or an object with one of them under "landmarks", "pose_landmarks" or the like, and maybe its number under "frame".
A file is a list of frames, an object of frames by number, or an object with such a list under "frames" (or as a frame
has its pose), and maybe "width", "height" and "fps".  A folder holds one frame a file.

Tables (.csv): wide with columns such as `x0, y0, z0, v0`, `landmark_0_x` or `nose_x, nose_y, nose_visibility`, counted
from 0 or 1, and maybe `frame` and `person`; or no header and 33 times x, y, z, visibility.  Long with columns `frame`,
`landmark` (or `id`, `name`, `joint`), `x`, `y` and maybe `visibility` and `person`.  DeepLabCut's, with three or four
rows of titles.  Columns may also be parted by semicolons or tabs, and then have decimal commas.
"""

import csv
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.gaps import FASTEST_FPS
from glagcn.poses.joints import CONVENTIONS, MEDIAPIPE33
from glagcn.poses.keypoints.content import (
    FRAME,
    PERSON,
    TIME,
    Content,
    Format,
    Found,
    as_numbers,
    as_whole,
    entry,
    frames_of_names,
    person_of,
    shown,
    time_of,
)

POSE = ("landmarks", "poselandmarks", "landmark", "pose", "keypoints", "points")
LISTS = ("frames", "data", "results", *POSE)
FACTS = ("metadata", "meta", "video", "info")
SURE = ("visibility", "likelihood", "vis", "v", "confidence", "conf", "score", "c", "presence")
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
    if not frame and frame != 0:
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
        content.counted, stated = True, list(range(len(frames)))
    return list(zip(stated, frames, strict=True))


def _fits(content: Content) -> bool:
    found = [_poses(frame) for _, frame in _frames(content)] if isinstance(content.value, list | dict) else []
    return sum(map(bool, found)) > found.count(None) or (bool(found) and not any(found) and None not in found)


def _read(content: Content) -> Iterator[Found]:
    frames = [(stated, frame, _poses(frame)) for stated, frame in _frames(content)]
    folder = content.kind == "folder"
    names = frames_of_names(content.path, [name for name, _, poses in frames if folder and poses is not None])
    facts = content.value if content.kind == "json" and isinstance(content.value, dict) else {}
    _describe(content, {**facts, **next((facts[key] for key in FACTS if isinstance(facts.get(key), dict)), {})})
    for stated, frame, poses in frames:
        number = names.get(stated, stated) if folder else as_whole("a frame's number", stated)
        yield number, ValueError(f"{shown(frame)}; expected the landmarks of a frame") if poses is None else None, None
        content.add_time(number, frame)
        for pose in poses or ():
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
    """The rows that are not empty, of words.  Where the columns are not parted by commas, these are decimal points."""
    lines = content.value.splitlines()
    first = next((line for line in lines if line.strip()), "")
    separator = max(",;\t", key=first.count)
    try:
        rows = [row for row in csv.reader(lines, delimiter=separator, skipinitialspace=True) if any(row)]
    except csv.Error as error:
        raise UserError(f"{content.path} is no table of comma-separated values: {error}") from None
    if not rows:
        raise UserError(f"{content.path} is an empty table; expected x and y of landmarks")
    return rows if separator == "," else [[word.replace(",", ".") for word in row] for row in rows]


def _read_table(content: Content) -> Iterator[Found]:
    rows = _rows(content)
    header = [_plain(name).replace(".", "_") for name in rows[0]]
    if header[0] == "scorer":
        return _read_deeplabcut(content, rows)
    if not _is_number(rows[0][-1]):
        return _poses_of(content, header, rows[1:])
    for axes in ("xyzv", "xyz"):
        columns = ["frame", *(f"{axis}{joint}" for joint in range(COUNT) for axis in axes)]
        if len(columns) - len(header) in (0, 1):
            return _poses_of(content, columns[-len(header) :], rows)
    raise UserError(f"{content.path} has {len(header)} columns and no header; expected 33 times x, y, z, visibility")


def _read_deeplabcut(content: Content, rows: list[list[str]]) -> Iterator[Found]:
    """A table with rows of the scorer, individuals where there are several, body parts and axes above the frames."""
    titles = [_plain(row[0]) for row in rows[:4]]
    several = titles[1:] == ["individuals", "bodyparts", "coords"]
    if titles[1:3] != ["bodyparts", "coords"] and not several:
        raise UserError(
            f"{content.path} begins with rows {', '.join(titles)[:80]}; expected scorer, bodyparts and coords, as "
            "DeepLabCut writes them"
        )
    top, table = rows[: 3 + several], rows[3 + several :]
    width = min(map(len, rows))
    whose = top[1][1:width] if several else [""] * (width - 1)
    for number, person in enumerate(dict.fromkeys(whose)):
        columns = [place for place, who in enumerate(whose, start=1) if who == person]
        header = ["frame", *(f"{_plain(top[-2][place])}_{_plain(top[-1][place])}" for place in columns)]
        part = [[row[place] for place in (0, *columns)] for row in table]
        yield from ((frame, pose, number if several else None) for frame, pose, _ in _poses_of(content, header, part))


def _poses_of(content: Content, header: list[str], rows: list[list[str]]) -> Iterator[Found]:
    """The poses of a table with a row for each pose, or for each landmark."""
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise UserError(f"{content.path}: row {number} has {len(row)} columns; expected {len(header)}")
    places = {name.replace("_", ""): place for place, name in reversed(list(enumerate(header)))}
    landmark = entry(places, LANDMARK) if {"x", "y"} <= set(places) else None
    columns = _columns(header) if landmark is None else {}
    found = [joint for joint, axis in columns if axis == "x" and (joint, "y") in columns]
    labels = [_plain(row[landmark]) for row in rows] if landmark is not None else []
    if not rows or not all(labels) or (landmark is None and not found):
        raise UserError(
            f"{content.path} has columns {', '.join(header)[:80]} and {len(rows)} rows; expected x and y of "
            "each landmark"
        )
    numbers = np.array([[float(word) if _is_number(word) else np.nan for word in row] for row in rows])
    place, clock = entry(places, FRAME), entry(places, TIME)
    times = [None if clock is None or not row[clock] else time_of({"time": row[clock]}) for row in rows]
    if place is None and clock is not None and None not in times:
        frames, content.counted = np.unique(np.array(times, np.float64), return_inverse=True)[1].reshape(-1), True
    elif place is None:  # counted, or one frame
        frames = np.arange(len(rows)) * (landmark is None)
    elif any(_is_number(row[place]) for row in rows):
        frames = _whole(content, "frame", numbers[:, place])
    else:  # names of images
        names = frames_of_names(content.path, dict.fromkeys(row[place] for row in rows))
        frames = np.array([names[row[place]] for row in rows])
    for frame, time in zip(frames.tolist(), times, strict=True):
        content.add_time(frame, {"time": time})
    place = entry(places, PERSON)
    people = np.full(len(rows), -1) if place is None else _whole(content, header[place], numbers[:, place])
    joints = _joints(content, found or list(dict.fromkeys(labels)))
    if landmark is None:
        ones = np.append(numbers, np.ones((len(rows), 1)), axis=1)
        of_joints = [[columns.get((name, axis), len(header)) for axis in ("x", "y", "sure")] for name in joints]
        keypoints = ones[:, of_joints]
        whose = np.stack([frames, people], axis=1)
    else:
        order = {joint: number for number, joint in enumerate(joints)}
        kept = [number for number, name in enumerate(labels) if name in order]
        whose, row_of = np.unique(np.stack([frames, people], axis=1)[kept], axis=0, return_inverse=True)
        which = (row_of.reshape(-1), np.array([order[labels[number]] for number in kept]))
        if len(np.unique(np.stack(which), axis=1).T) < len(kept):
            raise UserError(
                f"{content.path} has a landmark twice in a frame; expected a column 'frame', and 'person' for several"
            )
        sure = entry(places, SURE)
        keypoints = np.full((len(whose), len(joints), 3), np.nan)
        keypoints[(*which, 0)], keypoints[(*which, 1)] = (numbers[kept, places[axis]] for axis in "xy")
        keypoints[(*which, 2)] = 1 if sure is None else numbers[kept, sure]
    for (frame, person), pose in zip(whose.tolist(), keypoints, strict=True):
        yield frame, pose, person if person >= 0 else None


def _columns(header: list[str]) -> dict[tuple[str, str], int]:
    """{(joint, x, y or sure): column} of a table with a row for each pose."""
    columns: dict[tuple[str, str], int] = {}
    for place, name in enumerate(header):
        for joint, axis in ((name.rpartition("_")[0], name.rpartition("_")[2]), (name[1:].strip("_"), name[:1])):
            if axis in ("x", "y", *SURE) and joint and axis != name:
                number = NUMBERED.fullmatch(joint)
                joint = str(int(number[1])) if number else joint
                columns.setdefault((joint, axis if axis in ("x", "y") else "sure"), place)
                break
    return columns


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
    fitting += [c for c in (CONVENTIONS["mediapipe33"], CONVENTIONS["coco17"]) if set(c.joints) <= set(found)]
    if not fitting:
        raise UserError(
            f"{content.path} names {len(found)} joints ({', '.join(found)[:60]}); expected those of MediaPipe Pose, or "
            f"of another convention: {', '.join(CONVENTIONS)}"
        )
    content.joints = fitting[0].name
    return list(fitting[0].joints)


def _whole(content: Content, name: str, values: np.ndarray) -> np.ndarray:
    if not (np.abs(values) < MOST).all() or (values != np.floor(values)).any():
        raise UserError(f"{content.path}: the column {name!r} holds other than whole numbers")
    return values.astype(np.int64)


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


LANDMARKS = (
    Format("mediapipe", "MediaPipe landmarks as JSON", ("json", "folder"), _fits, _read),
    Format("landmark_table", "a table of landmarks", ("csv",), lambda _: True, _read_table),
)
