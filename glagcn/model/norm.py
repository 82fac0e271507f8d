"""BatchNorm that can accumulate its running statistics over the micro-batches of a step."""

import torch
from torch import Tensor, nn


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """nn.BatchNorm over the channels of [N,C,...], with the same weights and state.

    `forward` takes the bias of the previous layer instead of a map with the bias added.  In training, subtracting the
    batch mean cancels the bias, so that only the running mean needs it.

    By default it updates the running statistics after every batch, like nn.BatchNorm.  After `accumulate` it adds the
    statistics of every batch, times `share`, to `batch_mean` and `batch_var`; the trainer updates the running
    statistics with their sums over a step (`RunningStatistics`).
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float
    share: Tensor
    batch_mean: Tensor
    batch_var: Tensor

    def accumulate(self, share: Tensor) -> None:
        """Accumulate the statistics of batches from now on.

        share  a scalar tensor on the device: the fraction of a step's windows in the next batch.
        """
        self.register_buffer("share", share, persistent=False)
        self.register_buffer("batch_mean", torch.zeros_like(self.running_mean), persistent=False)
        self.register_buffer("batch_var", torch.zeros_like(self.running_var), persistent=False)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """The normalised x + bias: [N,C,...] to [N,C,...] in the type of x."""
        if not self.training:
            mean = self.running_mean if bias is None else self.running_mean - bias
            return nn.functional.batch_norm(x, mean, self.running_var, self.weight, self.bias, eps=self.eps)
        normalise = torch.ops.aten._native_batch_norm_legit.no_stats
        result, mean, inverse = normalise(x, self.weight, self.bias, True, 0.0, self.eps)
        self._observe(mean if bias is None else mean + bias, inverse.pow(-2) - self.eps, x.numel() // x.shape[1])
        return result

    @torch.no_grad()
    def _observe(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Record the mean [C] and biased variance [C] of a batch with `count` numbers per channel."""
        variance = variance * (count / max(1, count - 1))
        if hasattr(self, "share"):
            self.batch_mean.addcmul_(mean, self.share.to(mean.dtype))
            self.batch_var.addcmul_(variance, self.share.to(variance.dtype))
        else:
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)

    def layer_bias(self, bias: Tensor) -> Tensor | None:  # noqa: ARG002
        """The bias that the previous layer must add itself: None, because `forward` handles it."""
        return None

    def _check_input_dim(self, x: Tensor) -> None:
        """Accept any number of dimensions."""


class Folded(nn.Module):
    """Replaces a BatchNorm that is folded into the previous layer; does nothing."""

    def layer_bias(self, bias: Tensor) -> Tensor | None:
        """The bias that the previous layer must add itself: all of it."""
        return bias

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return x."""
        return x
