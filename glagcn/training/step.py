"""One optimiser step on a global batch that is spread over ranks, in micro-batches."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor

from glagcn.config.config import OptimConfig
from glagcn.data.windows.plan import Share
from glagcn.data.windows.store import Batch
from glagcn.distributed import precision
from glagcn.distributed.ranks import Ranks
from glagcn.model.interface import Model
from glagcn.training.hardware.compiling import compiled, is_compiled, rehearsed
from glagcn.training.loss import Loss
from glagcn.training.optim.optimizers import build_optimizer, is_capturable, step_unless
from glagcn.training.statistics import RunningStatistics


class Stepper:
    """The model, its optimiser, and the step: the gradient of the mean loss over the global batch.

    sizes  of the micro-batches of a whole global batch: these are compiled where --compile says so.  Others, such as
           those of the last, smaller batch of an epoch, run eagerly.
    """

    def __init__(self, optim: OptimConfig, ranks: Ranks, model: Model, sizes: frozenset[int] = frozenset()) -> None:
        self.optim, self.ranks, self.model = optim, ranks, model.to(ranks.device)
        self.optimizer = build_optimizer(optim, self.model)
        self.statistics = RunningStatistics(self.model, ranks)
        self._trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        for parameter in self._trained:
            # Gradients are added up in place: a CUDA graph writes what it returns into the same memory every time.
            parameter.grad = torch.zeros_like(parameter)
        self.loss = Loss(self.model)
        weights = self.loss.weights(optim)
        self._weights = torch.tensor(weights, dtype=self._trained[0].dtype, device=ranks.device)
        self._exchanging: Any = ranks.exchanging(self.loss)
        self._sizes, self._compiles = sizes, bool(sizes) and is_compiled(optim, ranks.device)
        self._compiled = compiled(self._exchanging, optim, ranks.device) if self._compiles else self._exchanging
        self._rate = torch.zeros((), device=ranks.device)
        self._norm = torch.zeros((), device=ranks.device)
        self._stopped = torch.zeros((), device=ranks.device)  # 1 from the first gradient that is not finite
        self._taken = torch.zeros((), dtype=torch.float64, device=ranks.device)
        self._captures = self._compiles and ranks.device.type == "cuda" and is_capturable(self.optimizer)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = False

    def gradient(self, batch: Batch, share: Share, seed: Callable[[int], int] | None = None) -> Tensor:
        """Accumulate the gradient of this rank's micro-batches; -> [terms], its sums of the loss's terms.

        batch  the windows of `share`.
        seed   of the draws of dropout in a micro-batch, by its number in the global batch.
        """
        sums = torch.zeros(len(self.loss.terms), dtype=self._trained[0].dtype, device=self.ranks.device)
        begin = 0
        for number, size in enumerate(share.sizes):
            if seed:
                torch.manual_seed(seed(share.first + number))
            last = number == len(share.sizes) - 1
            with nullcontext() if last or self.ranks.world_size == 1 else self._exchanging.no_sync():
                part = Batch(batch.inputs[begin : begin + size], batch.targets[begin : begin + size])
                sums += self._micro_batch(part, share.count, share.counted)
            begin += size
        return sums

    def _micro_batch(self, batch: Batch, count: int, counted: bool) -> Tensor:
        """Add the gradient of a micro-batch of a global batch of `count` windows; -> [terms], its sums."""
        size = len(batch.inputs)
        self.statistics.weigh(size / count * counted)
        loss = self._exchanging
        if self._compiles and size in self._sizes:
            loss = self._compiled
            if self.ranks.device.type == "cuda":
                torch.compiler.cudagraph_mark_step_begin()
        with precision.autocast(self.optim.precision, self.ranks.device):
            sums = loss(*batch)
        # DDP averages over ranks; with this factor that is the mean over the global batch.
        mean = (sums * self._weights).sum() * (self.ranks.world_size * counted / count)
        # An infinite loss may have finite gradients; times NaN they tell every rank.
        (mean * (1 + 0 * mean.detach())).backward()
        return sums.detach() * counted

    def apply(self, rate: float) -> Tensor:
        """Clip, and step at learning rate `rate`; -> the gradient's norm, which the next step overwrites.

        From the first step whose norm is not finite nothing moves any more, which `steps_taken` tells.  The gradient
        is the same on every rank, and so is the answer.  Nothing in here waits for the device.
        """
        self.statistics.exchange()
        self._rate.fill_(rate)
        on_device = self.ranks.device.type == "cuda" and is_capturable(self.optimizer)
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
        """The step, from gradients and statistics that are there; all that a CUDA graph of it holds."""
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
        """Those of the trained weights.  Not to be kept: DDP puts views of its buckets in their place."""
        return [cast(Tensor, parameter.grad) for parameter in self._trained]

    def steps_taken(self) -> int:
        """How many calls of `apply` have moved the weights.  Waits for the device."""
        return int(self._taken)

    def rehearse(self, batch: Batch, share: Share) -> str | None:
        """Compile, and let DDP arrange its buckets, on a batch that leaves no trace; -> why compiling failed, or None.

        Raises torch.OutOfMemoryError, on all ranks, where the memory of one GPU runs out.
        DDP arranges them after its first backward pass, and with three or more ranks the arrangement decides the order
        of additions: a resumed run must start with the settled one to repeat bit for bit.
        """
        self.model.train()
        problem = None
        if self._compiles or self.ranks.device.type == "cuda":
            problem = rehearsed(lambda: self._rehearse_sizes(batch), self.ranks)
        if problem:
            self._compiles = self._captures = False
        if self.ranks.world_size > 1:
            self.gradient(batch, share)
        self._forget()
        return problem

    def _rehearse_sizes(self, batch: Batch) -> None:
        """Run a micro-batch of every compiled size, made of the windows of `batch`, repeated."""
        for size in sorted(self._sizes):
            rows = torch.arange(size, device=self.ranks.device) % len(batch.inputs)
            part = Batch(batch.inputs[rows], batch.targets[rows])
            with nullcontext() if self.ranks.world_size == 1 else self._exchanging.no_sync():
                self._micro_batch(part, size, counted=True)

    def _forget(self) -> None:
        """Leave no gradient and no statistics behind."""
        torch._foreach_zero_(self._gradients())
        self.statistics.forget()
