"""Signals to every part of a run: it saves, says so, and leaves within 30 seconds; the same command goes on."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

import torch

from glagcn.signals import EXIT_CODE, SIGNALS
from tests.faults.runs import LAUNCHERS, last_step, send, some, start, take_signals

TARGETS = {name: ("launcher",) if name == "python" else ("launcher", "one", "all") for name in LAUNCHERS}
PATIENCE_S = 30.0


def check(launcher: str, kind: signal.Signals, target: str, root: Path, folder: Path) -> str:
    """Signal a run of its own in `folder`; -> what came of it, in a line.  Raises AssertionError where it is lost."""
    run = start(launcher, root, folder)
    run.reach(8)
    began, before = time.monotonic(), last_step(folder)
    send(run, kind, target)
    code = run.end(PATIENCE_S)
    seconds = time.monotonic() - began
    saved = torch.load(folder / "last.pt", weights_only=True)["progress"]["step"]
    mark = json.loads((folder / "stopped.json").read_text())
    assert mark["step"] == saved >= before
    assert code == EXIT_CODE if launcher == "python" else code != 0
    printed = run.log.read_text()
    assert printed.count(f"at step {saved} of ") == 1, printed
    run = start(launcher, root, folder, f"--max_steps {saved + 8}")
    assert run.end(120) == 0, run.log.read_text()
    assert f"resumed at step {saved} of {saved + 8}" in run.log.read_text()
    assert not (folder / "stopped.json").exists()
    return f"step {saved}, exit {code}, {seconds:.1f} s"


def hang_up(launcher: str, root: Path, folder: Path) -> str:
    """Close the terminal of a run: SIGHUP reaches all of it, and nothing can be printed; -> what came of it."""
    ours, theirs = os.openpty()

    def take_terminal() -> None:
        take_signals()
        os.login_tty(theirs)

    run = start(launcher, root, folder, stdout=theirs, stderr=theirs, preexec_fn=take_terminal)
    os.close(theirs)
    printed = threading.Thread(target=_read_all, args=(ours,), daemon=True)
    printed.start()
    run.reach(8)
    run.known = run.workers()
    os.close(ours)
    code = run.end(PATIENCE_S)
    saved = torch.load(folder / "last.pt", weights_only=True)["progress"]["step"]
    assert json.loads((folder / "stopped.json").read_text())["step"] == saved >= 8
    assert f"Stopped by SIGHUP at step {saved}" in (folder / "log.txt").read_text()
    return f"step {saved}, exit {code}"


def _read_all(terminal: int) -> None:
    with suppress(OSError):  # closed
        while os.read(terminal, 1024):
            pass


def missing() -> str:
    """What this part needs and is not there."""
    return ""


def cases(root: Path, count: int, draw: Random) -> Iterator[tuple[str, Callable[[], str]]]:
    """(name, check) of `count` of all signals to all targets under all launchers."""
    known = [(f"{launcher}, terminal closed", partial(hang_up, launcher)) for launcher in LAUNCHERS]
    known += [(f"{launcher} {kind.name} {target}", partial(check, launcher, kind, target))
              for launcher, targets in TARGETS.items() for kind in SIGNALS for target in targets]  # fmt: skip
    for number, (name, attempt) in enumerate(some(draw, known, count)):
        yield name, partial(attempt, root, root / f"run{number}")
