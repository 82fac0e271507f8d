"""Checks before the first step: whether steps compile, and whether micro-batches fit the memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from glagcn.config.config import OptimConfig
from glagcn.data.windows.plan import Share, micro_batches, share_bounds
from glagcn.data.windows.store import Batch
from glagcn.distributed.ranks import Ranks
from glagcn.errors import UserError
from glagcn.training.hardware.capacity import fitting_windows, free_bytes
from glagcn.training.optim.schedule import micro_batch
from glagcn.training.step import Stepper

Say = Callable[[str], None]


def rehearse(stepper: Stepper, batch: Batch, share: Share, say: Say) -> None:
    """Try a step that leaves no trace, on this rank's `share` of a global batch.

    Says beforehand where a micro-batch is too large for the memory that is free, and where compiling fails, with what
    follows.  Raises UserError, on all ranks, where the memory of one does run out.
    """
    device = stepper.ranks.device
    fits = None
    if device.type == "cuda":
        fits = fitting_windows(stepper.model, stepper.optim.precision, free_bytes(device))
        if max(share.sizes) > fits:
            say(f"WARNING: {memory_advice(max(share.sizes), fits)}")
    with out_of_memory(max(share.sizes), fits):
        problem = stepper.rehearse(batch, share)
    if problem:
        say(f"WARNING: torch.compile failed ({problem}); this run goes on without it, slower. --compile off skips it")


@contextmanager
def out_of_memory(size: int, fits: int | None = None) -> Iterator[None]:
    """Turn running out of a GPU's memory into a UserError with advice for micro-batches of `size` windows."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(f"out of memory: {memory_advice(size, fits)}") from error


def memory_advice(size: int, fits: int | None) -> str:
    """Advice when micro-batches of `size` windows do not fit; about `fits` windows would, if that is known."""
    smaller = min(fits, size // 2) if fits else size // 2
    if smaller < 1:
        return "not even a micro-batch of one window fits the GPU's memory; give a smaller --channel or --frames"
    return (
        f"a micro-batch of {size} windows needs more memory than the GPU has free; give --micro_batch {smaller} "
        "(BatchNorm statistics are then over this many windows)"
    )


def spread_text(optim: OptimConfig, batch_size: int, ranks: Ranks) -> str:
    """How a global batch is spread over processes; a WARNING where some have nothing to compute in part of a step."""
    most, processes = micro_batch(optim, batch_size), ranks.world_size
    parts = micro_batches(batch_size, most)
    begin, end = share_bounds(batch_size, 0, parts)
    text = f"global batch {batch_size} in {parts} micro-batch{'es' if parts > 1 else ''} of {end - begin} windows"
    idle = -parts % processes
    if idle:
        rounds = -(-parts // processes)
        better = -(-batch_size // (rounds * processes))
        text += (
            f"\nWARNING: {idle} of {processes} processes have nothing to compute in the last part of every step; "
            f"--micro_batch {better} keeps all busy (BatchNorm statistics are then over {better} windows)"
        )
    return text
