"""Stop signals: on SIGTERM, SIGINT, SIGUSR1 or SIGHUP (on Windows SIGINT or SIGBREAK, the keys Ctrl-C and Ctrl-Break)
a run finishes its step, saves its state and exits.

Standard library only, so that signals are caught before torch is imported.
"""

import ctypes
import faulthandler
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: the same command resumes the run
NAMES = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP", "SIGBREAK")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))  # no system has all
# The launcher and SLURM may both forward the same signal: a second SIGINT within this time does not count.
ECHO_SECONDS = 1.0
PR_SET_PDEATHSIG = 1  # an option of prctl


class Stopped(BaseException):
    """This process received a stop signal.  A BaseException, like KeyboardInterrupt: `except Exception` must not
    catch it.

    agreed  whether all ranks stop at the same point.
    """

    def __init__(self, number: int, *, agreed: bool = False) -> None:
        self.agreed = agreed
        self.signal = signal.Signals(number).name
        super().__init__(f"stopped by {self.signal}")


_number = 0  # of the first stop signal
_first_at = 0.0
_is_deferred = False


def requested() -> int:
    """The number of the first stop signal since `watch` began; 0: none yet."""
    return _number


@contextmanager
def watch() -> Iterator[None]:
    """Catch the stop signals: they raise Stopped in the main thread, or within `deferred` are only recorded.

    A second SIGINT exits at once, without saving.  A signal that is ignored, such as SIGHUP under nohup, stays ignored.
    """
    global _number
    _number = 0
    caught = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {}
    with suppress(ValueError):  # only the main thread may set handlers
        before = {number: signal.signal(number, _receive) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """A block with unsaved work, in which signals do not raise: the training loop asks `requested` between steps."""
    global _is_deferred
    _is_deferred = True
    try:
        yield
    finally:
        _is_deferred = False


def _receive(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    global _number, _first_at
    if _number:
        if number == signal.SIGINT and time.monotonic() - _first_at > ECHO_SECONDS:
            os.write(sys.stderr.fileno(), b"interrupted twice: left without saving\n")
            os._exit(128 + signal.SIGINT)
        return
    _number, _first_at = number, time.monotonic()
    if not _is_deferred:
        raise Stopped(number)


def print_stacks_on_signal() -> None:
    """On SIGUSR2, print to stderr where every thread of this process is, and go on: to see why a run hangs.

    Windows has no such signal.
    """
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR2, file=2, all_threads=True)


def is_launched() -> bool:
    """Whether torchrun or accelerate launch started this process."""
    return bool({"TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION"} & os.environ.keys())


def die_with_launcher() -> None:
    """Ask Linux to send SIGTERM when the launcher of this process dies; otherwise the process would keep training.

    Does nothing without a launcher: a shell may exit before the processes that it started.
    """
    parent = os.getppid()
    if not sys.platform.startswith("linux") or not is_launched():
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # the launcher died before the prctl call
        os.kill(os.getpid(), signal.SIGTERM)


def keep_launcher_from_restarting() -> None:
    """Stop a launcher that has restarts left (--max-restarts): it would start stopped processes again.

    Only for an agreed stop: to restart, a launcher sends SIGTERM to the ranks that outlive a killed one.
    """
    left = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) - int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    if left > 0 and os.environ.get("LOCAL_RANK", "0") == "0":
        os.kill(os.getppid(), signal.SIGTERM)
