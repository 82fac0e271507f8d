"""Progress of long operations: a bar on a terminal, otherwise a line every ten seconds."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0
Say = Callable[[str], None]
Item = TypeVar("Item")


class Progress:
    """Shows how many frames are done; a context manager.

    doing  what was done to the frames, such as "drawn".
    say    called with the lines if stderr is not a terminal.
    """

    def __init__(self, doing: str, say: Say) -> None:
        self.doing, self.say = doing, say
        self.bar = tqdm(desc=doing, unit=" frames", unit_scale=True, leave=False) if sys.stderr.isatty() else None
        self.last = time.monotonic()

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
            self.say(f"{self.doing} {done} of {total} frames{reached and f', up to {reached}'}")


def with_progress(items: Iterable[Item], total: int, doing: str, say: Say, each: int = 1) -> Iterator[Item]:
    """Yield the items and show progress.  Each item has `each` frames (the last one perhaps fewer)."""
    with Progress(doing, say) as progress:
        for number, item in enumerate(items, start=1):
            yield item
            progress(min(number * each, total), total)
