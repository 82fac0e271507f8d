"""The lock of a run folder: one process at a time trains in it.

Two would write the same checkpoints and metrics, and delete each other's temporary files: a job that was queued again
while its first process is still alive, or a run that outlived its study.  The lock is the system's (flock), which
releases it however its process dies.  Its file lies beside the folder, so that a run that starts over may move the
folder aside; what the file says and whether it is there mean nothing by themselves.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

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
        self.path = folder.with_name(f".{folder.name}.lock")
        self._folder, self._say = folder, say
        self._lock = FileLock(self.path, thread_local=False, fallback_to_soft=False)
        self._taken = False

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *error: object) -> None:
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self.path.unlink()  # while it is held: who waits notices, and makes a new one
        self._lock.release()
        self._taken = False

    def take(self) -> None:
        """Hold the lock, if this process does not yet; the parent of the folder must be there.

        Raises UserError where another process keeps it longer than PATIENCE_S, or the file cannot be written.
        """
        if self._taken:
            return
        try:
            self._acquire()
            self.path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        except Timeout:
            raise UserError(
                f"another process is at work in {self._folder} ({self._holder()}); "
                f"wait for it or stop it, or give {ELSEWHERE}"
            ) from None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise UserError(
                    f"cannot write {self.path} ({error.strerror or error}); give another parent with -c DIR"
                ) from None
            self._say(
                f"WARNING: the file system of {self._folder} has no locks ({error.strerror}), so nothing keeps a "
                "second process from training there: see to it that only one does"
            )
        self._taken = True

    def _acquire(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            self._say(
                f"Another process is at work in {self._folder} ({self._holder()}); "
                f"waiting for its end, {PATIENCE_S:.0f} s at most"
            )
            self._lock.acquire(timeout=PATIENCE_S, poll_interval=LOOK_EVERY_S)

    def _holder(self) -> str:
        try:
            return self.path.read_text(errors="replace").strip()[:200] or "it does not say which"
        except OSError:
            return "it does not say which"
