"""Writes the checkpoints of a run: rank 0 writes, and all ranks agree on the step."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glagcn import dist, signals
from glagcn.checkpoints import ours as checkpoint
from glagcn.config.options import RunConfig
from glagcn.files import WriteError
from glagcn.train.run_folder import RunFolder

logger = logging.getLogger(__name__)

FIRST_SAVE_S = 45.0  # the first save is early, in case the cluster preempts the job soon after its start
SECONDS_BETWEEN_CHECKS = 1.0  # between all-reduces that ask whether to save or to stop
MOST_STEPS_BETWEEN_CHECKS = 100


class Saver:
    """Writes the checkpoints of a run and checks for stop signals.

    drain  updates the sums of the progress; called on every rank before a checkpoint.
    state  returns the content of a checkpoint; called on rank 0 only.
    step   the step at which this process starts.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        drain: Callable[[], None],
        state: Callable[[], dict[str, Any]],
        step: int,
    ) -> None:
        self._config, self._folder = config, folder
        self._drain, self._state = drain, state
        self._failures = 0  # in a row
        self._checked_at = now = time.monotonic()
        self._due_at = now + min(FIRST_SAVE_S, 60 * (config.save_minutes or 0))
        self._checked_step, self._next_check = step, step + 1

    def after_step(self, step: int) -> None:
        """Save if a checkpoint is due.  Raises Stopped on all ranks, after the same step, if any received a signal."""
        if self._config.save_steps and step % self._config.save_steps == 0:
            self.save()
        if step < self._next_check:
            return
        now = time.monotonic()
        is_due = bool(self._config.save_minutes) and now >= self._due_at
        each = (now - self._checked_at) / (step - self._checked_step)
        number, due, pace = dist.largest([signals.REQUEST.number, is_due, each])
        if number:
            raise signals.Stopped(int(number), agreed=True)
        if due:
            self.save()
        steps = round(SECONDS_BETWEEN_CHECKS / max(pace, 1e-6)) if dist.world_size() > 1 else 1
        self._checked_at, self._checked_step = time.monotonic(), step
        self._next_check = step + min(max(steps, 1), MOST_STEPS_BETWEEN_CHECKS)

    def save(self, *, now_or_never: bool = False) -> None:
        """Write last.pt and keep the previous one as last.pt.1.  All ranks must call it at the same step.

        now_or_never  raise WriteError on all ranks if the write fails.  By default a failure is logged, and the error
                      raised only after --save_attempts failures in a row.
        """
        self.keep(self._folder.last, self._folder.keep_previous, now_or_never=now_or_never)
        self._due_at = time.monotonic() + 60 * (self._config.save_minutes or 0)

    def keep(self, path: Path, prepare: Callable[[], None] | None = None, *, now_or_never: bool = False) -> bool:
        """Write the state to `path`, after calling `prepare` on rank 0.  Returns on every rank whether it succeeded."""
        self._drain()
        written = True
        with dist.agree():
            if dist.is_main():
                state = self._state()
                try:
                    if prepare:
                        prepare()
                    checkpoint.save(path, state)
                    self._failures = 0
                except WriteError as error:
                    written = False
                    self._count(error, now_or_never)
        return dist.from_main(written)

    def keep_epoch(self, number: int) -> None:
        """Write the state as that after epoch `number`, and delete older ones beyond --keep."""
        self.keep(self._folder.epoch(number))
        if self._config.keep and dist.is_main():
            self._folder.prune_epochs(self._config.keep)

    def _count(self, error: WriteError, now_or_never: bool) -> None:
        """Log a failed write, or raise the error after too many failures."""
        self._failures += 1
        attempts = self._config.save_attempts
        if now_or_never or self._failures >= attempts:
            raise error
        logger.warning(f"{error}. Attempt {self._failures} of {attempts}; training continues")
