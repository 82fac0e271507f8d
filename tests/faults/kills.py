"""Processes that are killed or frozen at random moments: the same command goes on, and ends as an undisturbed run.

python -m tests.faults.kills --count 50 [--seed 0]
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from tests.faults.runs import LAUNCHERS, Run, send, start
from tests.prepared import prepared

STEPS = 120
FLAGS = f"--max_steps {STEPS} --save_steps 3"
KINDS = {
    "kill": (signal.SIGKILL, ("launcher", "one", "all")),
    "freeze": (signal.SIGSTOP, ("one", "all")),  # for two seconds
}


def undisturbed(launcher: str, root: Path, folder: Path, flags: str = FLAGS) -> Path:
    """The run folder of a run that nothing disturbs."""
    run = start(launcher, root, folder, flags)
    assert run.end(180) == 0, run.log.read_text()
    return folder


def check(launcher: str, kind: str, target: str, step: int, root: Path, folder: Path, reference: Path) -> str:
    """Disturb a run after `step`; -> what came of it, in a line.  Raises AssertionError where it does not end as
    `reference`, a run folder of the same launcher."""
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
        _wait_for_all(run)
    attempts = 0
    while not (folder / "result.json").exists():
        attempts += 1
        assert attempts <= 2, run.log.read_text()
        run = start(launcher, root, folder, FLAGS)
        assert run.end(180) == 0, run.log.read_text()
    assert same(folder / "last.pt", reference / "last.pt"), "the weights differ from those of the undisturbed run"
    assert not list(folder.glob(".*.tmp"))
    return f"{launcher:19} {kind:7} {target:8} after step {step}: went on {attempts} time(s), same weights"


def _wait_for_all(run: Run) -> None:
    """The launcher and its workers end by themselves: none trains on alone."""
    code = run.end(60)
    assert code != 0


def same(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same weights and optimiser, bit for bit."""
    flat = []
    for path in (one, other):
        content = torch.load(path, weights_only=True)
        flat.append(torch.utils._pytree.tree_leaves([content["model"], content["optimizer"]]))
    return len(flat[0]) == len(flat[1]) and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(*flat, strict=True)
    )


def main() -> int:
    """Disturb `--count` runs; -> the number of those that were lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, failed = random.Random(options.seed), 0
    cases = [(launcher, kind, target) for launcher in LAUNCHERS
             for kind, (_, targets) in KINDS.items() for target in targets if launcher != "python" or target == "one"
             ]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        prepared("demo", root)
        one, two = (undisturbed(each, root, root / f"whole_{each}") for each in ("python", "torchrun"))
        references = dict.fromkeys(LAUNCHERS, two) | {"python": one}
        for number in range(options.count):
            launcher, kind, target = cases[number % len(cases)]
            step = draw.randrange(4, STEPS - 20)
            try:
                line = check(launcher, kind, target, step, root, root / f"run{number}", references[launcher])
            except AssertionError as error:
                failed += 1
                line = f"{launcher:19} {kind:7} {target:8} after step {step}: LOST: {error}"
            print(line, flush=True)
    print(f"{failed} of {options.count} lost")
    return failed


if __name__ == "__main__":
    sys.exit(main())
