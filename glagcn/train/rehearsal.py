"""Checks before the first step: whether the step compiles and a micro-batch fits into memory."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from glagcn import dist
from glagcn.config.options import OptimConfig
from glagcn.data.plan import Share, micro_batches, share_bounds
from glagcn.data.windows import Batch
from glagcn.errors import UserError
from glagcn.train.optim import micro_batch
from glagcn.train.step import Stepper

logger = logging.getLogger(__name__)


def rehearse(stepper: Stepper, batch: Batch, share: Share) -> None:
    """Run a trial step on this rank's `share` of a global batch, without changing the state of training.

    Warns if compilation fails.  Raises UserError on all ranks if any rank runs out of memory.
    """
    with out_of_memory(max(share.sizes)):
        problem = stepper.rehearse(batch, share)
    if problem:
        logger.warning(
            f"torch.compile failed ({problem}); the run continues without it, slower. --compile off skips it"
        )


@contextmanager
def out_of_memory(size: int) -> Iterator[None]:
    """Turn torch.OutOfMemoryError into a UserError with advice for micro-batches of `size` windows."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(f"out of memory: {memory_advice(size)}") from error


def memory_advice(size: int) -> str:
    """The message when micro-batches of `size` windows do not fit."""
    smaller = size // 2
    if smaller < 1:
        return "a micro-batch of one window does not fit into GPU memory; give a smaller --channel or --frames"
    return (
        f"a micro-batch of {size} windows needs more memory than the GPU has free; give --micro_batch {smaller} "
        "(BatchNorm statistics are then over this many windows)"
    )


def spread_text(optim: OptimConfig, batch_size: int) -> str:
    """How the global batch is split over processes, with a warning if some are idle in part of every step."""
    most, processes = micro_batch(optim, batch_size), dist.world_size()
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
