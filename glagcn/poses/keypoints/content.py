"""What is at a path, read as far as it goes while its format is not known; and what a format is."""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.joints import CONVENTIONS
from glagcn.safe_pickle import ZIP_ERRORS

MOST_BYTES, MOST_UNPACKED = 500_000_000, 4_000_000_000
ZIP, NUMPY = b"PK\x03\x04", b"\x93NUMPY"
NUMBER, WHITESPACE = re.compile(r"\d+"), re.compile(r"\s*")
DECIMAL = re.compile(r"([^.]*)\.(\d+)")

# What programs call the number of a frame and the id of a person, in small letters without marks between the words.
FRAME = ("frame", "frameid", "frameindex", "frameidx", "framenumber", "imageid")
TIME = ("timestampms", "timestamp", "timestampus", "timestamps", "timems", "time", "times", "timesec", "seconds",
        "pts", "ptstime", "ts")  # fmt: skip
PERSON = ("person", "personid", "trackid", "idx", "instanceid")

Found = tuple[int | str, "np.ndarray | ValueError | None", int | None]
"""(frame, keypoints [J,3] of x, y and confidence, the id of the person or None).

None for keypoints says that there is such a frame, a ValueError that a person in it cannot be read, and why; then a
name may stand for the frame."""

NO_ID = -1


@dataclass(frozen=True)
class Whole:
    """All poses of a file at once: their frames [D] of `length`, keypoints [D,J,3], and persons [D] or NO_ID."""

    frames: "np.ndarray"
    keypoints: "np.ndarray"
    persons: "np.ndarray"
    length: int


@dataclass(eq=False)
class Content:
    """What was found at a path, and what it says about its poses.

    kind        "json", "folder" of JSON files, "labels", "csv", "npz" or "npy".
    value       the JSON value; {file name: JSON value}; {file name: text}; the text; of arrays the bytes of a .gz, else
                None: their formats read them.
    joints      the convention that the user states, else that the content says, where it says one.
    image_size  (width, height) in pixels, and
    fps         frames per second, where the content says them: set by the reader of a format.
    times       {frame: a number that grows with time}, where the content has them.
    counted     frames have no number but a time: they are counted.
    detected    by this program: the pictures were upright with square pixels, and the times are seconds.
    people      what recognising the format has found, for its reader.
    """

    path: Path
    kind: str
    value: Any
    joints: str | None = None
    image_size: tuple[int, int] | None = None
    fps: float | None = None
    times: "dict[int, float] | None" = None
    counted: bool = False
    detected: bool = False
    people: Any = None

    def open(self) -> IO[bytes]:
        """The file of arrays."""
        return self.path.open("rb") if self.value is None else io.BytesIO(self.value)

    def add_time(self, frame: Any, row: Any) -> None:
        """Take the time that a frame or one of its people states, where it does: the first counts."""
        if isinstance(frame, int) and (time := time_of(row)) is not None:
            self.times = self.times or {}
            self.times.setdefault(frame, time)

    def counts(self) -> set[int]:
        """The numbers of joints that a pose may have."""
        return {len(CONVENTIONS[name].joints) for name in ([self.joints] if self.joints else CONVENTIONS)}


@dataclass(frozen=True)
class Format:
    """A format of keypoint files.

    name   what --format calls it.
    title  for messages.
    kinds  the kinds of content that it comes in.
    fits   whether a content of these kinds is of this format; never raises.
    read   its poses, in any order, or all at once; raises UserError where the file is damaged as a whole.
    usual  of files that do not say their joints: they are in the usual order of detectors with so many joints.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    fits: Callable[[Content], bool]
    read: Callable[[Content], Iterator[Found] | Whole]
    usual: bool = True


# ---- files and folders


def load_content(path: Path, joints: str | None = None) -> Content:
    """What is at a path.  Raises UserError where that is nothing readable."""
    if path.is_dir():
        return _load_folder(path, joints)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    packed = _read(path, MOST_BYTES + 1) if path.suffix.lower() == ".gz" else None
    _check_size(path, len(packed or b""))
    suffix = Path(path.name if packed is None else path.stem).suffix.lower()
    begin = _read(path, 6) if packed is None else packed[:6]
    kind = "npy" if begin == NUMPY else "text"
    if begin.startswith(ZIP) or (packed is None and zipfile.is_zipfile(path)):
        kind = "npz"
    if (suffix in (".npy", ".npz") or kind != "text") and suffix != f".{kind}":
        holds = "text or nothing" if kind == "text" else f"what a .{kind} file does"
        raise UserError(
            f"{path} cannot be read: it ends in {suffix or 'nothing'!r} and holds {holds}; give it the name that fits, "
            "or write it again"
        )
    if kind == "npz" and packed is None:
        try:
            with zipfile.ZipFile(path) as archive:
                _check_size(path, sum(member.file_size for member in archive.infolist()), MOST_UNPACKED)
        except (*ZIP_ERRORS, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); expected arrays saved with numpy.savez") from None
    if kind != "text":
        return Content(path, kind, packed, joints)
    text = _read_text(path, packed)
    if suffix in (".csv", ".tsv"):
        return Content(path, "csv", text, joints)
    if suffix == ".txt" and text.lstrip()[:1] not in ("[", "{"):
        return Content(path, "labels", {path.name: text}, joints)
    return Content(path, "json", parse_json(path, text), joints)


def array_content(name: Path, values: Any, joints: str | None = None) -> Content:
    """An array in memory as the content of an .npy file.  Raises UserError if it is not an array of numbers."""
    buffer = io.BytesIO()
    np.save(buffer, as_array(values, str(name)))
    return Content(name, "npy", buffer.getvalue(), joints)


def _load_folder(path: Path, joints: str | None) -> Content:
    """All JSON files of a folder, or else all its labels."""
    try:
        inside = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        _check_size(path, sum(file.stat().st_size for file in inside if file.suffix.lower() in (".json", ".txt")))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if files := [file for file in inside if file.suffix.lower() == ".json"]:
        values: dict[str, Any] = {}
        for file in files:  # one that is damaged costs no other
            try:
                values[file.name] = parse_json(file, _read_text(file))
            except UserError as error:
                values[file.name] = error
        errors = [value for value in values.values() if isinstance(value, UserError)]
        if len(errors) == len(files):
            raise errors[0]
        return Content(path, "folder", values, joints)
    if files := [file for file in inside if file.suffix.lower() == ".txt"]:
        return Content(path, "labels", {file.name: _read_text(file) for file in files}, joints)
    raise UserError(f"{path} holds no pictures, no .json and no .txt file; expected a folder of one of these")


def _check_size(path: Path, size: int, most: int | None = None) -> None:
    most = most or MOST_BYTES
    if size > most:
        raise UserError(
            f"{path} holds more than {most / 1e6:g} MB, the most that is read; give one file or folder for each video "
            "or part of it, or the poses as an .npz array [T,V,3]"
        )


def _read(path: Path, count: int = -1) -> bytes:
    """The first bytes of a file, of a .gz those that are packed in it."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            return file.read(count)
    except ZIP_ERRORS as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _read_text(path: Path, content: bytes | None = None) -> str:
    """The text of a file, without its byte order mark."""
    _check_size(path, path.stat().st_size)
    content = _read(path) if content is None else content
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
        problem = "a zero byte" if "\0" in text[:1000] else None
    except UnicodeDecodeError as error:
        problem = f"{error.reason} at byte {error.start}"
    if problem:
        raise UserError(
            f"{path} is no text ({problem}); expected what a detector wrote, as JSON, CSV or labels (a video is given "
            "with --video beside it)"
        )
    return text


def parse_json(path: Path, text: str) -> Any:
    """The value in a JSON text; of several one after the other (JSON lines), their list.

    NaN and Infinity are read as such.  Raises UserError where the text is empty, damaged or ends early.
    """
    decoder, values, text, end = json.JSONDecoder(), [], text.strip(), 0
    if not text:
        raise UserError(f"{path} is empty; expected keypoints as JSON")
    try:
        while end < len(text):
            value, end = decoder.raw_decode(text, end)
            values.append(value)
            end = WHITESPACE.match(text, end).end()  # type: ignore[union-attr]
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is no JSON, is damaged or ends early: {error.msg} in line {error.lineno}, column {error.colno}; "
            "write it again"
        ) from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, nesting without end
        raise UserError(f"{path} is no JSON of keypoints: {error}") from None
    return values[0] if len(values) == 1 else values


# ---- values of JSON that nobody has checked: they raise ValueError for what is not expected


def as_array(values: Any, name: str) -> np.ndarray:
    """An array, a tensor or lists as an array of numbers.  Raises UserError, naming `name`, if that is not possible."""
    try:
        array = values.detach().float().cpu().numpy() if hasattr(values, "detach") else np.asanyarray(values)
    except ValueError as error:
        raise UserError(f"{name} is not an array: {error}") from None
    if array.dtype.kind not in "fiu":
        raise UserError(f"{name} has type {array.dtype}; must be an array of numbers")
    if isinstance(array, np.ma.MaskedArray):
        return np.ma.filled(array.astype(np.float64), np.nan)
    return np.asarray(array)


def as_numbers(name: str, values: Any) -> np.ndarray:
    """A float64 array of nested lists of numbers, with null as NaN."""
    if isinstance(values, list):
        try:
            array = np.array(values)
            if array.dtype.kind in "fiubOU":  # U: numbers as texts
                return array.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            pass
    raise ValueError(f"{name} is {shown(values)}; expected numbers")


def as_whole(name: str, value: Any) -> int:
    """A whole number of at most 18 digits; also in text, and the first of a list."""
    while isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value.strip()):
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18 and value == int(value):
        return int(value)
    raise ValueError(f"{name} is {shown(value)}; expected a whole number")


def entry(row: dict, keys: tuple[str, ...]) -> Any:
    """The value of the first of some keys that is there, however its words are parted; None for none."""
    named = {key.lower().replace("_", ""): key for key in row}
    return next((row[named[key]] for key in keys if key in named), None)


def person_of(row: dict) -> int | None:
    """The id of a person; None for none, null, empty lists and negative ones."""
    value = entry(row, PERSON)
    number = -1 if value is None or value == [] else as_whole("the id of a person", value)
    return number if number >= 0 else None


def time_of(row: Any) -> float | None:
    """The time that a frame or a person states, in any unit: a number, h:m:s or a date; None for none.

    NaN where it cannot be read.
    """
    value = entry(row, TIME) if isinstance(row, dict) else None
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    word = str(value).strip().removesuffix("s").strip()
    try:
        if re.fullmatch(r"(\d+:)?\d+:\d+([.,]\d+)?", word):
            return sum(float(part) * 60**place for place, part in enumerate(word.replace(",", ".").split(":")[::-1]))
        return datetime.fromisoformat(word).timestamp() if "-" in word[1:] and ":" in word else float(word)
    except (ValueError, OverflowError):
        return float("nan")


def frames_of_names(path: Path, names: Iterable[str]) -> dict[str, int]:
    """The frame of each file or image name: its last number, but for the "_keypoints" that OpenPose puts behind it.

    Of decimal numbers it is all digits, such as 1967 of 1.967.jpg: so many parts of a second.

    Raises UserError where a name has no number, where two have the same, or where the names differ beyond it: images
    of several sequences.  Another number that counts with it, as in IMG_0101_000001.json, is no difference.
    """
    frames: dict[str, int] = {}
    first: tuple[list[str], list[int], str] | None = None
    files = {name: re.sub(r"\.[A-Za-z]\w{0,4}$", "", name.rpartition("/")[2]) for name in names}
    stems = {name: stem.removesuffix("_keypoints") for name, stem in files.items()}
    parts = [found.groups() for stem in stems.values() if (found := DECIMAL.fullmatch(stem))]
    if len(parts) == len(stems) and len({len(part) for _, part in parts}) == 1 < len({whole for whole, _ in parts}):
        stems = {name: stem.replace(".", "") for name, stem in stems.items()}
    for name, stem in stems.items():
        numbers = NUMBER.findall(stem)
        if not numbers or len(numbers[-1]) > 18:
            raise UserError(f"{path}: {name[:80]!r} holds no frame number; expected names such as 000012.jpg")
        values = [int(number[-18:]) for number in numbers]
        first = first or (NUMBER.split(stem), values, name)
        steps = {value - before for value, before in zip(values[:-1], first[1], strict=False)} - {0}
        if NUMBER.split(stem) != first[0] or not steps <= {values[-1] - first[1][-1]}:
            raise UserError(
                f"{path}: {first[2][:80]!r} and {name[:80]!r} are of different sequences; expected the frames of one "
                "video, whose names differ in their last number"
            )
        frames[name] = values[-1]
    if len(set(frames.values())) < len(frames):
        raise UserError(f"{path}: two names have the same frame number; expected one file for each frame")
    return frames


def shown(value: Any) -> str:
    """A value for messages, cut short."""
    if isinstance(value, dict):
        return f"an object with {', '.join(str(key)[:20] for key in list(value)[:5]) or 'nothing'}"
    text = repr(value[:3] if isinstance(value, list) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
