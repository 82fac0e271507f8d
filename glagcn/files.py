"""Files that appear whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from glagcn.errors import UserError


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> Path:
    """Calls `write` with a temporary file beside `path`, then renames it to `path`; returns the path.

    A reader, or a run that is killed at any moment, finds the old file or the new one, never a part.  The folder is
    made where it is missing.  Raises UserError where the system refuses (rights, a full disk); whatever `write` raises
    passes through.  In both cases `path` is untouched and the temporary file is gone.
    """

    def fill(temporary: Path) -> None:
        with temporary.open("wb") as file:
            write(file)

    return replace_atomically(path, fill)


def write_text(path: Path, text: str) -> None:
    """`write_atomically` of text in UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode()))


def replace_atomically(path: str | os.PathLike[str], fill: Callable[[Path], None]) -> Path:
    """write_atomically for writers that need a path: `fill` gets the temporary file's."""
    path = Path(path)
    # Two processes that write the same file must not share a temporary one, and on a folder that several machines or
    # containers share, a process id alone is not unique.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fill(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        _discard(temporary)
        reason = error.strerror or error
        raise UserError(
            f"cannot write {path}: {reason}; give a folder that you may write to, with space left"
        ) from error
    except BaseException:
        _discard(temporary)
        raise
    return path


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


def _discard(temporary: Path) -> None:
    # The error that led here says more than one about the temporary file would.
    with contextlib.suppress(OSError):
        temporary.unlink()
