"""How far a piece of work is that has no curves: a bar on a terminal, a line every ten seconds otherwise."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0
Item = TypeVar("Item")


def with_progress(
    items: Iterable[Item], total: int, doing: str, say: Callable[[str], None], each: int = 1
) -> Iterator[Item]:
    """The items, while their progress is shown.

    total  frames in all;  each  frames in an item;  doing  such as "drawn".
    """
    if sys.stderr.isatty():
        with tqdm(total=total, desc=doing, unit=" frames", leave=False) as bar:
            for item in items:
                yield item
                bar.update(min(each, total - bar.n))
        return
    last = time.monotonic()
    for number, item in enumerate(items):
        yield item
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            say(f"{doing} {min((number + 1) * each, total)} of {total} frames")
