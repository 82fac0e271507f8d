"""How models compute: on all CPU cores without threads that wait for each other, and in full precision."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from glagcn.model.interface import Model

Item = TypeVar("Item")
Result = TypeVar("Result")

CPU_FLOATS = 1 << 19  # what one feature map of a batch may hold, to stay in the cache
LEAST_WINDOWS = 16  # in a batch: for fewer, one thread computes 1x1 convolutions by PyTorch's slow way
MOST_FLOATS = 1 << 26  # what the feature maps of all threads may hold together, of one layer: about 2 GB for all layers


def cpu_batch(model: Model, windows: int | None = None) -> int:
    """The number of windows that a thread lifts fastest at once; of `windows` in all, so that each thread has some."""
    return _batch(model.map_size, windows)


def cpu_stretch(model: Model, frames: int | None = None) -> int:
    """As `cpu_batch`, of neighbouring frames that `predict_sequence` lifts."""
    return _batch(model.sequence_map, frames)


def _batch(size: int, count: int | None) -> int:
    share = CPU_FLOATS if count is None else -(-count // torch.get_num_threads())
    return max(LEAST_WINDOWS, min(CPU_FLOATS // size, share))


def batches_in_memory(model: Model) -> int:
    """The number of such batches that may be worked on at the same time."""
    return max(1, MOST_FLOATS // (cpu_batch(model) * model.map_size))


def on_every_core(
    work: Callable[[Item], Result], items: Iterable[Item], most: int | None = None
) -> Generator[Result, None, None]:
    """map(work, items) on a CPU, in inference mode, in as many threads as PyTorch computes in, each of which computes
    alone: threads that share every operation wait for each other at its end, and where another process holds a core
    they wait ten times as long as they compute.

    most  threads; None: any number.
    """
    threads = min(torch.get_num_threads(), most or torch.get_num_threads())
    work = torch.inference_mode()(work)
    with one_thread():
        if threads == 1:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(threads, initializer=keep_one_thread) as pool:
            yield from pool.map(work, items)


class _Blocks(threading.local):
    """The blocks of `one_thread` that this Python thread is in, and the number of threads it had before."""

    count = 0
    before = 1


_blocks = _Blocks()
_lock = threading.Lock()
_users = 0  # Python threads in a block
_usual = 1  # the number of threads before the first of them came


@contextmanager
def one_thread() -> Iterator[None]:
    """Run PyTorch on one thread within the block.  Blocks may be nested, and overlap in several Python threads.

    Gathering is a few passes of a millisecond each.  If other processes use the cores, waiting for a second thread
    after each pass costs ten times what it saves.
    """
    global _users, _usual
    # PyTorch keeps the number for each Python thread, and a thread that is new takes the one that was set last.
    with _lock:
        if not _blocks.count:
            _blocks.before = torch.get_num_threads()
            if not _users:
                if _blocks.before == 1 < _usual:  # set by the user, or this thread was new during another's block
                    with ThreadPoolExecutor(1) as pool:
                        _blocks.before = pool.submit(torch.get_num_threads).result()
                _usual = _blocks.before
            elif _blocks.before == 1:
                _blocks.before = _usual
            _users += 1
            torch.set_num_threads(1)
        _blocks.count += 1
    try:
        yield
    finally:
        with _lock:
            _blocks.count -= 1
            if not _blocks.count:
                _users -= 1
                torch.set_num_threads(_blocks.before)


def keep_one_thread() -> None:
    """Initialise a Python thread that lives within a block of another: its own blocks end with one thread, too."""
    _blocks.count = 1
    torch.set_num_threads(1)


@contextmanager
def full_precision() -> Iterator[None]:
    """Disable TF32 in this context: metrics must not depend on the precision of training."""
    before = torch.backends.cudnn.allow_tf32
    allow_tf32(False)
    try:
        yield
    finally:
        allow_tf32(before)


def allow_tf32(allowed: bool) -> None:
    """Whether a GPU may round the factors of float32 products to 10 bits (TF32)."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
