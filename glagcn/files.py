"""Write files atomically, and read JSON."""

import contextlib
import glob
import io
import json
import os
import secrets
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from glagcn.errors import UserError

WRITE_ADVICE = "give a writable folder with enough space"
LEFTOVER_S = 3600


class WriteError(UserError):
    """The operating system failed to write a file; a later attempt may succeed."""


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> Path:
    """Call `write` with a temporary file in the folder of `path`, then rename it to `path`.

    Readers see the old or the new file, never a part of it, even if the process is killed.  The folder is created if
    missing.  Returns the path.  Raises WriteError if the operating system fails (permissions, a full disk); errors of
    `write` pass through.  On an error, `path` is unchanged and the temporary file is removed.
    """
    path = Path(path)
    with replacement(path) as temporary, write_errors(path), temporary.open("wb") as file:
        write(file)
    return path


def write_arrays(path: Path, arrays: dict[str, Any], compress: bool = False) -> Path:
    """`write_atomically` for arrays by their names, as an .npz.

    The file is made in memory first: on a full disk an archive that is not closed would print a traceback.
    """
    import numpy as np  # commands that write none do without

    content = io.BytesIO()
    # Poses are 0.5 % smaller at the usual level, in half as much time again.
    form = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(content, "w", form, compresslevel=1) as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    return write_atomically(path, lambda file: file.write(content.getbuffer()))


def write_text(path: Path, text: str) -> Path:
    """`write_atomically` for text, as UTF-8; bytes of file names that are no text become escapes."""
    return write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")))


@contextlib.contextmanager
def replacement(path: Path, advice: str = WRITE_ADVICE) -> Iterator[Path]:
    """`write_atomically` for writers that need a path: yields a temporary path that replaces `path` after the block.

    An OSError in the block passes through, unless the block is also in `write_errors`.
    """
    # Processes that write the same file must not share a temporary file.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with write_errors(path, advice):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with write_errors(path, advice):
            _flush(temporary, os.O_RDWR)  # Windows flushes only what may be written
            _replace(temporary, path)
        with contextlib.suppress(OSError):  # some file systems cannot flush a folder; the file itself is written
            _flush(path.parent, os.O_RDONLY)
    finally:
        with contextlib.suppress(OSError):  # do not hide the error that led here
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of `replacement` of `path`: temporary files unchanged for an hour."""
    for file in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):  # another process may remove it too
            if time.time() - file.stat().st_mtime > LEFTOVER_S:
                file.unlink()


@contextlib.contextmanager
def write_errors(path: Path, advice: str = WRITE_ADVICE) -> Iterator[None]:
    """Turn an OSError in the block into a WriteError that names `path` and ends with `advice`."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}; {advice}") from error


def read_json(path: Path) -> Any:
    """The content of a JSON file, without a byte order mark.  Raises UserError if it cannot be read or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error})") from None


def make_folder(path: Path, name: str, advice: str = "give a writable folder") -> None:
    """Create the folder `path`, so that a command fails at its start if it cannot write results.

    name  its flag or description, for the message.
    Raises UserError if the folder cannot be created or is not writable.
    """
    reason = "permission denied"
    try:
        path.mkdir(parents=True, exist_ok=True)
        if os.access(path, os.W_OK | os.X_OK):
            return
    except OSError as error:
        reason = error.strerror or str(error)
    raise UserError(f"{name} {path} is not writable ({reason}); {advice}")


def _replace(temporary: Path, path: Path) -> None:
    """Rename a file to `path`.  On Windows, try again while another program, such as a virus scanner, has it open."""
    for seconds in (0.05, 0.2, 0.8) if sys.platform == "win32" else ():
        with contextlib.suppress(PermissionError):
            temporary.replace(path)
            return
        time.sleep(seconds)
    temporary.replace(path)


def _flush(path: Path, flags: int) -> None:
    """Wait until a file, or the names in a folder, are written to disk; `flags` open it."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
