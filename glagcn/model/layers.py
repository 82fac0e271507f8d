"""Layers for every model: the input layer, BatchNorm over the micro-batches of a step, and a fast dropout."""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from glagcn.skeletons import Skeleton

NUM_LEVELS = 1 << 16  # values of a random number of Dropout


class PoseInput(nn.Module):
    """Maps 2D poses of a skeleton's input joints to 2D poses of its V joints.  Has no weights.

    With a joint map, each of the V joints is the mean of some of the num_input_joints joints, as is its confidence.

    relative  make x and y of all joints except the root relative to the root: a joint moves little compared with the
              distance of the person from the image centre.
    input     "xy", or "xyc" with the confidence of a joint in [0, 1] as a third channel: 0 where it was not found and
              its place was filled in.
    """

    joint_map: Tensor | None
    others: Tensor

    def __init__(self, skeleton: Skeleton, relative: bool, input: str = "xy") -> None:
        super().__init__()
        self.root, self.relative = skeleton.root, relative
        joint_map = None  # [V,input joints]: the shares of input joints in each joint
        if skeleton.joint_map is not None:
            joint_map = torch.zeros(skeleton.num_joints, skeleton.num_input_joints)
            for joint, sources in enumerate(skeleton.joint_map):
                joint_map[joint, list(sources)] = 1 / len(sources)
        self.register_buffer("joint_map", joint_map, persistent=False)
        others = (torch.arange(skeleton.num_joints) != skeleton.root).float().view(-1, 1).repeat(1, len(input))
        others[:, 2:] = 0
        self.register_buffer("others", others, persistent=False)  # [V,C]: 1 for x, y of every joint except the root

    def forward(self, x: Tensor) -> Tensor:
        """[N,T,input joints,C] to [N,T,V,C], C = 2 or 3 channels."""
        if self.joint_map is not None:
            with without_autocast(x):  # autocast would round the input of this matrix product
                x = torch.einsum("vj,ntjc->ntvc", self.joint_map, x)
        if self.relative:
            x = x - x[:, :, self.root, None] * self.others
        return x


def without_autocast(x: Tensor) -> AbstractContextManager:
    """A context that disables autocast on the device of x, which must be float32 already."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if kind != "meta" and torch.is_autocast_enabled(kind) else nullcontext()


class BatchNorm(nn.BatchNorm2d):
    """nn.BatchNorm over the channels of [N,C,...], with the same weights and state.

    `forward` takes the bias of the previous layer instead of a map with the bias added.  In training, subtracting the
    batch mean cancels the bias, so that only the running mean needs it.

    By default it updates the running statistics after every batch, like nn.BatchNorm.  After `accumulate` it adds the
    statistics of every batch, times `share`, to `batch_mean` and `batch_var`; the trainer updates the running
    statistics with their sums over a step (`Stepper` in train/loop.py).
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
        result, mean, inverse = torch.native_batch_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps)
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


class Folded(nn.Module):
    """Replaces a BatchNorm that is folded into the previous layer; does nothing."""

    def layer_bias(self, bias: Tensor) -> Tensor | None:
        """The bias that the previous layer must add itself: all of it."""
        return bias

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return x."""
        return x


class Dropout(nn.Dropout):
    """nn.Dropout for feature maps [N,C,T,V] and rows [N,C], several times as fast on a CPU.

    On a CPU, PyTorch draws one random number per value, which took a fifth to a third of a training step.  Here one
    64-bit number serves four values.  The probability is rounded to a multiple of 1/65536, and kept values are scaled
    to match.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The map with values set to 0 with probability p and the others scaled up; x itself in eval mode."""
        if x.device.type != "cpu" or torch.compiler.is_compiling() or not self.training or not 0 < self.p < 1:
            return super().forward(x)
        dropped = min(round(self.p * NUM_LEVELS), NUM_LEVELS - 1)
        # The seed comes from PyTorch, so that runs are reproducible.
        generator = np.random.SFC64(int(torch.randint(2**63 - 1, ())))
        draws = torch.from_numpy(generator.random_raw(-(-x.numel() // 4)).view(np.int16))[: x.numel()]
        if x.dim() == 4:  # in the memory order of maps
            draws = draws.view(x.shape[0], *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2)
        kept = draws.reshape(x.shape) >= dropped - NUM_LEVELS // 2
        return x * kept.to(x.dtype).mul_(NUM_LEVELS / (NUM_LEVELS - dropped))
