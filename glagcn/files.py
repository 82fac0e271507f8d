"""Files that appear whole or not at all."""

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from glagcn.errors import UserError

ROOM = "give a folder that you may write to, with space left"


class WriteError(UserError):
    """The system did not let a file be written; a later attempt may succeed."""


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> Path:
    """Calls `write` with a temporary file beside `path`, then renames it to `path`; returns the path.

    A reader, or a run that is killed at any moment, finds the old file or the new one, never a part.  The folder is
    made where it is missing.  Raises WriteError where the system refuses (rights, a full disk); whatever `write` raises
    passes through.  In both cases `path` is untouched and the temporary file is gone.
    """
    path = Path(path)
    with replacement(path) as temporary, refusals(path), temporary.open("wb") as file:
        write(file)
    return path


def write_text(path: Path, text: str) -> None:
    """`write_atomically` of text in UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode()))


@contextlib.contextmanager
def replacement(path: Path, advice: str = ROOM) -> Iterator[Path]:
    """`write_atomically` for what is written by name: the path of a temporary file that replaces `path` when the block
    ends.  An OSError in the block passes through, unless it is in `refusals` too."""
    # Two processes that write the same file must not share a temporary one, and on a folder that several machines or
    # containers share, a process id alone is not unique.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with refusals(path, advice):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with refusals(path, advice):
            _flush(temporary)
            temporary.replace(path)
        with contextlib.suppress(OSError):  # some file systems cannot flush a folder, and the file is there
            _flush(path.parent)
    finally:
        with contextlib.suppress(OSError):  # the error that led here says more than one about the temporary file would
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def refusals(path: Path, advice: str = ROOM) -> Iterator[None]:
    """Turn a refusal of the system to write `path` into a WriteError that ends in what to do."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}; {advice}") from error


def read_json(path: Path) -> Any:
    """The content of a JSON file.  Raises UserError where it cannot be read or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error})") from None


def make_folder(path: Path, flag: str) -> None:
    """Make the folder that `flag` names, so that a run learns at its start whether results can be written to it.

    flag  what stands before the path in the message.
    Raises UserError where the system refuses.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        allowed = os.access(path, os.W_OK | os.X_OK)
        reason = "no right to write"
    except OSError as error:
        allowed, reason = False, error.strerror or str(error)
    if not allowed:
        raise UserError(f"{flag} {path} cannot be written to ({reason}); give a folder that you may write to")


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
