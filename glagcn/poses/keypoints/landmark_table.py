"""Tables (.csv) of landmarks, as programs write those of MediaPipe Pose: a row for each frame, or for each landmark.

Wide: columns such as `x0, y0, z0, v0`, `landmark_0_x` or `nose_x, nose_y, nose_visibility`, counted from 0 or 1, and
maybe `frame` and `person`; or no header and 33 times x, y, z, visibility.  Long: columns `frame`, `landmark` (or `id`,
`name`, `joint`), `x`, `y` and maybe `visibility` and `person`.  Numbers up to 4 are parts of the image, else pixels.
"""

import csv
import re

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.joints import CONVENTIONS, MEDIAPIPE33
from glagcn.poses.keypoints.content import Content, Format
from glagcn.poses.keypoints.tracks import MOST_FRAMES, NO_ID, Detections, to_pixels

FRAME = ("frame", "frame_id", "frame_index", "frame_idx", "frame_number", "image_id")
PERSON = ("person", "person_id", "track_id", "idx")
LANDMARK = ("landmark", "landmark_id", "landmark_index", "landmark_name", "id", "index", "joint", "keypoint", "name")
SURE = ("visibility", "vis", "v", "confidence", "conf", "score", "c", "presence")
AXES = ("x", "y", *SURE)
NUMBERED = re.compile(r"(?:landmark|lm|point|kp|keypoint|joint)?_?(\d{1,3})")
PIXELS = 4.0

Columns = dict[tuple[str, str], int]
"""{(joint, axis): column}, the axis x, y or sure."""


def _rows(content: Content) -> list[list[str]]:
    try:
        return [row for row in csv.reader(content.value.splitlines(), skipinitialspace=True) if any(row)]
    except csv.Error as error:
        raise UserError(f"{content.path} is no table of comma-separated values: {error}") from None


def _column(header: list[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _wide(header: list[str]) -> Columns:
    """The columns of a table with a row for each frame; empty for another."""
    columns: Columns = {}
    for place, name in enumerate(header):
        for joint, axis in ((name.rpartition("_")[0], name.rpartition("_")[2]), (name[1:].strip("_"), name[:1])):
            if axis in AXES and joint and axis != name:
                number = NUMBERED.fullmatch(joint)
                key = (str(int(number[1])) if number else joint, axis if axis in ("x", "y") else "sure")
                columns.setdefault(key, place)
                break
    return columns


def _joints(path: object, found: list[str], stated: str | None) -> tuple[list[str], str | None]:
    """The joints of a table in order, and their convention; by name, else by number from the smallest.

    Raises UserError where the numbers have gaps or the names are of no convention.
    """
    if all(joint.isdigit() for joint in found):
        numbers = sorted(map(int, found))
        if numbers[0] > 1 or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise UserError(f"{path} has landmarks {numbers[0]} to {numbers[-1]}; expected all from 0 or 1 on")
        return [str(number) for number in numbers], stated
    for convention in CONVENTIONS.values():
        if set(convention.joints) == set(found):
            return list(convention.joints), convention.name
    if set(MEDIAPIPE33) <= set(found):
        return list(MEDIAPIPE33), "mediapipe33"
    raise UserError(f"{path} names {len(found)} joints ({', '.join(found)[:60]}); expected those of MediaPipe Pose")


def _fits(content: Content) -> bool:
    return bool(_rows_or_none(content))


def _rows_or_none(content: Content) -> list[list[str]] | None:
    try:
        return _rows(content)
    except UserError:
        return None


def _read(content: Content) -> Detections:
    rows = _rows(content)
    header = [_plain(name) for name in rows[0]]
    table = rows[1:]
    if _is_number(header[-1]):  # no header
        table, header = rows, _usual_header(content, len(header))
    x, y, landmark = header.count("x"), header.count("y"), _column(header, LANDMARK)
    frames, persons, keypoints, joints = (
        _read_long(content, header, table) if x and y and landmark is not None else _read_wide(content, header, table)
    )
    poses = Content(content.path, "csv", None, joints).poses()
    scale = np.nanmax(np.abs(keypoints[..., :2]), initial=0) <= PIXELS
    if scale:
        keypoints = to_pixels(str(content.path), keypoints, content.size())
    for frame, person, pose in zip(frames, persons, keypoints, strict=True):
        poses.add(int(frame), pose, int(person))
    return content.detections(poses, length=int(max(frames)) + 1)


def _usual_header(content: Content, width: int) -> list[str]:
    """The columns of a table that has no header."""
    for axes in (("x", "y", "z", "v"), ("x", "y", "z")):
        columns = [f"{axis}{joint}" for joint in range(len(MEDIAPIPE33)) for axis in axes]
        if width in (len(columns), len(columns) + 1):
            return ["frame", *columns][-width:]
    raise UserError(f"{content.path} has {width} columns and no header; expected 33 times x, y, z, visibility")


def _read_wide(
    content: Content, header: list[str], rows: list[list[str]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str | None]:
    columns = _wide(header)
    found = list(dict.fromkeys(joint for joint, axis in columns if axis == "x" and (joint, "y") in columns))
    if not found or not rows:
        raise UserError(
            f"{content.path} has columns {', '.join(header)[:80]} and {len(rows)} rows; expected x and y of "
            "each landmark"
        )
    joints, convention = _joints(content.path, found, content.joints)
    numbers = _numbers(content, rows, len(header))
    keypoints = np.ones((len(rows), len(joints), 3))
    for place, joint in enumerate(joints):
        for channel, axis in enumerate(("x", "y", "sure")):
            if (joint, axis) in columns:
                keypoints[:, place, channel] = numbers[:, columns[joint, axis]]
    frames = _whole(content, header, numbers, FRAME, np.arange(len(rows)))
    return frames, _whole(content, header, numbers, PERSON, np.full(len(rows), NO_ID)), keypoints, convention


def _read_long(
    content: Content, header: list[str], rows: list[list[str]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str | None]:
    place = header.index(next(name for name in LANDMARK if name in header))
    names = [_plain(row[place]) if place < len(row) else "" for row in rows]
    if not rows or not all(names):
        raise UserError(f"{content.path} has {len(rows)} rows, some without a landmark; expected one in each row")
    joints, convention = _joints(content.path, list(dict.fromkeys(names)), content.joints)
    order = {joint: number for number, joint in enumerate(joints)}
    kept = [number for number, name in enumerate(names) if name in order]
    rows, names = [rows[number] for number in kept], [names[number] for number in kept]
    numbers = _numbers(content, [[*row[:place], "nan", *row[place + 1 :]] for row in rows], len(header))
    frames = _whole(content, header, numbers, FRAME, np.zeros(len(rows)))
    persons = _whole(content, header, numbers, PERSON, np.full(len(rows), NO_ID))
    whose, row_of = np.unique(np.stack([frames, persons], axis=1), axis=0, return_inverse=True)
    keypoints = np.full((len(whose), len(joints), 3), np.nan)
    sure = _column(header, SURE)
    which = (row_of.reshape(-1), [order[name] for name in names])
    if len(np.unique(np.stack(which), axis=1).T) < len(rows):
        raise UserError(
            f"{content.path} has a landmark twice in a frame; expected a column 'frame', and 'person' for several"
        )
    keypoints[which] = np.stack(
        [numbers[:, header.index("x")], numbers[:, header.index("y")],
         np.ones(len(rows)) if sure is None else numbers[:, sure]], axis=1,
    )  # fmt: skip
    return whose[:, 0], whose[:, 1], keypoints, convention


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
    content: Content, header: list[str], numbers: np.ndarray, names: tuple[str, ...], otherwise: np.ndarray
) -> np.ndarray:
    """The whole numbers of the first of some columns that is there; else `otherwise`."""
    place = _column(header, names)
    if place is None:
        return otherwise.astype(np.int64)
    values = numbers[:, place]
    if not (np.abs(values) < 10 * MOST_FRAMES).all() or (values != np.floor(values)).any():
        raise UserError(f"{content.path}: the column {header[place]!r} holds other than whole numbers")
    return values.astype(np.int64)


LANDMARK_TABLE = Format("landmark_table", "a table of landmarks", ("csv",), _fits, _read)
