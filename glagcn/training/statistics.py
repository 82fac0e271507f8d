"""The running statistics of every BatchNorm, the same on every rank and for any number of ranks."""

import torch
from torch import Tensor, nn

from glagcn.distributed.ranks import Ranks
from glagcn.model.norm import BatchNorm


class RunningStatistics:
    """Updates them once a step, with the mean of the statistics of the step's micro-batches, weighted by windows.

    `weigh` before every micro-batch; after the last one `exchange`, and `update`, which a CUDA graph may hold.
    """

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
        self._ranks = ranks
        self._share = torch.zeros((), device=ranks.device)
        for norm in norms:
            norm.accumulate(self._share)
        self._running = [value for norm in norms for value in (norm.running_mean, norm.running_var)]
        self._batches = [value for norm in norms for value in (norm.batch_mean, norm.batch_var)]
        self._momenta = [torch.zeros_like(value) for value in self._running]
        self._counts = [norm.num_batches_tracked for norm in norms]

    def set_momentum(self, momentum: float) -> None:
        """How much of a step enters the running statistics."""
        for each in self._momenta:
            each.fill_(momentum)

    def weigh(self, share: float) -> None:
        """The next micro-batch is this part of a step."""
        self._share.fill_(share)

    def exchange(self) -> None:
        """Add up the statistics of all ranks."""
        if self._batches:  # a model may have no BatchNorm
            self._ranks.add_up(self._batches)

    def update(self, taken: Tensor) -> None:
        """Move the running statistics towards those of the step, and forget the step.

        taken  a number on the device: 1 where the step counts, 0 where it was left out.
        """
        if self._batches:
            torch._foreach_lerp_(self._running, self._batches, self._momenta)
            torch._foreach_add_(self._counts, [taken.long()] * len(self._counts))
        self.forget()

    def forget(self) -> None:
        """Drop the statistics since the last update."""
        if self._batches:
            torch._foreach_zero_(self._batches)
