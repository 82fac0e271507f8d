"""The training loop: train to the next evaluation, evaluate, save; and the state that resuming needs."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, NoReturn

import numpy as np
import torch

from glagcn.config.config import Config
from glagcn.config.resolve import to_dict
from glagcn.distributed import precision, stop
from glagcn.distributed.ranks import Ranks
from glagcn.errors import UserError
from glagcn.evaluation.evaluate import Evaluation, EvaluationSet, evaluate
from glagcn.model.interface import Model
from glagcn.model.registry import model_config
from glagcn.runs.curves import FILE_NAME, draw_training_curves
from glagcn.runs.folder import RunFolder
from glagcn.runs.log import RunLog
from glagcn.training.cadence import Cadence
from glagcn.training.hardware.speed import run_speed
from glagcn.training.optim.schedule import bn_momentum, learning_rate, step_sizes
from glagcn.training.progress import Progress
from glagcn.training.rehearsal import out_of_memory, rehearse
from glagcn.training.reporting.accounts import Accounts
from glagcn.training.saver import Saver
from glagcn.training.setup import RunData
from glagcn.training.step import Stepper


class Trainer:
    """One run on this rank, from its start or from `state`, the content of a checkpoint of it.  `run` trains it."""

    def __init__(
        self,
        config: Config,
        ranks: Ranks,
        data: RunData,
        model: Model,
        folder: RunFolder,
        log: RunLog,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.ranks, self.data, self.folder, self.log = config, ranks, data, folder, log
        self.stepper = Stepper(config.optim, ranks, model, step_sizes(config.optim, data.plan))
        self.progress = Progress.of(state["progress"]) if state else Progress()
        if state:
            self.stepper.model.load_state_dict(state["model"])
            self.stepper.optimizer.load_state_dict(state["optimizer"])
        self.cadence = Cadence(config, data.plan, ranks.rank, ranks.world_size)
        # What is evaluated during training and chooses best.pt; None where the last state is the result.
        self.watched = {"validation": data.validation, "test": data.test, "last": None}[config.selection.select_on]
        speed = run_speed(config, ranks, data.plan, self.stepper.model, log.say)
        self.accounts = Accounts(config, ranks, self.cadence, self.stepper.loss, self.progress, log, speed)
        self._first_step = self.progress.step
        self.saver = Saver(config.run, ranks, folder, log.say, self._drain, self.state, self.progress.step)

    def rehearse(self) -> None:
        """What comes before the first step; nothing is lost if it is interrupted."""
        first = self.data.train.windows(self.cadence.windows(0, 0))
        rehearse(self.stepper, first, self.cadence.share(0), self.log.say)

    def run(self) -> None:
        """Train to the last step.  Raises Stopped, on all ranks and with the state saved, if one was asked to stop."""
        if self.progress.step == 0:
            self.saver.save()  # a folder without a checkpoint holds no run
        self.log.start_progress(self.progress.step, self.cadence.last_step)
        try:
            self._train()
        except stop.Stopped as request:
            self.saver.save(now_or_never=True)
            self.log.say(
                f"Stopped by {request.signal} at step {self.progress.step} of {self.cadence.last_step}; the state is "
                "saved, and the same command goes on from it"
            )
            raise

    def _train(self) -> None:
        while True:
            if self.progress.step > self.progress.evaluated_step and self.cadence.evaluates(self.progress.step):
                self._evaluate()
            if epoch := self.cadence.kept_epoch(self.progress.step):
                self.saver.keep(self.folder.epoch(epoch))
            if self.progress.step >= self.cadence.last_step:
                return
            self._train_stretch()

    def _train_stretch(self) -> None:
        """The steps from here to the end of the epoch or of the run, or to an evaluation within the epoch."""
        optim, cadence = self.config.optim, self.cadence
        epoch, begin, end = cadence.stretch(self.progress.step)
        self.stepper.model.train()
        self.stepper.statistics.set_momentum(bn_momentum(optim, cadence.plan, epoch))
        self.accounts.restart_clock(count=False)
        batches = self.data.train.stream((cadence.windows(epoch, index) for index in range(begin, end)), reuse=True)
        try:
            for index, batch in enumerate(batches, begin):
                mine, seed = cadence.share(index), partial(_seed, optim.seed, epoch, index)  # of dropout
                rate = learning_rate(optim, cadence.plan, self.progress.step)
                with out_of_memory(max(mine.sizes)):
                    sums = self.stepper.gradient(batch, mine, seed)
                    norm = self.stepper.apply(rate)
                self.progress.step += 1
                self.accounts.add(sums)
                self._after_step(rate, norm)
        finally:
            self.accounts.restart_clock()

    def _after_step(self, rate: float, norm: torch.Tensor) -> None:
        if self.progress.step % self.config.run.log_steps == 0:
            self._drain()
            self.accounts.log_interval(rate, float(norm))
        self.log.advance()
        self.accounts.tick(rate, self.stepper.steps_taken)
        self.saver.after_step(self.progress.step)

    def _drain(self) -> None:
        """Bring the sums of `progress` up to its step; refuse to go on if a step since the last time was not taken."""
        good = self._first_step + self.stepper.steps_taken()
        if good < self.progress.step:
            self._refuse(f"the loss or gradient of step {good + 1} is not finite, so the step was not taken")
        self.accounts.drain()

    def _refuse(self, what: str) -> NoReturn:
        good = f"the last good checkpoint is {self.folder.last}" if self.folder.last.exists() else "no checkpoint yet"
        raise UserError(f"{what}; {good}. Lower --lr, set --clip, or look for bad values in the data")

    # ------------------------------------------------------------ checkpoints

    def state(self) -> dict[str, Any]:
        """The content of a checkpoint.  The accounts must be drained.

        Raises UserError where weights are not finite: such a checkpoint must not replace one that is good.
        """
        if not all(torch.isfinite(weights).all() for weights in self.stepper.model.parameters()):
            self._refuse(f"the weights after step {self.progress.step} are not finite, so they were not saved")
        return {
            "config": to_dict(self.config),
            "model_config": model_config(self.stepper.model),
            "model": self.stepper.model.state_dict(),
            "optimizer": self.stepper.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "num_windows": self.data.plan.num_windows,
            "data_fingerprint": self.data.cache.fingerprint,
        }

    # ------------------------------------------------------------ evaluation

    def evaluate(self, data: EvaluationSet) -> Evaluation | None:
        """The model as it is on an evaluation set: the evaluation on rank 0, None elsewhere."""
        with precision.full_precision():
            annotation, flip = self.data.cache.annotation, self.config.data.test_flip
            return evaluate(self.stepper.model, data, self.ranks, annotation=annotation, flip=flip)

    def _evaluate(self) -> None:
        """Evaluate, record, keep the best, save.

        Where only --max_steps ends the run, last.pt is written before, and an earlier best.pt is set aside: a longer
        run that resumes from it must not know of an evaluation that it would not have made.
        """
        scheduled = self.cadence.is_scheduled(self.progress.step)
        if not scheduled:
            self.saver.save()
        self._drain()
        improved, error = True, math.inf
        evaluation = None if self.watched is None else self.evaluate(self.watched)
        self.progress.evaluated_step = self.progress.step  # only now: it may be stopped, and is made again then
        if self.watched is not None:
            error = self.ranks.from_main(evaluation.scalars["mpjpe_mm"] if evaluation else None)
            improved = error < self.progress.best_mm
            if evaluation:
                self.accounts.log_evaluation(evaluation, self.watched.name, scheduled, improved)
                self._draw_curves()
        if improved:
            self._keep_best(error, scheduled)
        if scheduled:
            self.saver.save()

    def _keep_best(self, error: float, scheduled: bool) -> None:
        """Write best.pt; where that fails for now, the best stays what it was."""
        before = self.progress.best_mm, self.progress.best_step
        self.progress.best_mm, self.progress.best_step = error, self.progress.step
        if not self.saver.keep(self.folder.best, None if scheduled else self.folder.set_best_aside):
            self.progress.best_mm, self.progress.best_step = before

    def _draw_curves(self) -> None:
        if self.config.run.export_training_curves:
            against = "windows" if self.config.optim.windows else "epoch"
            draw_training_curves(self.folder.metrics, self.folder.path / FILE_NAME, against)


def _seed(*counters: int) -> int:
    """A seed that no other counters share."""
    return int(np.random.SeedSequence(counters).generate_state(1, np.uint64)[0] >> np.uint64(1))
