"""Signals to every part of a run: it saves, tells so, and leaves within 30 seconds; the same command goes on.

python -m tests.faults.signals        # every signal to every target under every launcher
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from glagcn.signals import EXIT_CODE
from tests.faults.runs import LAUNCHERS, last_step, send, start, take_signals
from tests.prepared import prepared

KINDS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
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
    return f"{launcher:19} {kind.name:8} {target:8} step {saved}, exit {code}, {seconds:.1f} s"


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
    return f"{launcher:19} terminal closed    step {saved}, exit {code}"


def _read_all(terminal: int) -> None:
    with suppress(OSError):  # closed
        while os.read(terminal, 1024):
            pass


def main() -> int:
    """Try all; -> the number of those that failed."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    attempts = {f"{launcher:19} terminal closed": partial(hang_up, launcher) for launcher in LAUNCHERS}
    attempts |= {
        f"{launcher:19} {kind.name:8} {target:8}": partial(check, launcher, kind, target)
        for launcher, targets in TARGETS.items() for kind in KINDS for target in targets
    }  # fmt: skip
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepared("demo", root)
        for number, (name, attempt) in enumerate(attempts.items()):
            try:
                print(attempt(root, root / f"run{number}"), flush=True)
            except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"{name} FAILED: {error}", flush=True)
    print(f"{failed} of {len(attempts)} failed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
