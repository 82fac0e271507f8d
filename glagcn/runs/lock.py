"""The lock of a run folder: only one process at a time trains in it.

Two processes would overwrite each other's checkpoints and metrics, for example a requeued job whose first process is
still alive.  The operating system releases the lock (flock) when its process dies.  The lock file is beside the folder,
because --fresh renames the folder.  The existence and content of the file do not mean that the lock is held.
"""

import contextlib
import errno
import logging
import os
import socket
from pathlib import Path

from filelock import FileLock, Timeout

from glagcn.errors import UserError

logger = logging.getLogger(__name__)

TIMEOUT_S = 120.0  # the earlier process may be exiting, and NFS keeps the lock of a dead node for 90 s
POLL_INTERVAL_S = 0.5
OTHER_FOLDER = "--run NAME for another folder"  # advice; a study replaces it by its own
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class RunLock:
    """The lock of a run folder, held from the first `take` to the end of the `with` block."""

    def __init__(self, folder: Path) -> None:
        self.path = folder.with_name(f".{folder.name}.lock")
        self._folder = folder
        self._lock = FileLock(self.path, thread_local=False, fallback_to_soft=False)
        self._taken = False

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *error: object) -> None:
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self.path.unlink()  # while the lock is held: a waiting process notices and makes a new file
        self._lock.release()
        self._taken = False

    def take(self) -> None:
        """Acquire the lock, unless this process already holds it.  The parent of the folder must exist.

        Raises UserError if another process holds it for longer than TIMEOUT_S, or if the lock file cannot be written.
        """
        if self._taken:
            return
        try:
            self._acquire()
            self.path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        except Timeout:
            raise UserError(
                f"another process is using {self._folder} ({self._holder()}); "
                f"wait for it or stop it, or give {OTHER_FOLDER}"
            ) from None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise UserError(
                    f"cannot write {self.path} ({error.strerror or error}); give another parent with -c DIR"
                ) from None
            logger.warning(
                f"the file system of {self._folder} has no locks ({error.strerror}); "
                "make sure that only one process trains in this folder"
            )
        self._taken = True

    def _acquire(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            logger.info(
                f"Another process is using {self._folder} ({self._holder()}); "
                f"waiting for it to end, at most {TIMEOUT_S:.0f} s"
            )
            self._lock.acquire(timeout=TIMEOUT_S, poll_interval=POLL_INTERVAL_S)

    def _holder(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").strip()[:200] or "unknown process"
        except OSError:
            return "unknown process"
