"""One optimiser step on a global batch, split over ranks and micro-batches."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from glagcn import dist
from glagcn.config.options import OptimConfig
from glagcn.data.plan import Share
from glagcn.data.windows import Batch
from glagcn.model.interface import Model
from glagcn.model.layers import BatchNorm
from glagcn.train import hardware as precision
from glagcn.train.hardware import compiled, is_compiled, rehearsed
from glagcn.train.loss import Loss
from glagcn.train.optim import build_optimizer, is_capturable, step_unless

# ---- BatchNorm running statistics that are equal on all ranks and do not depend on the number of ranks.


class RunningStatistics:
    """Updates the running statistics once per step, with the mean over its micro-batches, weighted by windows.

    Call `weigh` before every micro-batch, and `exchange` and `update` after the last one.  A CUDA graph may capture
    `update`.
    """

    def __init__(self, model: nn.Module) -> None:
        norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
        self._share = torch.zeros((), device=dist.device())
        for norm in norms:
            norm.accumulate(self._share)
        self._running = [value for norm in norms for value in (norm.running_mean, norm.running_var)]
        self._batches = [value for norm in norms for value in (norm.batch_mean, norm.batch_var)]
        self._momenta = [torch.zeros_like(value) for value in self._running]
        self._counts = [norm.num_batches_tracked for norm in norms]

    def set_momentum(self, momentum: float) -> None:
        """Set the momentum: the weight of a step in the running statistics."""
        for each in self._momenta:
            each.fill_(momentum)

    def weigh(self, share: float) -> None:
        """Set the share of the next micro-batch in its global batch."""
        self._share.fill_(share)

    def exchange(self) -> None:
        """Sum the statistics of the step over all ranks."""
        if self._batches:  # a model may have no BatchNorm
            dist.add_up(self._batches)

    def update(self, taken: Tensor) -> None:
        """Update the running statistics from those of the step, then clear the latter.

        taken  a scalar on the device: 1 if the step was taken, 0 if it was skipped, which leaves them as they are.
        """
        if self._batches:
            # NaN times a momentum of zero is NaN: a skipped step must select the old values.
            pairs = zip(self._batches, self._running, strict=True)
            targets = [torch.where(taken > 0, batch, running) for batch, running in pairs]
            torch._foreach_lerp_(self._running, targets, self._momenta)
            torch._foreach_add_(self._counts, [taken.long()] * len(self._counts))
        self.forget()

    def forget(self) -> None:
        """Clear the statistics of the step."""
        if self._batches:
            torch._foreach_zero_(self._batches)


# ---- One optimiser step on a global batch, split over ranks and micro-batches.


class Stepper:
    """Model and optimiser, and the step on the gradient of the mean loss over the global batch.

    sizes  the micro-batch sizes of a full global batch, which --compile compiles.  Other sizes, such as those of the
           smaller last batch of an epoch, run eagerly.
    """

    def __init__(self, optim: OptimConfig, model: Model, sizes: frozenset[int] = frozenset()) -> None:
        self.optim, self.model = optim, model.to(dist.device())
        self.optimizer = build_optimizer(optim, self.model)
        self.statistics = RunningStatistics(self.model)
        self._trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        for parameter in self._trained:
            # Gradients accumulate in place: a CUDA graph needs the same memory in every step.
            parameter.grad = torch.zeros_like(parameter)
        self.loss = Loss(self.model)
        weights = self.loss.weights(optim)
        self._weights = torch.tensor(weights, dtype=self._trained[0].dtype, device=dist.device())
        self._exchanging: Any = dist.exchanging(self.loss)
        self._sizes, self._compiles = sizes, bool(sizes) and is_compiled(optim, dist.device())
        self._compiled = compiled(self._exchanging, optim, dist.device()) if self._compiles else self._exchanging
        self._rate = torch.zeros((), device=dist.device())
        self._norm = torch.zeros((), device=dist.device())
        self._stopped = torch.zeros((), device=dist.device())  # 1 from the first gradient that is not finite
        self._taken = torch.zeros((), dtype=torch.float64, device=dist.device())
        self._captures = self._compiles and dist.device().type == "cuda" and is_capturable(self.optimizer)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = False

    def gradient(self, batch: Batch, share: Share, seed: Callable[[int], int] | None = None) -> Tensor:
        """Accumulate the gradient of this rank's micro-batches.  Returns the rank's summed loss terms [terms].

        batch  the windows of `share`.
        seed   the dropout seed of a micro-batch, from its number in the global batch; None leaves the seed alone.
        """
        sums = torch.zeros(len(self.loss.terms), dtype=self._trained[0].dtype, device=dist.device())
        begin = 0
        for number, size in enumerate(share.sizes):
            if seed:
                torch.manual_seed(seed(share.first + number))
            last = number == len(share.sizes) - 1
            with nullcontext() if last or dist.world_size() == 1 else self._exchanging.no_sync():
                part = Batch(batch.inputs[begin : begin + size], batch.targets[begin : begin + size])
                sums += self._micro_batch(part, share.count, share.has_windows)
            begin += size
        return sums

    def _micro_batch(self, batch: Batch, count: int, counted: bool) -> Tensor:
        """Add the gradient of one micro-batch of a global batch of `count` windows.  Returns its summed loss terms."""
        size = len(batch.inputs)
        self.statistics.weigh(size / count * counted)
        loss = self._exchanging
        if self._compiles and size in self._sizes:
            loss = self._compiled
            if dist.device().type == "cuda":
                torch.compiler.cudagraph_mark_step_begin()
        with precision.autocast(self.optim.precision, dist.device()):
            sums = loss(*batch)
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
        self.statistics.exchange()
        self._rate.fill_(rate)
        on_device = dist.device().type == "cuda" and is_capturable(self.optimizer)
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
        gradients = self._gradients()
        self._norm.copy_(torch.nn.utils.get_total_norm(gradients))
        self._stopped.copy_(torch.maximum(self._stopped, (~torch.isfinite(self._norm)).float()))
        taken = 1 - self._stopped
        self._taken += taken
        if self.optim.clip:
            torch.nn.utils.clip_grads_with_norm_(self._trained, self.optim.clip, self._norm)
        step_unless(self._stopped, self.optimizer)
        self.statistics.update(taken)
        torch._foreach_zero_(gradients)

    def _gradients(self) -> list[Tensor]:
        """The gradients of the trained weights.  Do not keep the list: DDP replaces them by views of its buckets."""
        return [cast(Tensor, parameter.grad) for parameter in self._trained]

    def steps_taken(self) -> int:
        """The number of calls of `apply` that changed the weights.  Waits for the device."""
        return int(self._taken)

    def rehearse(self, batch: Batch, share: Share) -> str | None:
        """Compile, and let DDP build its buckets, on a trial step that changes no state.

        Returns why compilation failed, else None.  Raises torch.OutOfMemoryError on all ranks if one is out of memory.
        DDP rebuilds its buckets after the first backward pass.  With three or more ranks the buckets decide the order
        of additions, so a resumed run must start with the rebuilt ones to repeat bit for bit.
        """
        self.model.train()
        problem = None
        if self._compiles or dist.device().type == "cuda":
            problem = rehearsed(lambda: self._rehearse_sizes(batch))
        if problem:
            self._compiles = self._captures = False
        if dist.world_size() > 1:
            self.gradient(batch, share)
        self._forget()
        return problem

    def _rehearse_sizes(self, batch: Batch) -> None:
        """Run a micro-batch of every compiled size, made by repeating the windows of `batch`."""
        for size in sorted(self._sizes):
            rows = torch.arange(size, device=dist.device()) % len(batch.inputs)
            part = Batch(batch.inputs[rows], batch.targets[rows])
            with nullcontext() if dist.world_size() == 1 else self._exchanging.no_sync():
                self._micro_batch(part, size, counted=True)

    def _forget(self) -> None:
        """Clear gradients and batch statistics."""
        torch._foreach_zero_(self._gradients())
        self.statistics.forget()
