"""Work on all CPU cores without threads that wait for each other."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from glagcn.data.windows.store import keep_one_thread, one_thread
from glagcn.model.interface import Model

Item = TypeVar("Item")
Result = TypeVar("Result")

CPU_FLOATS = 1 << 19  # what one feature map of a batch may hold, to stay in the cache
LEAST_WINDOWS = 16  # in a batch: for fewer, one thread computes 1x1 convolutions by PyTorch's slow way
MOST_FLOATS = 1 << 26  # what the feature maps of all threads may hold together, of one layer: about 2 GB for all layers


def cpu_batch(model: Model, windows: int | None = None) -> int:
    """The number of windows that a thread lifts fastest at once; of `windows` in all, so that each thread has some."""
    share = CPU_FLOATS if windows is None else -(-windows // torch.get_num_threads())
    return max(LEAST_WINDOWS, min(CPU_FLOATS // model.map_size, share))


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
