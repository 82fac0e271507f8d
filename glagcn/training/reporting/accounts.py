"""Loss sums, training time and log lines of a run."""

import logging
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from glagcn import dist
from glagcn.config.options import Config
from glagcn.data.windows.plan import EpochPlan
from glagcn.evaluation.evaluate import Evaluation
from glagcn.files import WriteError
from glagcn.runs.folder import RunFolder
from glagcn.runs.log import RunLog
from glagcn.training.cadence import Cadence
from glagcn.training.hardware.memory import peak_memory
from glagcn.training.hardware.speed import Speed, is_warm
from glagcn.training.loss import Loss
from glagcn.training.progress import Progress, Sums

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0


class Meter:
    """The loss terms of the steps since the last `drain`, kept on the device.

    `add` does not wait for the device.  `drain` gathers the sums of all ranks, one row per step, so that totals are
    bit-identical whether or not a run was stopped in between.
    """

    def __init__(self, capacity: int, names: tuple[str, ...]) -> None:
        self._names = names
        self._rows = torch.zeros(capacity, len(names), dtype=torch.float64, device=dist.device())
        self._count = 0

    def add(self, sums: Tensor) -> None:
        """Add the sums [terms] of one step on this rank."""
        self._rows[self._count] = sums.detach()
        self._count += 1

    def drain(self) -> list[dict[str, float]]:
        """Per step, the terms summed over all ranks, by name.  All ranks must call it at the same step."""
        first, *others = dist.gather(self._rows[: self._count])
        # A loop over ranks: torch.sum adds in an order that depends on the number of rows.
        total = first.clone()
        for rows in others:
            total += rows
        self._count = 0
        return [dict(zip(self._names, row, strict=True)) for row in total.tolist()]


class Accounts:
    """Updates `progress.interval`, `.epoch` and `.seconds` of a run, logs them and draws the curves.

    baseline  -> the error of the mean training pose in mm, for the picture of the curves.
    """

    def __init__(
        self,
        config: Config,
        cadence: Cadence,
        loss: Loss,
        progress: Progress,
        folder: RunFolder,
        log: RunLog,
        speed: Speed,
        baseline: Callable[[], float],
    ) -> None:
        self._folder, self._baseline = folder, cache(baseline)
        self._config, self._cadence, self._loss = config, cadence, loss
        self._progress, self._log, self._speed = progress, log, speed
        self._plan: EpochPlan = cadence.plan
        self._meter = Meter(min(config.run.log_steps, cadence.last_step), loss.names)
        self._line_at = self._clock = time.monotonic()
        self._windows = 0  # since the clock started
        self._first_step = progress.step
        self._warms_up = True

    def add(self, sums: Tensor) -> None:
        """Add the sums [terms] of the newest step of `progress`, on this rank."""
        self._meter.add(sums)
        self._windows += self._cadence.batch_count((self._progress.step - 1) % self._plan.steps_per_epoch)

    def drain(self) -> None:
        """Move the sums of the meter into `progress`, step by step.  All ranks must call it at the same step."""
        rows = self._meter.drain()
        for step, row in enumerate(rows, self._progress.step - len(rows)):
            index = step % self._plan.steps_per_epoch
            if index == 0:
                self._progress.epoch = Sums()
            for sums in (self._progress.interval, self._progress.epoch):
                sums.add(self._cadence.batch_count(index), row)

    def means(self, sums: Sums) -> dict[str, float]:
        """The mean loss and its terms, for the log."""
        return self._loss.means(sums.terms, sums.windows, self._config.optim)

    def log_interval(self, rate: float, norm: float) -> None:
        """Log the steps since the last call: losses, learning rate, gradient norm, speed and memory."""
        means = self.means(self._progress.interval)
        self._progress.interval = Sums()
        speed = self.restart_clock()
        self._update_speed(speed)
        step, memory = self._progress.step, peak_memory(dist.device()) / 1e9
        measured = {"windows_per_second": round(speed, 1), "memory_gb": round(memory, 3)}
        values = means | {"learning_rate": rate, "gradient_norm": norm} | measured
        self._log.record("train", step, values, **self.marks())
        if step == self._config.run.log_steps or time.monotonic() - self._line_at > SECONDS_BETWEEN_LINES / 2:
            self._show_progress(f"train MPJPE {means['mpjpe_mm']:.1f} mm, lr {rate:.2e}, {speed:.0f} windows/s")

    def log_evaluation(self, evaluation: Evaluation, name: str, scheduled: bool, improved: bool) -> None:
        """Log an evaluation on the set `name`, and the mean training losses of the current epoch."""
        from glagcn.rendering.figures import skeleton_figure  # which needs matplotlib: only one rank draws

        step, log = self._progress.step, self._log
        marks = self.marks() | ({} if scheduled else {"unscheduled": True})
        log.record(name, step, evaluation.scalars, **marks)
        for kind, values in evaluation.benchmark.curves(evaluation.metrics).items():
            log.record(kind, step, values, **marks)
        log.record("train_epoch", step, self.means(self._progress.epoch), **marks)
        log.figure(f"{name}/skeletons", lambda: skeleton_figure(evaluation), step)
        verdict = ", best so far" if improved else ""
        logger.info(f"{self.position(format(marks['epoch'], '.2f'))}: {name} {evaluation.headline}{verdict}")
        log.flush()
        if self._config.run.export_training_curves:
            from glagcn.runs.curves import draw_training_curves

            against = "windows" if self._config.optim.windows else "epoch"
            folder = self._folder
            try:
                draw_training_curves(folder.metrics, folder.curves, against, folder.path.name, self._baseline())
            except WriteError as error:
                logger.warning(f"{error}. The run goes on")

    def tick(self, rate: float, wait: Callable[[], object]) -> None:
        """Call after every step: logs a line if the last one is old.  Restarts the clock once the warm-up is over.

        wait  waits for the device.
        """
        now = time.monotonic()
        late = now - self._line_at > SECONDS_BETWEEN_LINES
        if late:
            seconds = now - self._clock
            if self._windows and seconds > SECONDS_BETWEEN_LINES / 2:  # else steps queued on a GPU count
                self._update_speed(self._windows / seconds)
            self._show_progress(f"lr {rate:.2e}")
        if self._warms_up and (late or is_warm(self._first_step, self._progress.step, self._cadence.last_step)):
            wait()
            self.restart_clock()
            self._warms_up = False

    def restart_clock(self, count: bool = True) -> float:
        """Restart the clock.  Returns windows per second of all ranks since the last call.

        count  add the time since then to the training time.
        """
        seconds = time.monotonic() - self._clock
        speed = self._windows / max(seconds, 1e-9)
        if count:
            self._progress.seconds += seconds
        self._clock, self._windows = time.monotonic(), 0
        return speed

    def marks(self) -> dict[str, Any]:
        """Epochs, training windows and training seconds so far, for a line of metrics.jsonl."""
        step, plan = self._progress.step, self._plan
        seconds = round(self._progress.seconds, 1)
        return {"epoch": step / plan.steps_per_epoch, "windows": plan.windows_until(step), "seconds": seconds}

    def position(self, epoch: str) -> str:
        """The progress as text, in training windows if --windows sets the length, else in epochs (`epoch`)."""
        step, optim = self._progress.step, self._config.optim
        position = f"epoch {epoch}/{optim.epochs}"
        if windows := optim.windows:
            position = f"{min(self._plan.windows_until(step), windows):,}/{windows:,} windows"
        return f"step {step}/{self._cadence.last_step}, {position}"

    def _update_speed(self, windows_per_second: float) -> None:
        if not self._warms_up:
            self._speed.update(windows_per_second, self._plan.windows_until(self._progress.step))

    def _show_progress(self, text: str) -> None:
        self._line_at = time.monotonic()
        step = self._progress.step
        left = self._speed.left(self._plan.windows_until(step))
        self._log.show_progress(f"{self.position(str(self._cadence.epoch_of(step)))}: {text}{left}")
