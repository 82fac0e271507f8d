"""What the terminal shows: messages, and the progress of long operations (a bar, or a line every ten seconds)."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0
Item = TypeVar("Item")

logger = logging.getLogger(__name__)


class PlainText(logging.Formatter):
    """The message alone; warnings begin with WARNING."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        text = record.getMessage()
        return f"WARNING: {text}" if record.levelno >= logging.WARNING else text


class Console(logging.Handler):
    """Prints messages to standard output, above a progress bar if there is one.

    A failed write is ignored: a closed terminal, a closed pipe or a full disk must not end a run.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        with contextlib.suppress(OSError, AttributeError):  # the latter without a standard output, as under pythonw
            tqdm.write(self.format(record))
            sys.stdout.flush()


@contextlib.contextmanager
def print_messages(*, quiet: bool = False) -> Iterator[None]:
    """Print the messages of glagcn while the context lasts.

    quiet  print nothing: of several processes, only rank 0 prints.
    """
    project = logging.getLogger("glagcn")
    handler = logging.NullHandler() if quiet else Console()
    handler.setFormatter(PlainText())
    before = project.level, project.propagate
    project.addHandler(handler)
    project.setLevel(logging.INFO)
    project.propagate = False  # a library that sets up the root logger would print everything a second time
    try:
        yield
    finally:
        project.removeHandler(handler)
        project.setLevel(before[0])
        project.propagate = before[1]


def flush_streams() -> None:
    """Flush standard output and error; close those that cannot be written, or Python would end with exit code 120."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except (OSError, ValueError, AttributeError):
            setattr(sys, name, None)


class Progress:
    """Shows how many frames are done; a context manager.

    doing  what was done to the frames, such as "drawn".
    """

    def __init__(self, doing: str) -> None:
        self.doing = doing
        self.bar = tqdm(desc=doing, unit=" frames", unit_scale=True, leave=False) if sys.stderr.isatty() else None
        self.began = self.last = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, done: int, total: int, reached: str = "") -> None:
        """Report that `done` of `total` frames are done; `reached` names the last sequence."""
        if self.bar is not None:
            self.bar.total = total
            self.bar.set_description(reached or self.doing, refresh=False)
            self.bar.update(done - self.bar.n)
        elif time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            left = (self.last - self.began) / max(done, 1) * (total - done)
            text = f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} min" if left < 5400 else f"{left / 3600:.1f} h"
            when = f", about {text} left" if done < total else ""
            logger.info(f"{self.doing} {done} of {total} frames{reached and f', up to {reached}'}{when}")


def with_progress(items: Iterable[Item], total: int, doing: str, each: int = 1) -> Iterator[Item]:
    """Yield the items and show progress.  Each item has `each` frames (the last one perhaps fewer)."""
    with Progress(doing) as progress:
        for number, item in enumerate(items, start=1):
            yield item
            progress(min(number * each, total), total)
