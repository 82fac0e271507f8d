"""Runs that are killed or signalled, that lose their terminal or the space on their disk, or go on for long.

Every check returns what came of a run, in a line, and raises AssertionError where it is lost.
"""

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import torch

from glagcn.signals import EXIT_CODE, SIGNALS
from tests.faults.runs import LAUNCHERS, Skipped, assert_same, last_step, send, some, start, take_signals, undisturbed

STEPS = 120
FLAGS = f"--max_steps {STEPS} --save_steps 3"
PATIENCE_S = 30.0  # from a signal to the end


def go_on(launcher, root, folder, reference) -> int:
    """Give the command again until the run ends as `reference`, the folder of an undisturbed run; -> how often."""
    attempts = 0
    while not (folder / "result.json").exists():
        attempts += 1
        assert attempts <= 2, folder.with_suffix(".log").read_text()
        start(launcher, root, folder, FLAGS).finish()
    assert_same(folder, reference)
    return attempts


def step_of(path: Path) -> int:
    return torch.load(path / "last.pt", weights_only=True)["progress"]["step"]


# ---------------------------------------------------------------- kills


def check_kill(launcher, target, step, root, folder, reference) -> str:
    """Kill a part of a run after `step`."""
    run = start(launcher, root, folder, FLAGS)
    run.reach(step)
    send(run, signal.SIGKILL, target)
    if "restarts" in launcher and target == "one":
        run.finish()
        assert (folder / "result.json").exists(), "the launcher did not start the workers again"
    else:
        assert run.end(60) != 0  # launcher and workers end by themselves: none trains on alone
    attempts = go_on(launcher, root, folder, reference)
    assert not list(folder.glob(".*.tmp"))
    return f"after step {step}, went on {attempts} time(s), same weights"


def kills(root, count, draw):
    one, two = (undisturbed(each, root, root / f"whole_{each}", FLAGS) for each in ("python", "torchrun"))
    known = [(launcher, target) for launcher in LAUNCHERS for target in ("launcher", "one", "all")
             if launcher != "python" or target == "one"]  # fmt: skip
    for number, case in enumerate(some(draw, known, count)):
        where = root, root / f"run{number}", one if case[0] == "python" else two
        yield " ".join(case), partial(check_kill, *case, draw.randrange(4, STEPS - 20), *where)


# ---------------------------------------------------------------- signals


def check_stop(run, kind, target) -> tuple[int, int]:
    """A signal to any part of a run: it saves, says so, and leaves in time; -> its exit code and the saved step."""
    before = last_step(run.folder)
    send(run, kind, target)
    code, saved = run.end(PATIENCE_S), step_of(run.folder)
    assert json.loads((run.folder / "stopped.json").read_text())["step"] == saved >= before
    assert run.log.read_text().count(f"at step {saved} of ") == 1
    return code, saved


def check_signal(launcher, kind, target, root, folder) -> str:
    """The same command goes on after a signal."""
    run = start(launcher, root, folder)
    run.reach(8)
    began = time.monotonic()
    code, saved = check_stop(run, kind, target)
    seconds = time.monotonic() - began
    assert code == EXIT_CODE if launcher == "python" else code != 0
    run = start(launcher, root, folder, f"--max_steps {saved + 8}")
    run.finish()
    assert f"resumed at step {saved} of {saved + 8}" in run.log.read_text()
    assert not (folder / "stopped.json").exists()
    return f"step {saved}, exit {code}, {seconds:.1f} s"


def check_terminal(launcher, root, folder) -> str:
    """Close the terminal of a run: SIGHUP reaches all of it, and nothing can be printed."""
    ours, theirs = os.openpty()

    def take_terminal() -> None:
        take_signals()
        os.login_tty(theirs)

    def read_all() -> None:
        with suppress(OSError):  # closed
            while os.read(ours, 1024):
                pass

    run = start(launcher, root, folder, stdout=theirs, stderr=theirs, preexec_fn=take_terminal)
    os.close(theirs)
    threading.Thread(target=read_all, daemon=True).start()
    run.reach(8)
    run.known = run.workers()
    os.close(ours)
    code, saved = run.end(PATIENCE_S), step_of(folder)
    assert json.loads((folder / "stopped.json").read_text())["step"] == saved >= 8
    assert f"Stopped by SIGHUP at step {saved}" in (folder / "log.txt").read_text()
    return f"step {saved}, exit {code}"


def signals(root, count, draw):
    known = [(f"{launcher}, terminal closed", partial(check_terminal, launcher)) for launcher in LAUNCHERS]
    known += [(f"{launcher} {kind.name} {target}", partial(check_signal, launcher, kind, target))
              for launcher in LAUNCHERS for kind in SIGNALS for target in ("launcher", "one", "all")
              if launcher != "python" or target == "launcher"]  # fmt: skip
    for number, (name, check) in enumerate(some(draw, known, count)):
        yield name, partial(check, root, root / f"run{number}")


# ---------------------------------------------------------------- full disks


@contextmanager
def small_disk(folder: Path):
    """A file system of its own at `folder`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all space of a disk; -> the file to remove."""
    filling = disk / "filling"
    with suppress(OSError), filling.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 1024)
    return filling


def lines_of(folder: Path) -> list[tuple[str, int]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(line["kind"], line["step"]) for line in lines]


def check_disk(launcher, step, for_good, root, place, reference) -> str:
    """Fill the disk of a run after `step` until it says so, and a little longer: it goes on.

    For good: it stops with a message, and the same command goes on when there is space.
    """
    with small_disk(place) as disk:
        folder, log = disk / "run", place.with_suffix(".log")
        flags = f"{FLAGS} --save_attempts {2 if for_good else 100_000}"
        with log.open("wb") as file:
            run = start(launcher, root, folder, flags, stdout=file, stderr=file)
        run.reach(step)
        filling = fill(disk)
        if for_good:
            assert run.end(180) != 0, log.read_text()
            assert f"cannot write {folder}" in log.read_text()
            filling.unlink()
        else:
            deadline = time.monotonic() + 30
            while b"cannot write" not in log.read_bytes() and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.5)  # some attempts; of a fixed time, a fast run would see its end
            filling.unlink()
            assert run.end(180) == 0, log.read_text()
            assert lines_of(folder) == lines_of(reference), "lines of metrics.jsonl are lost"
        attempts = go_on(launcher, root, folder, reference)
    return f"full after step {step}, went on {attempts} time(s), same weights"


def disk(root, count, draw):
    """Every third disk stays full."""
    if os.geteuid():
        raise Skipped("not root, so no file system can be mounted")
    launcher = draw.choice(("python", "torchrun"))
    reference = undisturbed(launcher, root, root / "whole", FLAGS)
    for number in range(count):
        for_good = number % 3 == 2
        step = 8 if for_good else draw.randrange(4, STEPS - 40)
        yield launcher, partial(check_disk, launcher, step, for_good, root, root / f"disk{number}", reference)


# ---------------------------------------------------------------- long runs


SAMPLES = 20
LONG = "--epochs 4000 --eval_epochs 10 --save_steps 100 --log_steps 50 --checkpoint_frequency 10 --keep 2"


def check_long(root, steps) -> str:
    """A long run on two ranks: memory, file descriptors, threads and files stay bounded."""
    rows = []
    run = start("torchrun", root, root / "run", f"{LONG} --max_steps {steps}")
    for number in range(1, SAMPLES):
        run.reach(number * steps // SAMPLES, 3600)
        workers, files = run.workers(), [path for path in run.folder.rglob("*") if path.is_file()]
        logs = [path for path in files if path.suffix in (".jsonl", ".txt") or "tfevents" in path.name]
        rows.append({
            "step": last_step(run.folder), "memory_mb": sum(worker.memory_info().rss for worker in workers) >> 20,
            "descriptors": sum(worker.num_fds() for worker in workers), "files": len(files),
            "threads": sum(worker.num_threads() for worker in workers),
            "logs_kb": sum(path.stat().st_size for path in logs) >> 10,
        })  # fmt: skip
        print(rows[-1], flush=True)
    run.finish(600)
    early, late = rows[SAMPLES // 4], rows[-1]
    assert late["memory_mb"] <= 1.05 * early["memory_mb"]
    assert all(late[count] <= early[count] + 2 for count in ("descriptors", "threads", "files"))
    assert late["logs_kb"] / late["step"] <= 1.1 * early["logs_kb"] / early["step"]  # at most a constant rate
    return f"only logs grow: {1000 * late['logs_kb'] / late['step']:.0f} kB in 1,000 steps"


def soak(root, count, draw):
    yield f"{count * 3000} steps", partial(check_long, root, count * 3000)
