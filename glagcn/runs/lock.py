"""The lock of a run folder: one process at a time trains in it.

Two would write the same checkpoints and metrics, and delete each other's temporary files: a job that was queued again
while its first process is still alive, or a run that outlived its study.  The lock is the system's (flock), which
releases it however its process dies; what the file says and whether it is there mean nothing by themselves, so a folder
may be moved, copied or left behind by a killed process.
"""

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from glagcn.errors import UserError

PATIENCE_S = 120.0  # the process before may be dying, and NFS keeps the lock of a dead node for a minute and a half
LOOK_EVERY_S = 0.5
ELSEWHERE = "--run NAME for another folder"  # advice; a study puts other in its place
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class RunLock:
    """The lock of the folder at a path, to be held in a `with` block, from the first `take` to the block's end.

    say  speaks to the user.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._path, self._say = folder, folder / "lock", say
        self._file: BinaryIO | None = None
        self._warned = False

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError), self._file:
                if _is_at(self._file, self._path):
                    self._path.unlink()  # while it is held: who waits for it then looks for a new one
            self._file = None

    def take(self) -> None:
        """Hold the lock of the folder that is at the path now; where this process has moved the folder that it holds
        aside, that is another one, and the old lock is given back afterwards.

        Raises UserError where another process keeps it longer than PATIENCE_S, or the file cannot be written.
        """
        if self._file is None or not _is_at(self._file, self._path):
            before, self._file = self._file, self._wait()
            if before is not None:
                before.close()

    def _wait(self) -> BinaryIO:
        end = None
        while (file := self._try()) is None:
            if end is None:
                end = time.monotonic() + PATIENCE_S
                self._say(
                    f"Another process is at work in {self._folder} ({self._holder()}); "
                    f"waiting for its end, {PATIENCE_S:.0f} s at most"
                )
            elif time.monotonic() > end:
                raise UserError(
                    f"another process is at work in {self._folder} ({self._holder()}); "
                    f"wait for it or stop it, or give {ELSEWHERE}"
                )
            time.sleep(LOOK_EVERY_S)
        return file

    def _try(self) -> BinaryIO | None:
        """The locked file, or None where another process has locked it."""
        while True:
            try:
                file = self._path.open("a+b", buffering=0)
            except FileNotFoundError:
                return None  # who holds it is moving the folder aside
            except OSError as error:
                raise UserError(
                    f"cannot write {self._path} ({error.strerror or error}); give another parent with -c DIR"
                ) from None
            if not self._lock(file):
                file.close()
                return None
            if _is_at(file, self._path):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                return file
            file.close()  # its process ended, or moved the folder aside, just before

    def _lock(self, file: BinaryIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            if not self._warned:
                self._say(
                    f"WARNING: the file system of {self._folder} has no locks ({error.strerror}), so nothing keeps a "
                    "second process from training there: see to it that only one does"
                )
            self._warned = True
        return True

    def _holder(self) -> str:
        try:
            return self._path.read_text(errors="replace").strip()[:200] or "it does not say which"
        except OSError:
            return "it does not say which"


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False
