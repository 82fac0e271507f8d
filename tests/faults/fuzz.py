"""Spoilt files for every reader: it reads them, or says in one message what is wrong; it never crashes or hangs.

python -m tests.faults.fuzz --count 2000 [--reader NAME] [--seed 0]

--reader  only those whose names contain NAME.
"""

import argparse
import contextlib
import logging
import multiprocessing
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any

from glagcn.errors import UserError
from tests.faults.mutations import spoil_bytes
from tests.faults.readers import DATA_READERS, Reader
from tests.faults.run_readers import RUN_READERS

READERS = DATA_READERS | RUN_READERS
OUTCOMES = ("read", "one message", "other exception", "crash", "hang")
PATIENCE_S = 60.0  # for one file, on a machine that does other things too
MEMORY = 2 << 30  # bytes that reading a spoilt file may add to those of the process


class Case:
    """One reader in a folder of its own."""

    def __init__(self, reader: Reader, folder: Path) -> None:
        self.reader = reader
        self.target = reader.write(folder)
        found = sorted(self.target.iterdir()) if self.target.is_dir() else [self.target]
        self.files = {path: path.read_bytes() for path in found}
        reader.read(self.target)  # the valid file

    def spoil(self, rng: Random) -> None:
        """Spoil one file, the others being whole."""
        for path, content in self.files.items():
            path.write_bytes(content)
        path = rng.choice(list(self.files))
        if self.reader.spoil and rng.random() < 0.7:
            with contextlib.suppress(Exception):  # the format cannot hold such a value
                self.reader.spoil(rng, path)
                return
        path.write_bytes(spoil_bytes(rng, self.files[path], self.reader.begin))
        if self.reader.finish:
            self.reader.finish(path)

    def read(self) -> tuple[str, str]:
        """(outcome, message or traceback)."""
        try:
            self.reader.read(self.target)
        except UserError as error:
            return "one message", str(error)
        except Exception:  # noqa: BLE001  (what is looked for)
            return "other exception", traceback.format_exc()
        return "read", ""


def rng_of(name: str, number: int, seed: int = 0) -> Random:
    """The draws of one case."""
    return Random(f"{seed} {name} {number}")


@dataclass
class Tally:
    """What came of the cases of a reader, and the first failures: (case, outcome, what was printed)."""

    counts: Counter = field(default_factory=Counter)
    failures: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, number: int, outcome: str, text: str) -> None:
        """Count one case."""
        self.counts[outcome] += 1
        if outcome in OUTCOMES[2:]:
            self.failures.append((number, outcome, text))


def _work(name: str, numbers: list[int], seed: int, pipe: Connection) -> None:
    """In a child process: read the cases, and send what came of each."""
    warnings.simplefilter("ignore")
    logging.disable()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        case = Case(READERS[name], Path(folder))
        for number in numbers:
            case.spoil(rng_of(name, number, seed))
            pipe.send((number, "start", ""))
            pipe.send((number, *case.read()))


class Child:
    """A process that reads cases; it is started again after each crash and hang."""

    def __init__(self, name: str, numbers: list[int], seed: int) -> None:
        self.name, self.numbers, self.seed = name, numbers, seed
        self.start()

    def start(self) -> None:
        """Start with the cases that are left."""
        self.pipe, theirs = multiprocessing.Pipe(duplex=False)
        arguments = self.name, self.numbers, self.seed, theirs
        self.process = multiprocessing.get_context("fork").Process(target=_work, args=arguments)
        self.process.start()
        theirs.close()
        self.heard = time.monotonic()
        self.reading = False

    def hear(self) -> Iterator[tuple[int, str, str]]:
        """What came of cases since the last call."""
        silent = time.monotonic() - self.heard > PATIENCE_S
        try:
            while self.pipe.poll():
                number, outcome, text = self.pipe.recv()
                self.heard, self.reading, silent = time.monotonic(), outcome == "start", False
                if outcome != "start":
                    self.numbers = self.numbers[1:]
                    yield number, outcome, text
        except EOFError:
            self.process.join()
            if self.numbers:
                yield from self._lost("crash", f"exit code {self.process.exitcode}")
        if silent:
            self.process.kill()
            self.process.join()
            yield from self._lost("hang", f"{PATIENCE_S:.0f} s")

    def _lost(self, outcome: str, text: str) -> Iterator[tuple[int, str, str]]:
        if not self.reading:
            raise RuntimeError(f"{self.name}: case {self.numbers[0]} ended before its file was read: {text}")
        yield self.numbers.pop(0), outcome, text
        if self.numbers:
            self.start()


def fuzz(name: str, count: int, seed: int, processes: int) -> Tally:
    """Read `count` spoilt files in as many processes."""
    tally = Tally()
    children = [Child(name, list(range(first, count, processes)), seed) for first in range(min(processes, count))]
    while running := [child for child in children if child.numbers]:
        wait([child.pipe for child in running], timeout=1)
        for child in running:
            for outcome in child.hear():
                tally.add(*outcome)
    return tally


def main() -> int:
    """Fuzz all readers; -> the number of cases that were neither read nor refused with one message."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--reader", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    failed = 0
    print(f"{'reader':32}" + "".join(f"{outcome:>17}" for outcome in OUTCOMES), flush=True)
    for name in READERS:
        if options.reader in name:
            tally = fuzz(name, options.count, options.seed, options.processes)
            print(f"{name:32}" + "".join(f"{tally.counts[outcome]:17}" for outcome in OUTCOMES), flush=True)
            for number, outcome, text in sorted(tally.failures)[:3]:
                print(f"  case {number}: {outcome}: {text}", flush=True)
            failed += len(tally.failures)
    print(f"{failed} neither read nor refused with one message")
    return min(failed, 1)


def reproduce(name: str, number: int, folder: Path, seed: int = 0) -> Any:
    """Spoil and read one case in this process, for a debugger; its file stays in `folder`."""
    case = Case(READERS[name], folder)
    case.spoil(rng_of(name, number, seed))
    return READERS[name].read(case.target)


if __name__ == "__main__":
    sys.exit(main())
