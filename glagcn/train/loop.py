"""The training loop, and the state that a checkpoint stores."""

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, NoReturn

import torch

from glagcn import dist, signals
from glagcn.config.options import Config
from glagcn.config.resolve import to_dict
from glagcn.errors import UserError
from glagcn.evaluate.evaluate import Evaluation, EvaluationSet, evaluate
from glagcn.model.cores import full_precision
from glagcn.model.interface import Model
from glagcn.model.registry import model_config
from glagcn.train.cadence import Cadence
from glagcn.train.hardware import run_speed
from glagcn.train.log import RunLog
from glagcn.train.optim import bn_momentum, dropout_seed, learning_rate, step_sizes
from glagcn.train.progress import Progress
from glagcn.train.rehearsal import out_of_memory, rehearse
from glagcn.train.replicas import check_replicas
from glagcn.train.reports import Accounts, mean_pose_error
from glagcn.train.resume import restore_optimizer
from glagcn.train.run_folder import RunFolder
from glagcn.train.saver import Saver
from glagcn.train.setup import RunData
from glagcn.train.step import Stepper

logger = logging.getLogger(__name__)


class Trainer:
    """One run on this rank, new or resumed from `state`, the content of a checkpoint."""

    def __init__(
        self,
        config: Config,
        data: RunData,
        model: Model,
        folder: RunFolder,
        log: RunLog,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.data, self.folder, self.log = config, data, folder, log
        self.stepper = Stepper(config.optim, model, step_sizes(config.optim, data.plan))
        self.progress = Progress.of(state["progress"]) if state else Progress()
        if state:
            self.stepper.model.load_state_dict(state["model"])
            restore_optimizer(self.stepper.optimizer, state["optimizer"])
        self.cadence = Cadence(config, data.plan, dist.rank(), dist.world_size())
        # The set that selects best.pt; None: the last state is the result.
        sets = {"validation": data.validation, "test": data.test, "last": None}
        self.selection_set = sets[config.selection.select_on]
        speed = run_speed(config, data.plan, self.stepper.model)
        baseline = partial(mean_pose_error, data, self.selection_set or data.test)
        loss = self.stepper.loss
        self.accounts = Accounts(config, self.cadence, loss, self.progress, folder, log, speed, baseline)
        self._first_step = self.progress.step
        self.saver = Saver(config.run, folder, self._drain, self.state, self.progress.step)

    def rehearse(self) -> None:
        """Run a trial step; it may be interrupted without losing work."""
        first = self.data.train.windows(self.cadence.windows(0, 0))
        rehearse(self.stepper, first, self.cadence.share(0))

    def run(self) -> None:
        """Train to the last step.  On a stop signal, save the state and raise Stopped on all ranks."""
        if self.progress.step == 0:
            self.saver.save()  # a run folder must have a checkpoint
        self.log.start_progress(self.progress.step, self.cadence.last_step)
        try:
            self._train()
        except signals.Stopped as request:
            self.saver.save(now_or_never=True)
            logger.info(
                f"Stopped by {request.signal} at step {self.progress.step} of {self.cadence.last_step}; the state is "
                "saved, and the same command resumes the run"
            )
            raise

    def _train(self) -> None:
        while True:
            if self.progress.step > self.progress.evaluated_step and self.cadence.evaluates(self.progress.step):
                self._evaluate()
            if epoch := self.cadence.kept_epoch(self.progress.step):
                self.saver.keep_epoch(epoch)
            if self.progress.step >= self.cadence.last_step:
                return
            self._train_segment()

    def _train_segment(self) -> None:
        """Train to the end of the epoch or run, or to the next evaluation within the epoch."""
        optim, cadence = self.config.optim, self.cadence
        epoch, begin, end = cadence.segment(self.progress.step)
        self.stepper.model.train()
        self.stepper.statistics.set_momentum(bn_momentum(optim, cadence.plan, epoch))
        self.accounts.restart_clock(count=False)
        batches = self.data.train.stream((cadence.windows(epoch, index) for index in range(begin, end)), reuse=True)
        try:
            for index, batch in enumerate(batches, begin):
                mine, seed = cadence.share(index), partial(dropout_seed, optim.seed, epoch, index)
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
        dist.report_step(self.progress.step)
        if self.cadence.checks_replicas(self.progress.step):
            check_replicas(self.stepper.model, self.progress.step)
        self.log.advance()
        self.accounts.tick(rate, self.stepper.steps_taken)
        self.saver.after_step(self.progress.step)

    def _drain(self) -> None:
        """Update the sums of `progress`.  Raises UserError if a step was skipped because it was not finite."""
        taken = self._first_step + self.stepper.steps_taken()
        if taken < self.progress.step:
            epoch, index = divmod(taken, self.data.plan.steps_per_epoch)
            self._fail(
                f"the loss or gradient of step {taken + 1} (batch {index + 1} of epoch {epoch + 1}) is not finite, so "
                "the step was not taken"
            )
        self.accounts.drain()

    def _fail(self, problem: str) -> NoReturn:
        """Raise UserError, with the last good checkpoint and what to do."""
        last = f"the last good checkpoint is {self.folder.last}" if self.folder.last.exists() else "no checkpoint yet"
        raise UserError(
            f"{problem}; {last}. The same command resumes there and comes to the same step. Lower --lr, set --clip, or "
            "look for bad values in the data; torch.autograd.set_detect_anomaly(True) names the operation"
        )

    def state(self) -> dict[str, Any]:
        """The content of a checkpoint, after `_drain`.  Raises UserError if a weight is not finite."""
        if not all(torch.isfinite(weights).all() for weights in self.stepper.model.parameters()):
            self._fail(f"the weights after step {self.progress.step} are not finite, so they were not saved")
        return {
            "config": to_dict(self.config),
            "model_config": model_config(self.stepper.model),
            "model": self.stepper.model.state_dict(),
            "optimizer": self.stepper.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "num_windows": self.data.plan.num_windows,
            "data_fingerprint": self.data.cache.fingerprint,
        }

    def evaluate(self, data: EvaluationSet) -> Evaluation | None:
        """Evaluate the current model.  Returns the evaluation on rank 0, None on the other ranks."""
        with full_precision():
            annotation, flip = self.data.cache.annotation, self.config.data.test_flip
            return evaluate(self.stepper.model, data, annotation=annotation, flip=flip)

    def _evaluate(self) -> None:
        """Evaluate, log, update best.pt and save.

        If the evaluation happens only because --max_steps ends the run, last.pt is written before it and best.pt is
        backed up: a longer run that resumes here must not depend on an evaluation that it would not have made.
        """
        scheduled = self.cadence.is_scheduled(self.progress.step)
        if not scheduled:
            self.saver.save()
        self._drain()
        improved, error = True, math.inf
        evaluation = None if self.selection_set is None else self.evaluate(self.selection_set)
        self.progress.evaluated_step = self.progress.step  # not before: a stopped evaluation is repeated
        if self.selection_set is not None:
            error = dist.from_main(evaluation.scalars["mpjpe_mm"] if evaluation else None)
            improved = error < self.progress.best_mm
            if evaluation:
                self.accounts.log_evaluation(evaluation, self.selection_set.name, scheduled, improved)
        if improved:
            self._keep_best(error, scheduled)
        if scheduled:
            self.saver.save()

    def _keep_best(self, error: float, scheduled: bool) -> None:
        """Write best.pt; if that fails, the previous best is kept."""
        before = self.progress.best_mm, self.progress.best_step
        self.progress.best_mm, self.progress.best_step = error, self.progress.step
        if not self.saver.keep(self.folder.best, None if scheduled else self.folder.back_up_best):
            self.progress.best_mm, self.progress.best_step = before
            if dist.is_main() and not scheduled:
                self.folder.restore_best()
