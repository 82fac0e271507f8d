"""Requests to stop.  SIGTERM, SIGINT, SIGUSR1 or SIGHUP end a run after its step, with its state saved.

Standard library only: signals are caught before torch is imported.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: the same command goes on
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
# A launcher and SLURM may both pass a signal on: a second SIGINT that soon is no second request.
ECHO_SECONDS = 1.0
PR_SET_PDEATHSIG = 1  # of prctl


class Stopped(BaseException):
    """This process was asked to stop.  Not an Exception, as KeyboardInterrupt is none: nothing shall swallow it."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number).name
        super().__init__(f"stopped by {self.signal}")


class StopRequest:
    """Whether a signal has asked this process to stop, while `watch` is active.

    By default a signal raises Stopped where the main thread is.  Within `deferred` it only sets `number`, to be looked
    at between two steps; a second SIGINT, from an impatient person, ends the process at once even there.
    """

    def __init__(self) -> None:
        self.number = 0  # of the first signal; 0 without any
        self._first_at = 0.0
        self._deferred = False

    @contextmanager
    def watch(self) -> Iterator["StopRequest"]:
        """Catch the signals.  Those that are ignored, as SIGHUP is under nohup, stay ignored."""
        self.number = 0
        caught = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {}
        with suppress(ValueError):  # not the main thread, which alone may set handlers
            before = {number: signal.signal(number, self._receive) for number in caught}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A block in which work would be lost that is not saved yet."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.number:
            if number == signal.SIGINT and time.monotonic() - self._first_at > ECHO_SECONDS:
                _leave_at_once()
            return
        self.number, self._first_at = number, time.monotonic()
        if not self._deferred:
            raise Stopped(number)


REQUEST = StopRequest()


def _leave_at_once() -> NoReturn:
    os.write(sys.stderr.fileno(), b"interrupted twice: left without saving\n")
    os._exit(128 + signal.SIGINT)


def die_with_launcher() -> None:
    """Ask Linux for a SIGTERM when the launcher that started this process dies, for it would train on alone.

    Without a launcher nothing happens: a shell may end before what it started.
    """
    parent = os.getppid()
    if not sys.platform.startswith("linux") or not _is_launcher(parent):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before
        os.kill(os.getpid(), signal.SIGTERM)


def _is_launcher(process: int) -> bool:
    """Whether a process is torchrun or accelerate launch."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return True
    with suppress(OSError):
        return b"accelerate" in Path(f"/proc/{process}/cmdline").read_bytes()
    return False
