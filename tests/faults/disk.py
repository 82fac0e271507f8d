"""A disk that is full for a while: the run goes on, and ends as an undisturbed one; or stops, and goes on when asked.

python -m tests.faults.disk [--count 10] [--seed 0]        # needs root, to mount a small file system
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.faults.kills import FLAGS, STEPS, same, undisturbed
from tests.faults.runs import start
from tests.prepared import prepared

SIZE = "6m"
FULL_S = 3.0
BLOCK = b"x" * 1024


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own at `folder`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all space of a disk; -> the file to remove."""
    filling = disk / "filling"
    with suppress(OSError), filling.open("wb", buffering=0) as file:
        while True:
            file.write(BLOCK)
    return filling


def check(launcher: str, step: int, root: Path, disk: Path, reference: Path) -> str:
    """Fill the disk after `step` for some seconds; -> what came of it.  Raises AssertionError where it is lost."""
    folder = disk / "run"
    run = start(launcher, root, folder, f"{FLAGS} --save_attempts 100000")
    run.reach(step)
    filling = fill(disk)
    time.sleep(FULL_S)
    filling.unlink()
    assert run.end(180) == 0, run.log.read_text()
    assert same(folder / "last.pt", reference / "last.pt"), "the weights differ from those of the undisturbed run"
    assert _steps(folder) == _steps(reference), "lines of metrics.jsonl are lost"
    failed = (folder / "log.txt").read_text().count("WARNING: cannot write")
    return f"{launcher:10} full after step {step}: {failed} failed writes were told, same weights"


def check_end(launcher: str, root: Path, disk: Path, reference: Path) -> str:
    """Fill the disk for good: the run stops with a message, and the same command goes on when there is space."""
    folder = disk / "run"
    log = root / "full.log"
    with log.open("wb") as file:
        run = start(launcher, root, folder, f"{FLAGS} --save_attempts 2", stdout=file, stderr=file)
    run.reach(8)
    filling = fill(disk)
    assert run.end(180) != 0, log.read_text()
    assert f"cannot write {folder}" in log.read_text()
    filling.unlink()
    again = start(launcher, root, folder, FLAGS)
    assert again.end(180) == 0, again.log.read_text()
    assert same(folder / "last.pt", reference / "last.pt"), "the weights differ from those of the undisturbed run"
    return f"{launcher:10} full for good: stopped with a message, went on later, same weights"


def _steps(folder: Path) -> list[tuple[str, int]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(line["kind"], line["step"]) for line in lines]


def main() -> int:
    """Fill the disk of `--count` runs; raises AssertionError where one is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if os.geteuid():
        print("skipped: not root")
        return 0
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        prepared("demo", root)
        references = {each: undisturbed(each, root, root / f"whole_{each}") for each in ("python", "torchrun")}
        for number in range(options.count):
            launcher = list(references)[number % 2]
            with small_disk(root / f"disk{number}") as disk:
                if number % 5 == 4:
                    print(check_end(launcher, root, disk, references[launcher]), flush=True)
                else:
                    step = draw.randrange(4, STEPS - 40)
                    print(check(launcher, step, root, disk, references[launcher]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
