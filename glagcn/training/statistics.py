"""BatchNorm running statistics that are equal on all ranks and do not depend on the number of ranks."""

import torch
from torch import Tensor, nn

from glagcn import dist
from glagcn.model.norm import BatchNorm


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
