"""A text file that grows by lines, and outlasts a full disk."""

import os
from collections.abc import Callable
from pathlib import Path

BAD_CHARACTERS = "backslashreplace"  # bytes of file names that are no text become escapes


class Journal:
    """Appends lines to a file.  Lines that cannot be written, as on a full disk, are written with later ones.

    warn  called once when writing begins to fail.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path, self._warn = path, warn
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._waiting = b""
        self._fails = False

    def add(self, text: str) -> None:
        """Append a line, or several."""
        self._waiting += f"{text}\n".encode(errors=BAD_CHARACTERS)
        self.flush()

    def flush(self) -> None:
        """Write the lines that wait."""
        try:
            while self._waiting:
                written = os.write(self._file, self._waiting)
                self._waiting = self._waiting[written:]
            self._fails = False
        except OSError as error:
            if not self._fails:
                self._fails = True
                self._warn(
                    f"WARNING: cannot write {self._path}: {error.strerror}; the run goes on, and its lines are written "
                    "as soon as that is possible"
                )

    def close(self) -> None:
        """End writing."""
        self.flush()
        os.close(self._file)
