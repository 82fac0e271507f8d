"""Reading JSON that nobody has checked: files, folders of them, and the numbers in them."""

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.conventions import Convention
from glagcn.data.sources.keypoints.detections import counts_of, with_confidence
from glagcn.errors import UserError

MOST_BYTES = 500_000_000
NUMBER = re.compile(r"\d+")


def read_text(path: Path) -> str:
    """The text of a file, without its byte order mark.  Raises UserError above 500 MB, and where it is no text."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UserError(
                f"{path} has {size / 1e6:.0f} MB; expected at most {MOST_BYTES / 1e6:.0f} MB. Write one file for each "
                "video or part of it, or save the poses as an .npz array [T,V,3]"
            )
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is no text ({error.reason} at byte {error.start}); expected JSON, CSV or labels"
        ) from None


def parse_json(path: Path, text: str) -> Any:
    """The value in a JSON text; of several one after the other (JSON lines), their list.

    NaN and Infinity are read as such.  Raises UserError where the text is empty, damaged or ends early.
    """
    if not text.strip():
        raise UserError(f"{path} is empty; expected keypoints as JSON")
    decoder, values, text, end = json.JSONDecoder(), [], text.strip(), 0
    try:
        while end < len(text):
            value, end = decoder.raw_decode(text, end)
            values.append(value)
            end += len(text[end : end + 80]) - len(text[end : end + 80].lstrip())
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is no JSON, is damaged or ends early: {error.msg} in line {error.lineno}, column {error.colno}; "
            "write it again"
        ) from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, nesting without end
        raise UserError(f"{path} is no JSON of keypoints: {error}") from None
    return values[0] if len(values) == 1 else values


def as_pose(path: Path, where: str, values: Any, convention: Convention | None) -> np.ndarray:
    """A pose [J,3] of a flat list x, y, c, x, y, c, ... or x, y, x, y, ..., or of one list for each joint."""
    numbers = as_numbers(path, where, values)
    if numbers.ndim == 1:
        counts = counts_of(convention)
        pairs = len(numbers) % 3 > 0 and len(numbers) % 2 == 0 and len(numbers) // 2 in (counts if convention else {17})
        channels = 2 if pairs else 3
        if len(numbers) % channels or not len(numbers):
            raise UserError(
                f"{path}: {where}: {len(numbers)} numbers for a pose; expected x, y, confidence of each joint"
            )
        numbers = numbers.reshape(-1, channels)
    if numbers.ndim != 2 or numbers.shape[1] not in (2, 3) or not len(numbers):
        raise UserError(
            f"{path}: {where}: a pose of shape {list(numbers.shape)}; expected x, y, confidence of each joint"
        )
    return with_confidence(numbers)


def as_numbers(path: Path, where: str, values: Any) -> np.ndarray:
    """A float64 array of nested lists of numbers, with null as NaN.  Raises UserError where it is something else."""
    try:
        array = np.array(values if isinstance(values, list) else [values])
        fits = isinstance(values, list) and array.dtype.kind in "fiubO"
        array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise UserError(f"{path}: {where} is {shown(values)}; expected numbers")
    return array


def as_number(path: Path, where: str, value: Any) -> float:
    """A finite number; of a list, its first.  Raises UserError where it is something else."""
    while isinstance(value, list) and value:
        value = value[0]
    known = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    if not known:
        raise UserError(f"{path}: {where} is {shown(value)}; expected a number")
    return float(value)


def as_whole(path: Path, where: str, value: Any) -> int:
    """A whole number below a billion either side of 0; also in text.  Raises UserError where it is something else."""
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value.strip()):
        return int(value)
    number = as_number(path, where, value)
    if number != int(number) or abs(number) >= 1e9:
        raise UserError(f"{path}: {where} is {shown(value)}; expected a whole number")
    return int(number)


def person_of(path: Path, where: str, row: dict[str, Any], *keys: str) -> int:
    """The id under the first of the keys that is there; -1 for none, null and negative ones."""
    for key in keys:
        value = row.get(key)
        while isinstance(value, list) and value:
            value = value[0]
        if value is not None and value != []:
            return max(-1, as_whole(path, f"{where}: {key}", value))
    return -1


def score_of(path: Path, where: str, row: dict[str, Any], *keys: str) -> float:
    """The number under the first of the keys that is there; NaN for none."""
    for key in keys:
        if row.get(key) is not None:
            return as_number(path, f"{where}: {key}", row[key])
    return math.nan


def frames_of_names(path: Path, names: Iterable[str], suffix: str = "") -> dict[str, int]:
    """The frame of each file or image name: its last number, before `suffix`.

    Raises UserError where a name has no number, or where the names differ beyond it: images of several sequences.
    """
    frames: dict[str, int] = {}
    first: tuple[str, str] | None = None
    for name in names:
        stem = re.sub(r"\.[A-Za-z]\w{0,4}$", "", name.rpartition("/")[2]).removesuffix(suffix)
        numbers = list(NUMBER.finditer(stem))
        if not numbers or len(numbers[-1][0]) > 18:
            raise UserError(f"{path}: {name[:80]!r} holds no frame number; expected names such as 000012.jpg")
        rest = stem[: numbers[-1].start()] + stem[numbers[-1].end() :]
        first = first or (rest, name)
        if rest != first[0]:
            raise UserError(
                f"{path}: {first[1][:80]!r} and {name[:80]!r} are of different sequences; expected the frames of one "
                "video, told apart by their last number"
            )
        frames[name] = int(numbers[-1][0])
    return frames


def shown(value: Any) -> str:
    """A value for messages, cut short."""
    if isinstance(value, dict):
        return f"an object with {', '.join(str(key)[:20] for key in list(value)[:5]) or 'nothing'}"
    text = repr(value[:3] if isinstance(value, list) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
