"""The content of a keypoint file before its format is known, and what a format is."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glagcn.data.sources.keypoints.detections import LEAST_CONFIDENCE, Detections, Poses
from glagcn.data.sources.keypoints.json_file import MOST_BYTES, frames_of_names, parse_json, read_text
from glagcn.data.sources.safe_pickle import ZIP_ERRORS
from glagcn.errors import UserError

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
