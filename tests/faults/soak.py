"""A long run on two ranks: memory, file descriptors, threads and files stay bounded."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

from tests.faults.runs import Run, last_step, start

SAMPLES = 20
STEPS = 3000  # for each of --count
FLAGS = "--epochs 4000 --eval_epochs 10 --save_steps 100 --log_steps 50 --checkpoint_frequency 10 --keep 2"


def sample(run: Run) -> dict[str, int]:
    """What the workers hold now, added up, and what the run folder holds."""
    workers = run.workers()
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    logs = [path for path in files if path.suffix in (".jsonl", ".txt") or "tfevents" in path.name]
    return {
        "memory_mb": sum(worker.memory_info().rss for worker in workers) >> 20,
        "descriptors": sum(worker.num_fds() for worker in workers),
        "threads": sum(worker.num_threads() for worker in workers),
        "files": len(files),
        "logs_kb": sum(path.stat().st_size for path in logs) >> 10,
    }


def check(root: Path, steps: int) -> str:
    """Run; print a table, and raise AssertionError where something grows."""
    rows: list[dict[str, int]] = []
    run = start("torchrun", root, root / "run", f"{FLAGS} --max_steps {steps}")
    for number in range(1, SAMPLES):
        while last_step(run.folder) < number * steps // SAMPLES:
            assert run.process.poll() is None, run.log.read_text()
            time.sleep(0.5)
        rows.append({"step": last_step(run.folder)} | sample(run))
        print(rows[-1], flush=True)
    assert run.end(600) == 0, run.log.read_text()
    early, late = rows[SAMPLES // 4], rows[-1]
    assert late["memory_mb"] <= 1.05 * early["memory_mb"]
    for count in ("descriptors", "threads", "files"):
        assert late[count] <= early[count] + 2, count
    assert late["logs_kb"] / late["step"] <= 1.1 * early["logs_kb"] / early["step"]  # at most a constant rate
    return f"only logs grow: {1000 * late['logs_kb'] / late['step']:.0f} kB in 1,000 steps"


def missing() -> str:
    """What this part needs and is not there."""
    return ""


def cases(root: Path, count: int, draw: Random) -> Iterator[tuple[str, Callable[[], str]]]:
    """(name, check) of one run; `count` is its length."""
    yield f"{count * STEPS} steps", partial(check, root, count * STEPS)
