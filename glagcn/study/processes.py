"""Runs the processes of a study, several in parallel, each on its device, until all have ended or a signal arrives."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from glagcn.distributed import launcher
from glagcn.errors import UserError
from glagcn.study.jobs import Job

TRAINER = (sys.executable, "-c", "import sys; from glagcn.cli import train_main; sys.exit(train_main())")
POLL_INTERVAL_S = 0.1
TERMINATE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Process:
    """A running job; `begin` is the offset of its output in its log, which earlier calls may have written to."""

    job: Job
    device: str | None
    popen: subprocess.Popen
    begin: int

    def error_message(self) -> str:
        """The error message of a failed run, or the last line of its output."""
        with self.job.log.open("rb") as file:
            file.seek(self.begin)
            lines = file.read().decode(errors="replace").strip().splitlines() or ["no output"]
        message = next((number for number, line in enumerate(lines) if line.startswith("error: ")), len(lines) - 1)
        return "\n".join(lines[message:]).removeprefix("error: ")


@dataclass
class Stop:
    """Set by the first SIGINT or SIGTERM."""

    signal: int | None = None


def run_jobs(jobs: list[Job], devices: list[str | None], ended: Callable[[Job, str | None], None]) -> int | None:
    """Run jobs in order, one per device at a time.  Returns the signal that stopped them, or None.

    devices  CUDA_VISIBLE_DEVICES of each parallel process; None leaves it unchanged.
    ended    called for every job that has ended, with its error message or None.
    All processes have ended when it returns or raises.  Raises UserError if a log cannot be written.
    """
    waiting, free = list(jobs), list(devices)
    running: list[Process] = []
    with _stop_on_signals() as stop:
        try:
            while (waiting or running) and stop.signal is None:
                while waiting and free:
                    running.append(_start(waiting.pop(0), free.pop(0)))
                for process in [process for process in running if process.popen.poll() is not None]:
                    running.remove(process)
                    free.append(process.device)
                    ended(process.job, process.error_message() if process.popen.returncode else None)
                time.sleep(POLL_INTERVAL_S)
        finally:
            _end(running)
    return stop.signal


def _start(job: Job, device: str | None) -> Process:
    environment = {name: value for name, value in os.environ.items() if name not in launcher.VARIABLES}
    environment["WORLD_SIZE"] = "1"  # a job is one process, whatever started the study
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    with _append(job.log) as file:
        begin = file.tell()
        popen = subprocess.Popen(
            [*TRAINER, *job.arguments], stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment
        )
    return Process(job, device, popen, begin)


def _append(path: Path) -> BinaryIO:
    try:
        return path.open("ab")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; give another folder with --out DIR") from None


def _end(processes: list[Process]) -> None:
    for process in processes:
        process.popen.terminate()
    for process in processes:
        try:
            process.popen.wait(TERMINATE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.popen.kill()
            process.popen.wait()


@contextmanager
def _stop_on_signals() -> Iterator[Stop]:
    """Record SIGINT and SIGTERM instead of exiting."""
    stop = Stop()

    def note(number: int, _: object) -> None:
        stop.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
