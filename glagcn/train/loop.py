"""What happens in a training run, in one file: the optimiser step, then the loop around it.

`Stepper.gradient` and `Stepper.apply` are one step on a global batch, split over ranks and micro-batches.
`Trainer.run` is the loop: plan the batches, step, log, save, evaluate.  What resuming needs is one value (`state_of`).
"""

import logging
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial, reduce
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from torch import Tensor

from glagcn import dist, signals
from glagcn.checkpoints import ours as checkpoint
from glagcn.config.options import Config, OptimConfig
from glagcn.data.plan import Share
from glagcn.data.windows import Batch
from glagcn.errors import UserError
from glagcn.evaluate.evaluate import Evaluation, EvaluationSet, evaluate
from glagcn.files import WriteError
from glagcn.model.cores import full_precision
from glagcn.model.interface import Model
from glagcn.model.layers import BatchNorm
from glagcn.train import hardware, optim
from glagcn.train.log import RunLog
from glagcn.train.loss import Loss
from glagcn.train.reports import TrainingReports
from glagcn.train.resume import State, Sums, is_over, restore, state_of
from glagcn.train.run_folder import RunFolder
from glagcn.train.setup import RunData

logger = logging.getLogger(__name__)

FIRST_SAVE_S = 45.0  # the first save is early, in case the cluster preempts the job soon after its start
SECONDS_BETWEEN_CHECKS = 1.0  # between all-reduces that ask whether to save or to stop
MOST_STEPS_BETWEEN_CHECKS = 100


class Stepper:
    """Model and optimiser, and the step on the gradient of the mean loss over the global batch.

    BatchNorm's running statistics change once per step, by the mean over its micro-batches, weighted by windows.  So
    they are equal on all ranks and do not depend on the number of ranks.

    sizes  the micro-batch sizes of a full global batch, which --compile compiles.  Other sizes, such as those of the
           smaller last batch of an epoch, run eagerly.
    """

    def __init__(self, config: OptimConfig, model: Model, sizes: frozenset[int] = frozenset()) -> None:
        device = dist.device()
        self.config, self.model = config, model.to(device)
        self.optimizer = optim.build_optimizer(config, self.model)
        norms = [module for module in self.model.modules() if isinstance(module, BatchNorm)]
        self._share = torch.zeros((), device=device)  # of the next micro-batch in its global batch
        for norm in norms:
            norm.accumulate(self._share)
        self._running = [value for norm in norms for value in (norm.running_mean, norm.running_var)]
        self._batches = [value for norm in norms for value in (norm.batch_mean, norm.batch_var)]
        self._momenta = [torch.zeros_like(value) for value in self._running]
        self._counts = [norm.num_batches_tracked for norm in norms]
        self._trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        for parameter in self._trained:
            # Gradients accumulate in place: a CUDA graph needs the same memory in every step.
            parameter.grad = torch.zeros_like(parameter)
        self.loss = Loss(self.model)
        self._weights = torch.tensor(self.loss.weights(config), dtype=self._trained[0].dtype, device=device)
        self._exchanging: Any = dist.exchanging(self.loss)
        self._sizes, self._compiles = sizes, bool(sizes) and hardware.is_compiled(config, device)
        self._compiled = hardware.compiled(self._exchanging, config, device) if self._compiles else self._exchanging
        # `_stopped` is 1 from the first gradient that is not finite.
        self._rate, self._norm, self._stopped = (torch.zeros((), device=device) for _ in range(3))
        self._taken = torch.zeros((), dtype=torch.float64, device=device)
        self._captures = self._compiles and device.type == "cuda" and optim.is_capturable(self.optimizer)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = False

    def set_momentum(self, momentum: float) -> None:
        """Set the weight of a step in the running statistics of BatchNorm."""
        for each in self._momenta:
            each.fill_(momentum)

    def gradient(self, batch: Batch, mine: Share, seed: Callable[[int], int] | None = None) -> Tensor:
        """Accumulate the gradient of this rank's micro-batches.  Returns the rank's summed loss terms [terms].

        batch  the windows of the share `mine`.
        seed   the dropout seed of a micro-batch, from its number in the global batch; None leaves the seed alone.
        """
        sums, begin = torch.zeros(len(self.loss.terms), dtype=self._trained[0].dtype, device=dist.device()), 0
        for number, size in enumerate(mine.sizes):
            if seed:
                torch.manual_seed(seed(mine.first + number))
            exchanges = dist.world_size() == 1 or number == len(mine.sizes) - 1
            with nullcontext() if exchanges else self._exchanging.no_sync():
                sums += self._micro_batch(batch.part(slice(begin, begin + size)), mine.count, mine.has_windows)
            begin += size
        return sums

    def _micro_batch(self, batch: Batch, count: int, counted: bool) -> Tensor:
        """Add the gradient of one micro-batch of a global batch of `count` windows.  Returns its summed loss terms."""
        size = len(batch.inputs)
        self._share.fill_(size / count * counted)
        loss = self._exchanging
        if self._compiles and size in self._sizes:
            loss = self._compiled
            if dist.device().type == "cuda":
                torch.compiler.cudagraph_mark_step_begin()
        with hardware.autocast(self.config.precision, dist.device()):
            sums = loss(batch.inputs, batch.targets)
        # DDP averages over ranks; this factor makes the result the mean over the global batch.
        mean = (sums * self._weights).sum() * (dist.world_size() * counted / count)
        # An infinite loss may have finite gradients; this factor is then NaN, which reaches all ranks.
        (mean * (1 + 0 * mean.detach())).backward()
        return sums.detach() * counted

    def apply(self, rate: float) -> Tensor:
        """Clip the gradient and step at learning rate `rate`.  Returns the gradient norm; the next step overwrites it.

        After the first gradient that is not finite, all steps are skipped; `steps_taken` counts the others.  All ranks
        have the same gradient, so they skip the same steps.  Does not wait for the device.
        """
        dist.add_up(self._batches)
        self._rate.fill_(rate)
        on_device = dist.device().type == "cuda" and optim.is_capturable(self.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate if on_device else rate
        if self._captures and self._warm and self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._update()
        self._graph.replay() if self._graph else self._update()
        self._warm = True
        for group in self.optimizer.param_groups:
            group["lr"] = rate  # a plain number for checkpoints
        return self._norm

    def _update(self) -> None:
        """The part of the step that a CUDA graph captures: norm, clipping, optimiser and running statistics."""
        self._norm.copy_(torch.nn.utils.get_total_norm(self._gradients()))
        self._stopped.copy_(torch.maximum(self._stopped, (~torch.isfinite(self._norm)).float()))
        taken = 1 - self._stopped
        self._taken += taken
        if self.config.clip:
            torch.nn.utils.clip_grads_with_norm_(self._trained, self.config.clip, self._norm)
        if self.config.weight_decay:
            decayed = [weights.detach() for weights in self._trained if weights.dim() > 1]
            torch._foreach_mul_(decayed, 1 - taken * self._rate * self.config.weight_decay)
        optim.step_unless(self._stopped, self.optimizer)
        if self._batches:
            # NaN times a momentum of zero is NaN: a skipped step must select the old values.
            pairs = zip(self._batches, self._running, strict=True)
            targets = [torch.where(taken > 0, batch, running) for batch, running in pairs]
            torch._foreach_lerp_(self._running, targets, self._momenta)
            torch._foreach_add_(self._counts, [taken.long()] * len(self._counts))
        self.clear()

    def clear(self) -> None:
        """Clear gradients and batch statistics."""
        if self._batches:
            torch._foreach_zero_(self._batches)
        torch._foreach_zero_(self._gradients())

    def _gradients(self) -> list[Tensor]:
        """The gradients of the trained weights.  Do not keep the list: DDP replaces them by views of its buckets."""
        return [cast(Tensor, parameter.grad) for parameter in self._trained]

    def steps_taken(self) -> int:
        """The number of calls of `apply` that changed the weights.  Waits for the device."""
        return int(self._taken)

    def rehearse(self, batch: Batch, mine: Share) -> str | None:
        """Compile, and let DDP build its buckets, on a trial step that changes no state.

        Returns why compilation failed, else None.  Raises UserError on all ranks if one runs out of memory.
        DDP rebuilds its buckets after the first backward pass.  With three or more ranks the buckets decide the order
        of additions, so a resumed run must start with the rebuilt ones to repeat bit for bit.
        """

        def every_size() -> None:
            for size in sorted(self._sizes):
                rows = torch.arange(size, device=dist.device()) % len(batch.inputs)
                with nullcontext() if dist.world_size() == 1 else self._exchanging.no_sync():
                    self._micro_batch(batch.part(rows), size, counted=True)

        self.model.train()
        problem, tries = None, self._compiles or dist.device().type == "cuda"
        with hardware.out_of_memory(max(mine.sizes)):
            if tries and (problem := hardware.rehearsed(every_size)):
                self._compiles = self._captures = False
            if dist.world_size() > 1:
                self.gradient(batch, mine)
        self.clear()
        return problem


class Trainer:
    """One run on this rank, new or resumed from `state`, the content of a checkpoint."""

    def __init__(
        self, config: Config, data: RunData, model: Model, folder: RunFolder, log: RunLog, state: State | None = None
    ) -> None:
        self.config, self.data, self.plan, self.folder, self.log = config, data, data.plan, folder, log
        self.stepper = Stepper(config.optim, model, optim.step_sizes(config.optim, data.plan))
        self.average = optim.WeightAverage(config.optim.ema, self.stepper.model)
        self.progress = restore(state, self.stepper.model, self.stepper.optimizer, self.average)
        self.last_step = optim.last_step(config.optim, data.plan)
        self.selection_set = {"validation": data.validation, "test": data.test}.get(config.selection.select_on)
        terms, rows = len(self.stepper.loss.names), min(config.run.log_steps, self.last_step)
        self._rows = torch.zeros(rows, terms, dtype=torch.float64, device=dist.device())  # the loss sums of steps
        self._num_rows = self._failed_saves = self._next_check = 0  # since the last drain; in a row; a step
        self._first_step = self._checked_step = self.progress.step
        self._checked_at = now = time.monotonic()
        self._save_at = now + min(FIRST_SAVE_S, 60 * (config.run.save_minutes or 0))
        self.reports = TrainingReports(config, data, self.stepper.loss, self.progress, log)

    def rehearse(self) -> None:
        """Run a trial step; it may be interrupted without losing work."""
        mine = optim.own_share(self.config.optim, self.plan, 0)
        first = self.data.train.windows(self.plan.batch(0, 0).part(mine.begin, mine.end))
        if problem := self.stepper.rehearse(first, mine):
            logger.warning(f"torch.compile failed ({problem}); the run goes on without, slower. --compile off skips it")
        self.progress.threads = hardware.best_threads(lambda: self.stepper.gradient(first, mine), self.progress.threads)
        self.stepper.clear()

    def run(self) -> None:
        """Train to the last step.  On a stop signal, save the state and raise Stopped on all ranks."""
        if self.progress.step == 0:
            self.save()  # a run folder must have a checkpoint
        self.log.start_progress(self.progress.step, self.last_step)
        try:
            while True:
                step, run = self.progress.step, self.config.run
                scheduled = step > 0 and optim.next_evaluation(self.config, self.plan, step - 1) == step
                if step > self.progress.evaluated_step and (scheduled or step >= self.last_step):
                    self._evaluate(scheduled)
                epochs, rest = divmod(step, self.plan.steps_per_epoch)
                if run.checkpoint_frequency and epochs and rest == 0 and epochs % run.checkpoint_frequency == 0:
                    self._write(self.folder.epoch(epochs))
                    if run.keep and dist.is_main():
                        self.folder.prune_epochs(run.keep)
                if is_over(self.config, self.plan, self.progress):
                    return
                self._train_segment()
        except signals.Stopped as request:
            self.save(now_or_never=True)
            at = f"step {self.progress.step} of {self.last_step}"
            logger.info(f"Stopped by {request.signal} at {at}; the state is saved, and this command resumes the run")
            raise

    def _train_segment(self) -> None:
        """Train to the end of the epoch or run, or to the next evaluation within the epoch."""
        config, plan, stepper = self.config.optim, self.plan, self.stepper
        epoch, begin = divmod(self.progress.step, plan.steps_per_epoch)
        stop = min(self.last_step, optim.next_evaluation(self.config, plan, self.progress.step))
        end = min(plan.steps_per_epoch, begin + stop - self.progress.step)
        shares = {index: optim.own_share(config, plan, index) for index in range(begin, end)}
        windows = (plan.batch(epoch, index).part(mine.begin, mine.end) for index, mine in shares.items())
        stepper.model.train()
        stepper.set_momentum(optim.bn_momentum(config, plan, epoch))
        self.reports.restart_clock(count=False)
        try:
            for index, batch in enumerate(self.data.train.stream(windows, reuse=True), begin):
                mine, rate = shares[index], optim.learning_rate(config, plan, self.progress.step)
                with hardware.out_of_memory(max(mine.sizes)), hardware.threads(self.progress.threads):
                    sums = stepper.gradient(batch, mine, partial(optim.dropout_seed, config.seed, epoch, index))
                    norm = stepper.apply(rate)
                self._rows[self._num_rows] = sums
                self._num_rows += 1
                self.progress.step += 1
                self.average.update(self.progress.step)
                self.reports.windows += mine.count
                self._after_step(rate, norm)
        finally:
            self.reports.restart_clock()

    def _after_step(self, rate: float, norm: Tensor) -> None:
        """Log, check and save.  Raises Stopped on all ranks, after the same step, if any received a signal."""
        step, run = self.progress.step, self.config.run
        if step % run.log_steps == 0:
            self._drain()
            self.reports.log_interval(rate, float(norm))
        dist.report_step(step)
        if run.check_replicas and step % run.check_replicas == 0:
            hardware.check_replicas(self.stepper.model, step)
        self.log.advance()
        self.reports.log_slow_step()
        if run.save_steps and step % run.save_steps == 0:
            self.save()
        if step < self._next_check:
            return
        now = time.monotonic()
        is_due = bool(run.save_minutes) and now >= self._save_at
        each = (now - self._checked_at) / (step - self._checked_step)
        number, due, pace = dist.largest([signals.requested(), is_due, each])
        if number:
            raise signals.Stopped(int(number), agreed=True)
        if due:
            self.save()
        steps = round(SECONDS_BETWEEN_CHECKS / max(pace, 1e-6)) if dist.world_size() > 1 else 1
        self._checked_at, self._checked_step = time.monotonic(), step
        self._next_check = step + min(max(steps, 1), MOST_STEPS_BETWEEN_CHECKS)

    def save(self, *, now_or_never: bool = False) -> None:
        """Write last.pt and keep the one before as last.pt.1.  All ranks must call it at the same step.

        now_or_never  raise WriteError if the write fails, not only after --save_attempts failures in a row.
        """
        self._write(self.folder.last, self.folder.keep_previous, now_or_never=now_or_never)
        self._save_at = time.monotonic() + 60 * (self.config.run.save_minutes or 0)

    def _write(self, path: Path, prepare: Callable[[], None] | None = None, *, now_or_never: bool = False) -> bool:
        """Write the state to `path`, after calling `prepare` on rank 0.  Returns on every rank whether it succeeded."""
        self._drain()
        written = True
        with dist.agree():
            if dist.is_main():
                if not all(torch.isfinite(weights).all() for weights in self.stepper.model.parameters()):
                    self._fail(f"the weights after step {self.progress.step} are not finite, so they were not saved")
                model, optimizer = self.stepper.model, self.stepper.optimizer
                state = state_of(self.config, self.data, model, optimizer, self.average, self.progress)
                try:
                    if prepare:
                        prepare()
                    checkpoint.save(path, state)
                    self._failed_saves = 0
                except WriteError as error:
                    written = False
                    self._failed_saves += 1
                    attempts = self.config.run.save_attempts
                    if now_or_never or self._failed_saves >= attempts:
                        raise
                    logger.warning(f"{error}. Attempt {self._failed_saves} of {attempts}; training continues")
        return dist.from_main(written)

    def _drain(self) -> None:
        """Add the losses of the newest steps, of all ranks, to `progress`.  Raises UserError if one was not finite."""
        taken = self._first_step + self.stepper.steps_taken()
        if taken < self.progress.step:
            epoch, index = divmod(taken, self.plan.steps_per_epoch)
            where = f"step {taken + 1} (batch {index + 1} of epoch {epoch + 1})"
            self._fail(f"the loss or gradient of {where} is not finite, so the step was not taken")
        # Rank by rank: torch.sum adds in an order that depends on the number of rows, which a stop changes.
        totals = reduce(torch.add, dist.gather(self._rows[: self._num_rows]))
        for step, row in enumerate(totals.tolist(), self.progress.step - self._num_rows):
            if step % self.plan.steps_per_epoch == 0:
                self.progress.epoch = Sums()
            windows = self.plan.windows_until(step + 1) - self.plan.windows_until(step)
            for sums in (self.progress.interval, self.progress.epoch):
                sums.add(windows, dict(zip(self.stepper.loss.names, row, strict=True)))
        self._num_rows = 0

    def _fail(self, problem: str) -> NoReturn:
        """Raise UserError, with the last good checkpoint and what to do."""
        last = f"the last good checkpoint is {self.folder.last}" if self.folder.last.exists() else "no checkpoint yet"
        raise UserError(
            f"{problem}; {last}. The same command resumes there and comes to the same step. Lower --lr, set --clip, or "
            "look for bad values in the data; torch.autograd.set_detect_anomaly(True) names the operation"
        )

    def evaluate(self, data: EvaluationSet) -> Evaluation | None:
        """Evaluate the current model.  Returns the evaluation on rank 0, None on the other ranks."""
        with full_precision():
            cache, flip = self.data.cache, self.config.data.test_flip
            return evaluate(self.stepper.model, data, annotation=cache.annotation, flip=flip)

    def _evaluate(self, scheduled: bool) -> None:
        """Evaluate, log, update best.pt and save.

        scheduled  False if only --max_steps, which ends the run here, makes the evaluation.  Then last.pt is written
                   before and best.pt backed up: a longer run that resumes must not depend on such an evaluation.
        """
        if not scheduled:
            self.save()
        self._drain()
        progress, data, error, improved = self.progress, self.selection_set, math.inf, True
        with self.average.in_model():
            evaluation = self.evaluate(data) if data else None
        progress.evaluated_step = progress.step  # not before: a stopped evaluation is repeated
        if data:
            error = dist.from_main(evaluation.scalars["mpjpe_mm"] if evaluation else None)
            improved = error < progress.best_mm
            progress.stale = 0 if improved else progress.stale + scheduled
            if evaluation:
                if data is self.data.test:
                    self.folder.remember("test", progress.step)
                self.reports.log_evaluation(evaluation, data, scheduled, improved)
        if improved:
            before = progress.best_mm, progress.best_step
            progress.best_mm, progress.best_step = error, progress.step
            if not self._write(self.folder.best, None if scheduled else self.folder.back_up_best):
                progress.best_mm, progress.best_step = before
                if dist.is_main() and not scheduled:
                    self.folder.restore_best()
        if scheduled:
            self.save()
