"""Running the commands in the test's own process, and what a refusal looks like."""

import json
import logging
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from glagcn.progress import PlainText

# A run of about a second: few windows, steps and test frames, a model of a few thousand parameters, no pictures.
TINY = (
    "--channel 4 --batch_size 64 --subset 0.02 --test_frames 40 --max_steps 6 --log_steps 2 --workers 1 "
    "--log_with none --no-export_training_curves"
)


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


def call(command: Callable[[list[str]], int], flags: str, capsys) -> Ended:
    """Run `command`, one of glagcn.cli, with a line of flags."""
    capsys.readouterr()
    code = command(shlex.split(flags))
    printed = capsys.readouterr()
    return Ended(code, printed.out, printed.err)


@contextmanager
def messages() -> Iterator[list[str]]:
    """The messages of the program while the context lasts, as the terminal and log.txt show them."""
    texts, project = [], logging.getLogger("glagcn")
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(PlainText().format(record))
    before = project.level
    project.addHandler(handler)
    project.setLevel(logging.INFO)
    try:
        yield texts
    finally:
        project.removeHandler(handler)
        project.setLevel(before)


def assert_refused(ended: Ended, *parts: str) -> None:
    """Exit code 2, and exactly one message on stderr, which has all `parts` (regular expressions)."""
    assert ended.code == 2, ended.out
    assert ended.err.startswith("error: ")
    assert ended.err.count("error: ") == 1
    assert "Traceback" not in ended.err
    for part in parts:
        assert re.search(part, ended.err), f"{part!r} is not in: {ended.err}"


def result(folder: Path) -> dict:
    """What result.json in a folder holds."""
    return json.loads((folder / "result.json").read_text())


def listing(folder: Path) -> dict[str, bytes]:
    """Every file and folder below a folder, hidden ones too, with its content."""
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}
