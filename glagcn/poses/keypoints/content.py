"""Reading JSON that nobody has checked: files, folders of them, and the numbers in them."""

import json
import math
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.gaps import LEAST_CONFIDENCE, with_confidence
from glagcn.poses.joints import Convention
from glagcn.poses.keypoints.tracks import Detections, Poses, counts_of
from glagcn.safe_pickle import ZIP_ERRORS

# ---- The content of a keypoint file before its format is known, and what a format is.


MOST_UNPACKED = 4_000_000_000
ZIP, NUMPY = b"PK\x03\x04", b"\x93NUMPY"


@dataclass(frozen=True)
class Content:
    """What was found at a path.

    kind   "json", "folder" of JSON files, "labels", "csv", "npz" or "npy".
    value  the JSON value; {file name: JSON value}; {file name: text}; the text; None for arrays, which formats read.
    joints, image_size, least_confidence  what the caller says, for the reader, and
    other_size  the image size where neither the caller nor the file says it.
    """

    path: Path
    kind: str
    value: Any
    joints: str | None = None
    image_size: tuple[int, int] | None = None
    least_confidence: float = LEAST_CONFIDENCE
    other_size: tuple[int, int] | None = None

    def size(self, found: tuple[int, int] | None = None) -> tuple[int, int] | None:
        """The image size that holds, of those of the caller and the one that was found in the file."""
        return self.image_size or found or self.other_size

    def poses(self) -> Poses:
        """An empty collection for the poses of this content."""
        return Poses(self.path, self.joints)

    def detections(
        self,
        poses: Poses,
        usual: bool = True,
        image_size: tuple[int, int] | None = None,
        fps: float | None = None,
        length: int | None = None,
    ) -> Detections:
        """The poses that were collected, with the image size, rate and length that the file says."""
        return poses.detections(usual, self.size(image_size), fps, length, self.least_confidence)

    def frames(self, suffix: str = "") -> list[tuple[int, Any]]:
        """(frame, JSON value) of what holds one value a frame: a list, or names of files or images with a number.

        suffix  what follows the number in file names.
        """
        if isinstance(self.value, dict):
            numbers = frames_of_names(self.path, self.value, suffix)
            if len(set(numbers.values())) < len(numbers):
                raise UserError(f"{self.path}: two names have the same frame number; expected one file for each frame")
            return sorted(((numbers[name], value) for name, value in self.value.items()), key=lambda pair: pair[0])
        return list(enumerate(self.value))


@dataclass(frozen=True)
class Format:
    """A format of keypoint files.

    name   what --format calls it.
    title  for messages.
    kinds  the kinds of content that it comes in.
    fits   whether a content of these kinds is of this format; never raises.
    read   its poses; raises UserError where the file is damaged.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    fits: Callable[[Content], bool]
    read: Callable[[Content], Detections]


def load_content(path: Path) -> Content:
    """What is at a path, read as far as it says what it is.  Raises UserError where that is nothing readable."""
    if path.is_dir():
        return _load_folder(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            begin = file.read(6)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    kind = "npz" if begin.startswith(ZIP) or zipfile.is_zipfile(path) else "npy" if begin == NUMPY else "text"
    if (suffix in (".npy", ".npz") or kind != "text") and suffix != f".{kind}":
        raise UserError(
            f"{path} cannot be read: it ends in {suffix or 'nothing'!r} and holds {_called(kind)}; give it the name "
            "that fits, or write it again"
        )
    if kind == "npz":
        _check_unpacked(path)
    if kind != "text":
        return Content(path, kind, None)
    text = read_text(path)
    if suffix == ".csv":
        return Content(path, "csv", text)
    if suffix == ".txt":
        return Content(path, "labels", {path.name: text})
    return Content(path, "json", parse_json(path, text))


def _check_unpacked(path: Path) -> None:
    """Raise UserError for an archive that would unpack to more than memory should hold."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (*ZIP_ERRORS, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); expected arrays saved with numpy.savez") from None
    if size > MOST_UNPACKED:
        raise UserError(
            f"{path} unpacks to {size / 1e9:.1f} GB; expected at most {MOST_UNPACKED / 1e9:.0f} GB. Write one file for "
            "each video or part of it"
        )


def _called(kind: str) -> str:
    return "text or nothing" if kind == "text" else f"what a .{kind} file does"


def _load_folder(path: Path) -> Content:
    """All JSON files of a folder, or else all its labels."""
    try:
        inside = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        total = sum(file.stat().st_size for file in inside if file.suffix.lower() in (".json", ".txt"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if total > MOST_BYTES:
        raise UserError(
            f"{path} holds {total / 1e6:.0f} MB; expected at most {MOST_BYTES / 1e6:.0f} MB. Use one folder for each "
            "video or part of it"
        )
    for suffix, kind in ((".json", "folder"), (".txt", "labels")):
        files = [file for file in inside if file.suffix.lower() == suffix]
        if files:
            texts = {file.name: (file, read_text(file)) for file in files}
            if kind == "labels":
                return Content(path, kind, {name: text for name, (_, text) in texts.items()})
            return Content(path, kind, {name: parse_json(file, text) for name, (file, text) in texts.items()})
    raise UserError(f"{path} holds no .json and no .txt file; expected the folder that a detector wrote")


# ---- Reading JSON that nobody has checked: files, folders of them, and the numbers in them.


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
