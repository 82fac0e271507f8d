"""BatchNorm whose running statistics a trainer may gather over several batches."""

import torch
from torch import Tensor, nn


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """nn.BatchNorm over the channels of [N,C,...], with the same weights and the same state.

    The bias of the layer before it is given to `forward` instead of being added to the map: in training the batch mean
    takes it away again, so only the running mean has to know it.

    Used by itself it updates the running statistics after every batch, as nn.BatchNorm does.  After `accumulate` it
    adds the statistics of every batch, times `share`, to `batch_mean` and `batch_var` instead; the trainer puts the
    sums over all batches of a step into the running statistics (`RunningStatistics`).
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float
    share: Tensor
    batch_mean: Tensor
    batch_var: Tensor

    def accumulate(self, share: Tensor) -> None:
        """From now on add up what batches have.

        share  a number on the device: the part of a step that the next batch is.
        """
        self.register_buffer("share", share, persistent=False)
        self.register_buffer("batch_mean", torch.zeros_like(self.running_mean), persistent=False)
        self.register_buffer("batch_var", torch.zeros_like(self.running_var), persistent=False)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """x + bias, normalised: [N,C,...] to [N,C,...] in x's type."""
        if not self.training:
            mean = self.running_mean if bias is None else self.running_mean - bias
            return nn.functional.batch_norm(x, mean, self.running_var, self.weight, self.bias, eps=self.eps)
        normalise = torch.ops.aten._native_batch_norm_legit.no_stats
        result, mean, inverse = normalise(x, self.weight, self.bias, True, 0.0, self.eps)
        self._observe(mean if bias is None else mean + bias, inverse.pow(-2) - self.eps, x.numel() // x.shape[1])
        return result

    @torch.no_grad()
    def _observe(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Take note of a batch: mean [C] and biased variance [C] of `count` numbers a channel."""
        variance = variance * (count / max(1, count - 1))
        if hasattr(self, "share"):
            self.batch_mean.addcmul_(mean, self.share.to(mean.dtype))
            self.batch_var.addcmul_(variance, self.share.to(variance.dtype))
        else:
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)

    def left(self, bias: Tensor) -> Tensor | None:  # noqa: ARG002
        """What of its bias the layer before is left to add: nothing."""
        return None

    def _check_input_dim(self, x: Tensor) -> None:
        """Any number of dimensions will do."""


class Folded(nn.Module):
    """In place of a BatchNorm that is part of the layer before it: does nothing."""

    def left(self, bias: Tensor) -> Tensor | None:
        """What of its bias the layer before is left to add: all of it."""
        return bias

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """x itself."""
        return x
