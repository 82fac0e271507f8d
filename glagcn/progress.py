"""Progress of long work without curves: a bar on a terminal, elsewhere a line every ten seconds."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0
Say = Callable[[str], None]
Item = TypeVar("Item")


class Progress:
    """Frames done, of a total; a context manager.

    doing  such as "drawn";  say  takes the lines where there is no terminal.
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
        """`done` of `total` frames are done, the last of them in `reached`."""
        if self.bar is not None:
            self.bar.total = total
            self.bar.set_description(reached or self.doing, refresh=False)
            self.bar.update(done - self.bar.n)
        elif time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            self.say(f"{self.doing} {done} of {total} frames{reached and f', up to {reached}'}")


def with_progress(items: Iterable[Item], total: int, doing: str, say: Say, each: int = 1) -> Iterator[Item]:
    """The items, of `each` frames (the last perhaps fewer), while their progress is shown."""
    with Progress(doing, say) as progress:
        for number, item in enumerate(items, start=1):
            yield item
            progress(min(number * each, total), total)
