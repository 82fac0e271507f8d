"""The roofline lower bound of a model: the operations and bytes that no implementation can avoid, and their time.

    seconds = max(operations / peak of a matrix product, bytes / peak of a copy)

The backward pass needs twice the operations (gradients of inputs and of weights) and moves twice the numbers (every map
again, and its gradient).  The optimiser, Adam with amsgrad, reads and writes 9 numbers per weight, and the gradient is
written once.
"""

from dataclasses import dataclass
from math import prod

from glagcn.model.interface import Model

OPTIMISER_NUMBERS = 10  # per weight: read weight, gradient, 3 moments; write weight, 3 moments; and the gradient once
BACKWARD = 2  # times the forward pass


@dataclass(frozen=True)
class Peaks:
    """Measured peak rates of the machine, for the threads of one process or the GPU.

    flops  floating-point operations per second of a large matrix product in the training precision.
    bytes  bytes per second read and written by a copy much larger than the caches.
    """

    flops: float
    bytes: float


@dataclass(frozen=True)
class Cost:
    """The minimum floating-point operations and bytes moved for some work."""

    flops: int
    bytes: int

    def seconds(self, peaks: Peaks) -> float:
        """The minimum time at these peaks."""
        return max(self.flops / peaks.flops, self.bytes / peaks.bytes)


def training_cost(model: Model, windows: int, number_bytes: int = 4) -> Cost:
    """The cost of one optimiser step on `windows` windows, with feature maps of `number_bytes` (bfloat16: 2)."""
    weights = sum(weight.numel() for weight in model.parameters())
    flops, numbers = model.floor(training=True)
    return Cost(
        flops=(1 + BACKWARD) * flops * windows,
        bytes=(1 + BACKWARD) * numbers * windows * number_bytes + OPTIMISER_NUMBERS * 4 * weights,
    )


def evaluation_cost(model: Model, windows: int, flip: bool) -> Cost:
    """The cost of lifting `windows` windows in float32, with `flip` also their mirror images."""
    flops, numbers = model.for_prediction().floor(training=False)
    lifted = windows * (2 if flip else 1)
    return Cost(flops=flops * lifted, bytes=numbers * lifted * 4)


def input_cost(model: Model, windows: int) -> Cost:
    """The cost of making `windows` windows: every number of inputs and targets is read and written once."""
    numbers = prod(model.window_shape) + model.frames * 3 * model.skeleton.num_joints
    return Cost(flops=0, bytes=2 * 4 * windows * numbers)
