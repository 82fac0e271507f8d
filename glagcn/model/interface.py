"""The interface of a model."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from inspect import signature
from math import prod
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from glagcn.errors import UserError
from glagcn.model.widths import target_frame
from glagcn.skeletons import Skeleton, get_skeleton

# ---- BatchNorm that can accumulate its running statistics over the micro-batches of a step.


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


# ---- Dropout of feature maps.


NUM_LEVELS = 1 << 16  # values of a random number


class Dropout(nn.Dropout):
    """nn.Dropout for feature maps [N,C,T,V], several times as fast on a CPU.

    On a CPU, PyTorch draws one random number per value, which took a fifth of a training step.  Here one 64-bit number
    serves four values.  The probability is rounded to a multiple of 1/65536, and kept values are scaled to match.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The map with values set to 0 with probability p and the others scaled up; x itself in eval mode."""
        if x.device.type != "cpu" or torch.compiler.is_compiling() or not self.training or not 0 < self.p < 1:
            return super().forward(x)
        dropped = min(round(self.p * NUM_LEVELS), NUM_LEVELS - 1)
        # The seed comes from PyTorch, so that runs are reproducible.
        generator = np.random.SFC64(int(torch.randint(2**63 - 1, ())))
        draws = torch.from_numpy(generator.random_raw(-(-x.numel() // 4)).view(np.int16))[: x.numel()]
        n, c, t, v = x.shape
        kept = draws.view(n, t, v, c).permute(0, 3, 1, 2) >= dropped - NUM_LEVELS // 2  # in the memory order of x
        return x * kept.to(x.dtype).mul_(NUM_LEVELS / (NUM_LEVELS - dropped))


# ---- The interface of a model.


MAX_CHANNELS, MAX_FRAMES = 1 << 14, 3**8  # a checkpoint with more is damaged


class Prediction(NamedTuple):
    """The output of a model, in metres relative to the root."""

    target: Tensor  # [N,1,V,3], the target frame: the centre frame, or the last frame of a causal model
    sequence: Tensor | None  # [N,T,V,3], all frames of the window; None if the model predicts the target frame only


class Model(nn.Module, ABC):
    """A network that lifts windows of T 2D poses to the 3D pose of a target frame.

    To add a model, write a subclass and add it to the registry.  Code outside glagcn.model uses these members only.

    constant  names of buffers that are not weights; those in a checkpoint must equal the model's own.
    skeleton  joint set of input and output.
    frames    T.
    causal    the target frame is the last frame of a window, not its centre frame.
    input     the C input channels, "xy" or "xyc" (see PoseInput).

    A subclass needs `forward`, and a constructor with `skeleton` and keywords named like options
    (config.config.ModelConfig), stored as attributes of the same names.  The other members then have defaults.
    """

    constant: ClassVar[tuple[str, ...]] = ()
    skeleton: Skeleton
    frames: int
    causal: bool = False
    input: str = "xy"

    @abstractmethod
    def forward(self, x: Tensor) -> Prediction:
        """Normalised 2D poses [N,T,input joints,C] to a Prediction in metres.  See `check_input`."""

    @classmethod
    def build(cls, skeleton: Skeleton, options: Any) -> Self:
        """Build the model from options (config.config.ModelConfig).  Raises UserError for a bad combination."""
        return cls(skeleton, **{name: getattr(options, name) for name in cls._form()})  # type: ignore[call-arg]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build the model from `config`.  Raises UserError, KeyError or TypeError for invalid entries."""
        rest = dict(config)
        return cls(get_skeleton(rest.pop("skeleton")), **rest)  # type: ignore[call-arg]

    def config(self) -> dict[str, Any]:
        """The plain values from which from_config builds this model again, as stored in checkpoints."""
        form = {name: getattr(self, name) for name in self._form()}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in form.items()}
        return {"skeleton": self.skeleton.name} | plain

    def options(self) -> Mapping[str, Any]:
        """The options of this model by key, to compare with flags."""
        names = {"architecture": "widths"} | {name: name for name in ("frames", "channels", "causal", "input")}
        return {key: getattr(self, name) for key, name in names.items() if hasattr(self, name)}

    @classmethod
    def _form(cls) -> list[str]:
        """The names of the constructor's arguments, without the skeleton."""
        return [name for name in signature(cls).parameters if name != "skeleton"]

    def initialise(self, recipe: str, mean_pose: Tensor) -> None:  # by default, keep the layers' own initialisation
        """Initialise for a recipe; with "tuned", predictions are near `mean_pose` [V,3] (metres, root-relative)."""

    def output_weights(self) -> Iterator[Tensor]:
        """The weights of output layers, whose rows are coordinates instead of features."""
        yield from ()

    def flops(self) -> int:
        """Floating-point operations (two per multiply-add) of convolutions and matrix products for one window.

        This is how papers count.  The model runs on the meta device, so nothing is computed.
        """
        shadow = copy.deepcopy(self).to("meta").eval()
        window = torch.empty(1, *self.window_shape, device="meta", dtype=self.dtype)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            shadow(window)
        return counter.get_total_flops()

    @property
    def map_size(self) -> int:
        """The size in numbers of the largest feature map of one window."""
        return prod(self.window_shape)

    def describe(self) -> str:
        """A short description for the summary of a run."""
        return f"{self.frames} frames"

    @property
    def predicts_sequence(self) -> bool:
        """Whether predictions include all frames of the window."""
        return False

    def for_prediction(self) -> "Model":
        """A copy in eval mode with the same `target` up to rounding; a subclass may make it faster."""
        return copy.deepcopy(self).eval()

    @property
    def window_shape(self) -> tuple[int, int, int]:
        """The shape (T, input joints, C) of an input window."""
        return self.frames, self.skeleton.num_input_joints, len(self.input)

    @property
    def target_frame(self) -> int:
        """The frame of a window, counted from 0, whose pose is predicted: see widths.target_frame."""
        return target_frame(self.frames, self.causal)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights and of the input."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of the weights and of the input."""
        return next(self.parameters()).device

    def check_input(self, x: Tensor) -> None:
        """Raise UserError unless x is a tensor with the type, frames and joints of this model."""
        if not isinstance(x, Tensor) or x.dtype != self.dtype:
            found = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else f"{type(x).__name__}"
            raise UserError(
                f"the model reads a tensor of {self.dtype}, found {found}; convert it first, e.g. x.float()"
            )
        expected = self.window_shape
        if x.dim() != 4 or tuple(x.shape[1:]) != expected:
            channels = "x and y" if self.input == "xy" else "x, y and confidence"
            raise UserError(
                f"the model reads windows of shape [N, {', '.join(map(str, expected))}] (frames, joints of "
                f"{self.skeleton.name}, {channels}), found {list(x.shape)}"
            )


def check_size(channels: int, frames: int) -> None:
    """Raise UserError unless channels and frames are in the allowed range."""
    for flag, value, most in (("--channel", channels, MAX_CHANNELS), ("--frames", frames, MAX_FRAMES)):
        if not isinstance(value, int) or not 1 <= value <= most:
            raise UserError(f"invalid {flag} {value}: must be a number from 1 to {most}")


def check_mean_pose(skeleton: Skeleton, mean_pose: Tensor) -> None:
    """Raise ValueError unless the mean pose is [V,3]."""
    expected = (skeleton.num_joints, 3)
    if tuple(mean_pose.shape) != expected:
        raise ValueError(f"mean pose of shape {tuple(mean_pose.shape)}; expected {expected} for {skeleton.name}")
