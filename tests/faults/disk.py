"""A disk that is full for a while: the run goes on, and ends as an undisturbed one; or it stops, and is resumed."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random

from tests.faults.kills import FLAGS, STEPS
from tests.faults.runs import assert_same, start, undisturbed

FULL_S = 3.0


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
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


def check(launcher: str, step: int, root: Path, place: Path, reference: Path) -> str:
    """Fill the disk after `step` for some seconds; -> what came of it.  Raises AssertionError where the run is lost."""
    with small_disk(place) as disk:
        folder = disk / "run"
        run = start(launcher, root, folder, f"{FLAGS} --save_attempts 100000")
        run.reach(step)
        filling = fill(disk)
        time.sleep(FULL_S)
        filling.unlink()
        assert run.end(180) == 0, run.log.read_text()
        assert_same(folder, reference)
        assert _steps(folder) == _steps(reference), "lines of metrics.jsonl are lost"
        failed = (folder / "log.txt").read_text().count("WARNING: cannot write")
    return f"full after step {step}, {failed} failed writes were named, same weights"


def check_end(launcher: str, root: Path, place: Path, reference: Path) -> str:
    """Fill the disk for good: the run stops with a message, and the same command goes on when there is space."""
    with small_disk(place) as disk:
        folder, log = disk / "run", place.with_suffix(".log")
        with log.open("wb") as file:
            run = start(launcher, root, folder, f"{FLAGS} --save_attempts 2", stdout=file, stderr=file)
        run.reach(8)
        filling = fill(disk)
        assert run.end(180) != 0, log.read_text()
        assert f"cannot write {folder}" in log.read_text()
        filling.unlink()
        again = start(launcher, root, folder, FLAGS)
        assert again.end(180) == 0, again.log.read_text()
        assert_same(folder, reference)
    return "full for good: stopped with a message, went on later, same weights"


def _steps(folder: Path) -> list[tuple[str, int]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(line["kind"], line["step"]) for line in lines]


def missing() -> str:
    """What this part needs and is not there."""
    return "not root, so no file system can be mounted" if os.geteuid() else ""


def cases(root: Path, count: int, draw: Random) -> Iterator[tuple[str, Callable[[], str]]]:
    """(name, check) of `count` runs; every third disk stays full."""
    launcher = draw.choice(("python", "torchrun"))
    reference = undisturbed(launcher, root, root / "whole", FLAGS)
    for number in range(count):
        where = root, root / f"disk{number}", reference
        if number % 3 == 2:
            yield launcher, partial(check_end, launcher, *where)
        else:
            yield launcher, partial(check, launcher, draw.randrange(4, STEPS - 40), *where)
