"""Dropout of feature maps."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glagcn.model import host

RESOLUTION = 1 << 16


class Dropout(nn.Dropout):
    """nn.Dropout for feature maps [N,C,V,T]; the same distribution, several times as fast on a CPU.

    PyTorch draws one random number per value there, which took a fifth of a training step; here one 64-bit number
    decides over four values.  The probability is rounded to a 65536th, and what is kept is scaled accordingly.
    `after_norm` and `after_relu` join dropout with the operation before it, to save passes over the map.
    """

    def forward(self, x: Tensor) -> Tensor:
        """A feature map with about the share p of its values 0, the others scaled up; x itself in eval mode."""
        if not self._on_host(x):
            return super().forward(x)
        return host.Drop.apply(x.clone(), *self._draw(x), self._scale())

    def after_norm(self, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
        """Dropout of norm(x), where `host.serves` x: the scale goes into the norm's weights."""
        if not self._on_host(x):
            return super().forward(norm(x))
        if norm.training:
            norm.num_batches_tracked.add_(1)
        weight, bias = norm.weight * self._scale(), norm.bias * self._scale()
        mean, variance = norm.running_mean, norm.running_var
        normalised = F.batch_norm(x, mean, variance, weight, bias, norm.training, norm.momentum, norm.eps)
        return host.Drop.apply(normalised, *self._draw(x), 1.0)

    def after_relu(self, x: Tensor) -> Tensor:
        """Dropout of ReLU(x), in x's own memory where it can."""
        if not self._on_host(x):
            return super().forward(F.relu_(x))
        return host.ReluDrop.apply(x, *self._draw(x), self._scale())

    def _on_host(self, x: Tensor) -> bool:
        return host.serves(x) and self.training and 0 < self.p < 1

    def _dropped(self) -> int:
        """How many of RESOLUTION values are dropped."""
        return min(round(self.p * RESOLUTION), RESOLUTION - 1)

    def _scale(self) -> float:
        return RESOLUTION / (RESOLUTION - self._dropped())

    def _draw(self, x: Tensor) -> tuple[Tensor, float]:
        """Random numbers laid out as x is, and what those have to exceed whose values are kept."""
        n, c, v, t = x.shape
        # SFC64 draws four times as fast as PyTorch; its seed comes from there, so that a run can be repeated.
        generator = np.random.SFC64(int(torch.randint(2**63 - 1, ())))
        draws = torch.from_numpy(generator.random_raw(-(-x.numel() // 4)).view(np.int16))
        draws = draws[: x.numel()].to(x.dtype).view(n, v, t, c).permute(0, 3, 1, 2)
        return draws, float(self._dropped() - RESOLUTION // 2) - 0.5
