"""The training loop: plan, step, log, save, evaluate; and the state that resuming needs."""

import math
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, NoReturn

import numpy as np
import torch

from glagcn.checkpoints import checkpoint
from glagcn.config.config import Config
from glagcn.config.resolve import to_dict
from glagcn.data.windows.plan import Share, WindowIds, share
from glagcn.data.windows.store import MM_PER_METRE
from glagcn.distributed import precision
from glagcn.distributed.ranks import Ranks
from glagcn.errors import UserError
from glagcn.evaluation.evaluate import Evaluation, EvaluationSet, evaluate
from glagcn.model.network import model_config
from glagcn.rendering.figures import skeleton_figure
from glagcn.runs.curves import FILE_NAME, draw_training_curves
from glagcn.runs.folder import RunFolder
from glagcn.runs.log import RunLog
from glagcn.training.hardware.memory import peak_memory
from glagcn.training.hardware.speed import is_warm, run_speed
from glagcn.training.meter import Meter
from glagcn.training.optim.schedule import bn_momentum, last_step, learning_rate, micro_batch, planned_steps
from glagcn.training.rehearsal import out_of_memory, rehearse
from glagcn.training.run_data import RunData
from glagcn.training.step import Stepper

SECONDS_BETWEEN_LINES = 30.0
STEPS_BETWEEN_CLOCKS = 10  # every rank must hear whether it is time to save


@dataclass
class Progress:
    """Where a run is.  `interval` and `epoch` are sums of (windows, single head, sequence head), errors in metres."""

    step: int = 0
    evaluated_step: int = 0
    best_mm: float = math.inf
    best_step: int = 0
    seconds: float = 0.0
    interval: list[float] = field(default_factory=lambda: [0.0] * 3)
    epoch: list[float] = field(default_factory=lambda: [0.0] * 3)


class Trainer:
    """One run on this rank.  Build it, `restore` a checkpoint if there is one, `run`."""

    def __init__(
        self, config: Config, ranks: Ranks, data: RunData, stepper: Stepper, folder: RunFolder, log: RunLog
    ) -> None:
        self.config, self.ranks, self.data, self.stepper = config, ranks, data, stepper
        self.folder, self.log, self.plan = folder, log, data.plan
        self.last_step = last_step(config.optim, data.plan)
        # What is evaluated during training and chooses best.pt; None where the last state is the result.
        self.watched = {"validation": data.validation, "test": data.test, "last": None}[config.selection.select_on]
        self.progress = Progress()
        self.speed = run_speed(config, ranks, data.plan, stepper.model, log.say)
        self.meter = Meter(ranks, capacity=min(config.run.log_steps, self.last_step), columns=2)
        self._saved_at = self._line_at = self._clock = time.monotonic()
        self._windows = 0
        self._first_step = 0
        self._warms_up = True

    # ------------------------------------------------------------ state

    def state(self) -> dict[str, Any]:
        """The content of a checkpoint.  The meter must be drained."""
        return {
            "config": to_dict(self.config),
            "model_config": model_config(self.stepper.model),
            "model": self.stepper.model.state_dict(),
            "optimizer": self.stepper.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "num_windows": self.plan.num_windows,
            "data_fingerprint": self.data.cache.fingerprint,
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Go on from a checkpoint: rank 0's state, which serves every rank."""
        self.stepper.model.load_state_dict(content["model"])
        self.stepper.optimizer.load_state_dict(content["optimizer"])
        self.progress = Progress(**content["progress"])

    def save(self) -> None:
        """Rank 0 writes last.pt.  Every rank must call it at the same step."""
        self._drain()
        with self.ranks.agree():
            if self.ranks.is_main:
                self._check_weights()
                checkpoint.save(self.folder.last, self.state())
        self._saved_at = time.monotonic()

    def _keep_if_due(self) -> None:
        """Rank 0 keeps the state after every --checkpoint_frequency-th epoch under a name of its own."""
        epochs, rest = divmod(self.progress.step, self.plan.steps_per_epoch)
        frequency = self.config.run.checkpoint_frequency
        if not frequency or rest or not epochs or epochs % frequency:
            return
        self._drain()
        with self.ranks.agree():
            if self.ranks.is_main:
                checkpoint.save(self.folder.epoch(epochs), self.state())

    def _check_weights(self) -> None:
        """Keep a checkpoint from being replaced by one that nothing can be done with."""
        if not all(torch.isfinite(weights).all() for weights in self.stepper.model.parameters()):
            self._refuse(f"the weights after step {self.progress.step} are not finite, so they were not saved")

    # ------------------------------------------------------------ the loop

    def run(self) -> None:
        """Train to the last step; evaluate where an epoch or the run ends."""
        rehearse(self.stepper, self.data.train.windows(self._my_windows(0, 0)), self._share(0), self.log.say)
        self._first_step = self.progress.step
        self.log.start_progress(self.progress.step, self.last_step)
        while True:
            if self._evaluation_is_due():
                self._evaluate()
            self._keep_if_due()
            if self.progress.step >= self.last_step:
                return
            self._train_epoch()

    def _train_epoch(self) -> None:
        """The steps from here to the end of the epoch or of the run, or to an evaluation within the epoch."""
        per_epoch = self.plan.steps_per_epoch
        epoch, begin = divmod(self.progress.step, per_epoch)
        end = min(per_epoch, begin + self.last_step - self.progress.step)
        if self.config.selection.eval_windows:
            end = min(end, begin + self._next_by_windows(self.progress.step) - self.progress.step)
        self.stepper.model.train()
        self.stepper.statistics.set_momentum(bn_momentum(self.config.optim, self.plan, epoch))
        self._restart_clock(count=False)
        batches = self.data.train.stream((self._my_windows(epoch, index) for index in range(begin, end)), reuse=True)
        for index, batch in enumerate(batches, begin):
            mine, seed = self._share(index), partial(_seed, self.config.optim.seed, epoch, index)  # of dropout
            rate = learning_rate(self.config.optim, self.plan, self.progress.step)
            with out_of_memory(max(mine.sizes)):
                self.meter.add(*self.stepper.gradient(batch, mine, seed))
                norm = self.stepper.apply(rate)
            self.progress.step += 1
            self._after_step(rate, norm)
        self._restart_clock()

    def _my_windows(self, epoch: int, index: int) -> WindowIds:
        """This rank's windows of a global batch."""
        mine = self._share(index)
        return self.plan.batch(epoch, index).part(mine.begin, mine.end)

    def _share(self, index: int) -> Share:
        """This rank's share of global batch `index` of any epoch."""
        most = micro_batch(self.config.optim, self.plan.batch_size)
        return share(self._batch_count(index), most, self.ranks.rank, self.ranks.world_size)

    def _batch_count(self, index: int) -> int:
        """Windows in global batch `index` of any epoch."""
        return min(self.plan.batch_size, self.plan.num_windows - index * self.plan.batch_size)

    def _refuse(self, what: str) -> NoReturn:
        good = f"the last good checkpoint is {self.folder.last}" if self.folder.last.exists() else "no checkpoint yet"
        raise UserError(f"{what}; {good}. Lower --lr, set --clip, or look for bad values in the data")

    # ------------------------------------------------------------ after a step

    def _after_step(self, rate: float, norm: torch.Tensor) -> None:
        step = self.progress.step
        self._windows += self._batch_count((step - 1) % self.plan.steps_per_epoch)
        if step % self.config.run.log_steps == 0:
            self._drain()
            self._log_interval(rate, float(norm))
        if self._save_is_due():
            self.save()
        self.log.advance()
        late = time.monotonic() - self._line_at > SECONDS_BETWEEN_LINES
        if late:
            seconds = time.monotonic() - self._clock
            if self._windows and seconds > SECONDS_BETWEEN_LINES / 2:  # a GPU has yet to take some of the newest steps
                self._tell_speed(self._windows / seconds)
            self._say_progress(f"lr {rate:.2e}")
        if self._warms_up and (late or is_warm(self._first_step, step, self.last_step)):
            self.stepper.steps_taken()  # waits for the device
            self._restart_clock()
            self._warms_up = False

    def _tell_speed(self, windows_per_second: float) -> None:
        if not self._warms_up:
            self.speed.tell(windows_per_second, self.plan.windows_until(self.progress.step))

    def _save_is_due(self) -> bool:
        """The same answer on every rank: steps are counted, and the clock is rank 0's."""
        if self.config.run.save_steps and self.progress.step % self.config.run.save_steps == 0:
            return True
        if not self.config.run.save_minutes or self.progress.step % STEPS_BETWEEN_CLOCKS:
            return False
        return self.ranks.from_main(time.monotonic() - self._saved_at > 60 * self.config.run.save_minutes)

    def _say_progress(self, text: str) -> None:
        """Where the run is, with `text`."""
        self._line_at = time.monotonic()
        epoch = 1 + (self.progress.step - 1) // self.plan.steps_per_epoch
        left = self.speed.left(self.plan.windows_until(self.progress.step))
        self.log.say_progress(f"{self._place(str(epoch))}: {text}{left}")

    def _drain(self) -> None:
        """Add the errors of the steps since the last time to the sums, in the order of steps; every step must have been
        taken."""
        good = self._first_step + self.stepper.steps_taken()
        if good < self.progress.step:
            self._refuse(f"the loss or gradient of step {good + 1} is not finite, so the step was not taken")
        rows = self.meter.drain()
        for step, row in enumerate(rows, self.progress.step - len(rows)):
            index = step % self.plan.steps_per_epoch
            if index == 0:
                self.progress.epoch = [0.0] * 3
            for sums in (self.progress.interval, self.progress.epoch):
                for column, value in enumerate((self._batch_count(index), *row)):
                    sums[column] += value

    def _log_interval(self, rate: float, norm: float) -> None:
        means = self._means(self.progress.interval)
        self.progress.interval = [0.0] * 3
        speed = self._restart_clock()
        self._tell_speed(speed)
        step, memory = self.progress.step, peak_memory(self.ranks.device) / 1e9
        epoch = 1 + (step - 1) // self.plan.steps_per_epoch
        measured = {"windows_per_second": round(speed, 1), "memory_gb": round(memory, 3)}
        self.log.record("train", step, means | {"learning_rate": rate, "gradient_norm": norm} | measured, epoch=epoch)
        self.log.along("train/mpjpe_mm", means["mpjpe_mm"], self.plan.windows_until(step), self.progress.seconds)
        if step == self.config.run.log_steps or time.monotonic() - self._line_at > SECONDS_BETWEEN_LINES / 2:
            self._say_progress(f"train MPJPE {means['mpjpe_mm']:.1f} mm, lr {rate:.2e}, {speed:.0f} windows/s")

    def _means(self, sums: list[float]) -> dict[str, float]:
        """The mean loss in metres, as optimised, and its parts in mm: the error of the single head, and of the sequence
        head where there is one.  Errors of training windows, as trained: with dropout and other views."""
        windows, single, sequence = sums
        loss = (single + self.config.optim.sequence_weight * sequence) / windows
        means = {"loss": loss, "mpjpe_mm": single / windows * MM_PER_METRE}
        if self.config.model.sequence_layers:
            means["sequence_mpjpe_mm"] = sequence / windows * MM_PER_METRE
        return means

    def _restart_clock(self, count: bool = True) -> float:
        """-> windows per second of all ranks since the last call.  The time is training time if `count`."""
        seconds = time.monotonic() - self._clock
        speed = self._windows / max(seconds, 1e-9)
        if count:
            self.progress.seconds += seconds
        self._clock, self._windows = time.monotonic(), 0
        return speed

    # ------------------------------------------------------------ evaluation

    def _evaluation_is_due(self) -> bool:
        step = self.progress.step
        return step > self.progress.evaluated_step and (step >= self.last_step or self._is_scheduled(step))

    def _is_scheduled(self, step: int) -> bool:
        """Whether a run of all --epochs evaluates after this step."""
        if step == planned_steps(self.config.optim, self.plan):
            return True
        if self.watched is None:
            return False
        if self.config.selection.eval_windows:
            return self._next_by_windows(step - 1) == step
        epochs, rest = divmod(step, self.plan.steps_per_epoch)
        return rest == 0 and bool(self.config.selection.eval_epochs and epochs % self.config.selection.eval_epochs == 0)

    def _next_by_windows(self, step: int) -> int:
        """The first step after `step` that ends another --eval_windows windows."""
        every = self.config.selection.eval_windows or 1
        return self.plan.steps_for((self.plan.windows_until(step) // every + 1) * every)

    def _evaluate(self) -> None:
        """Evaluate, record, keep the best, save.

        Where only --max_steps ends the run, last.pt is written before, and an earlier best.pt is set aside: a longer
        run that resumes from it must not know of an evaluation that it would not have made.
        """
        scheduled = self._is_scheduled(self.progress.step)
        if not scheduled:
            self.save()
        self._drain()
        self.progress.evaluated_step = self.progress.step
        improved, error = True, math.inf
        if self.watched is not None:
            evaluation = self.evaluate(self.watched)
            error = self.ranks.from_main(evaluation.scalars["mpjpe_mm"] if evaluation else None)
            improved = error < self.progress.best_mm
            if evaluation:
                self._report(evaluation, scheduled, improved)
        if improved:
            self.progress.best_mm, self.progress.best_step = error, self.progress.step
        with self.ranks.agree():
            if self.ranks.is_main and improved:
                if not scheduled and self.folder.best.exists():
                    self.folder.best.replace(self.folder.set_aside)
                checkpoint.save(self.folder.best, self.state())
        if scheduled:
            self.save()

    def evaluate(self, data: EvaluationSet) -> Evaluation | None:
        """The model as it is on an evaluation set: the evaluation on rank 0, None elsewhere."""
        with precision.full_precision():
            annotation, flip = self.data.cache.annotation, self.config.data.test_flip
            return evaluate(self.stepper.model, data, self.ranks, annotation=annotation, flip=flip)

    def _report(self, evaluation: Evaluation, scheduled: bool, improved: bool) -> None:
        assert self.watched is not None
        step, name = self.progress.step, self.watched.name
        marks = self.marks() | ({} if scheduled else {"unscheduled": True})
        self.log.record(name, step, evaluation.scalars, **marks)
        for kind, values in evaluation.benchmark.curves(evaluation.metrics).items():
            self.log.record(kind, step, values, **marks)
        self.log.record("train_epoch", step, self._means(self.progress.epoch), **marks)
        self.log.along(f"{name}/mpjpe_mm", evaluation.scalars["mpjpe_mm"], marks["windows"], marks["seconds"])
        self.log.figure(f"{name}/skeletons", skeleton_figure(evaluation), step)
        verdict = ", best so far" if improved else ""
        self.log.say(f"{self._place(format(marks['epoch'], '.2f'))}: {name} {evaluation.headline}{verdict}")
        self.log.flush()
        if self.config.run.export_training_curves:
            against = "windows" if self.config.optim.windows else "epoch"
            draw_training_curves(self.folder.metrics, self.folder.path / FILE_NAME, against)

    def marks(self) -> dict[str, float]:
        """Where the run is, for a line of metrics.jsonl: epochs, training windows, and seconds of training."""
        step, plan = self.progress.step, self.plan
        seconds = round(self.progress.seconds, 1)
        return {"epoch": step / plan.steps_per_epoch, "windows": plan.windows_until(step), "seconds": seconds}

    def _place(self, epoch: str) -> str:
        """Where the run is, in words: in training windows where --windows sets its length, else by `epoch`."""
        step = self.progress.step
        place = f"epoch {epoch}/{self.config.optim.epochs}"
        if windows := self.config.optim.windows:
            place = f"{min(self.plan.windows_until(step), windows):,}/{windows:,} windows"
        return f"step {step}/{self.last_step}, {place}"


def _seed(*counters: int) -> int:
    """A seed that no other counters share."""
    return int(np.random.SeedSequence(counters).generate_state(1, np.uint64)[0] >> np.uint64(1))
