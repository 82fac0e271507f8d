"""Long runs on tiny data under every launcher, to be disturbed; and what a disturbed run must leave."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psutil
import torch

from glagcn.signals import SIGNALS

REPOSITORY = Path(__file__).parents[2]
SCRIPT = str(REPOSITORY / "main_sagcn_gpus.py")
SMALL = shlex.split(
    "--dataset demo --channel 4 --frames 3 --sequence_layers 1 --batch_size 7 --subset 0.02 --test_frames 40 "
    "--validation_frames 200 --log_steps 4 --epochs 400 --workers 1"
)
ENVIRONMENT = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
ACCELERATE = f"accelerate launch --config_file {REPOSITORY}/launch/accelerate/cpu_debug.yaml --main_process_port 0"
LAUNCHERS = {
    "python": ["python", SCRIPT],
    "torchrun": ["torchrun", "--standalone", "--nproc_per_node=2", "--", SCRIPT],
    "torchrun restarts": ["torchrun", "--standalone", "--nproc_per_node=2", "--max-restarts=3", "--", SCRIPT],
    "accelerate": shlex.split(f"{ACCELERATE} {SCRIPT}"),
    "accelerate restarts": shlex.split(f"{ACCELERATE} --rdzv_backend c10d --max_restarts 3 {SCRIPT}"),
}


class Skipped(Exception):  # noqa: N818
    """What a part needs and is not there."""


@dataclass
class Run:
    """A started run: its launcher's process, its run folder, and the file that it prints to."""

    process: subprocess.Popen
    folder: Path
    log: Path
    known: list[psutil.Process] = field(default_factory=list)  # the workers, as `send` found them

    def workers(self) -> list[psutil.Process]:
        """The processes that train: the launcher itself where there is none."""
        me = psutil.Process(self.process.pid)
        return [child for child in me.children() if SCRIPT in " ".join(child.cmdline())] or [me]

    def reach(self, step: int, timeout: float = 120) -> None:
        """Wait until the log has a line of `step` or later."""

        def is_there() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return last_step(self.folder) >= step

        until(is_there, timeout, self.log.read_text)

    def end(self, timeout: float = 60) -> int:
        """Wait for the launcher and its workers to end; -> the exit code of the launcher."""
        code = self.process.wait(timeout)
        until(lambda: not any(map(_lives, self.known)), timeout, lambda: "a worker outlives its launcher")
        return code

    def finish(self, timeout: float = 180) -> None:
        """Wait for an end without an error."""
        assert self.end(timeout) == 0, self.log.read_text()


def start(launcher: str, root: Path, folder: Path, flags: str = "", **popen: Any) -> Run:
    """Start a training of the run folder `folder`, or let it go on.  popen: further arguments of Popen."""
    log = folder.with_suffix(".log")
    command = [*LAUNCHERS[launcher], *SMALL, "--root_path", str(root), "-c", str(folder.parent)]
    command += ["--run", folder.name, *flags.split()]
    with log.open("a") as file:
        popen = {"stdout": file, "stderr": file, "preexec_fn": take_signals} | popen
        process = subprocess.Popen(command, cwd=folder.parent, env=os.environ | ENVIRONMENT, **popen)
    return Run(process, folder, log)


def take_signals() -> None:
    """Let this process take the signals that nohup, or a shell in the background, ignores for its children."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def send(run: Run, kind: signal.Signals, target: str) -> None:
    """Send a signal to the "launcher", to "one" worker (the last rank's), or to "all" of the run."""
    run.known = run.known or run.workers()
    if target in ("launcher", "all"):
        run.process.send_signal(kind)
    for worker in {"launcher": [], "one": run.known[-1:], "all": run.known}[target]:
        if worker.pid != run.process.pid or target == "one":
            worker.send_signal(kind)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], bool], seconds: float, text: Callable[[], str] = str) -> None:
    """Wait for a condition; raises AssertionError with `text` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        with suppress(subprocess.CalledProcessError, OSError):
            if condition():
                return
        assert time.monotonic() < end, f"waited {seconds} s\n{text()}"
        time.sleep(0.1)


def last_step(folder: Path) -> int:
    """The newest step in the metrics of a run; 0 without any."""
    try:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return json.loads(lines[-1])["step"] if lines else 0
    except (OSError, ValueError):
        return 0


def undisturbed(launcher: str, root: Path, folder: Path, flags: str) -> Path:
    """The run folder of a run that nothing disturbs."""
    start(launcher, root, folder, flags).finish()
    return folder


def assert_same(folder: Path, reference: Path, name: str = "last.pt") -> None:
    """Assert that states of two run folders hold the same weights and optimiser, bit for bit."""
    contents = [torch.load(path / name, weights_only=True) for path in (folder, reference)]
    leaves = [torch.utils._pytree.tree_flatten([content["model"], content["optimizer"]]) for content in contents]
    (ours, our_form), (theirs, their_form) = leaves
    assert our_form == their_form
    for mine, its in zip(ours, theirs, strict=True):
        same = torch.equal(mine, its) if isinstance(mine, torch.Tensor) else mine == its
        assert same, "the weights differ from those of the undisturbed run"


def progress(folder: Path, name: str = "last.pt") -> dict:
    """That of a state, without times."""
    return torch.load(folder / name, weights_only=True)["progress"] | {"seconds": 0}


def records(folder: Path) -> list[dict]:
    """The lines of metrics.jsonl without times."""
    times = {"time", "seconds", "windows_per_second", "memory_gb"}
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name not in times} for line in lines]


def some(draw: Random, cases: list, count: int) -> list:
    """`count` of the cases in a random order, all of them before one comes again."""
    mixed = draw.sample(cases, len(cases))
    return [mixed[number % len(mixed)] for number in range(count)]
