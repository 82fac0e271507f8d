"""Processes that are killed or frozen at random moments: the same command goes on, and ends as an undisturbed run."""

import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

from tests.faults.runs import LAUNCHERS, assert_same, send, some, start, undisturbed

STEPS = 120
FLAGS = f"--max_steps {STEPS} --save_steps 3"
KINDS = {
    "kill": (signal.SIGKILL, ("launcher", "one", "all")),
    "freeze": (signal.SIGSTOP, ("one", "all")),  # for two seconds
}


def check(launcher: str, kind: str, target: str, step: int, root: Path, folder: Path, reference: Path) -> str:
    """Disturb a run after `step`; -> what came of it.  Raises AssertionError where it does not end as `reference`, the
    run folder of an undisturbed run of the same launcher."""
    run = start(launcher, root, folder, FLAGS)
    run.reach(step)
    number, _ = KINDS[kind]
    send(run, number, target)
    if kind == "freeze":
        time.sleep(2)
        send(run, signal.SIGCONT, target)
        assert run.end(120) == 0, run.log.read_text()
    elif "restarts" in launcher and target == "one":
        assert run.end(180) == 0, run.log.read_text()
        assert (folder / "result.json").exists(), "the launcher did not start the workers again"
    else:
        assert run.end(60) != 0  # launcher and workers end by themselves: none trains on alone
    attempts = 0
    while not (folder / "result.json").exists():
        attempts += 1
        assert attempts <= 2, run.log.read_text()
        run = start(launcher, root, folder, FLAGS)
        assert run.end(180) == 0, run.log.read_text()
    assert_same(folder, reference)
    assert not list(folder.glob(".*.tmp"))
    return f"after step {step}, went on {attempts} time(s), same weights"


def missing() -> str:
    """What this part needs and is not there."""
    return ""


def cases(root: Path, count: int, draw: Random) -> Iterator[tuple[str, Callable[[], str]]]:
    """(name, check) of `count` disturbed runs."""
    one, two = (undisturbed(each, root, root / f"whole_{each}", FLAGS) for each in ("python", "torchrun"))
    known = [(launcher, kind, target) for launcher in LAUNCHERS for kind, (_, targets) in KINDS.items()
             for target in targets if launcher != "python" or target == "one"]  # fmt: skip
    for number, case in enumerate(some(draw, known, count)):
        step = draw.randrange(4, STEPS - 20)
        reference = one if case[0] == "python" else two
        yield " ".join(case), partial(check, *case, step, root, root / f"run{number}", reference)
