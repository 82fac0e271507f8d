"""The interface of a model: what training, evaluation and lifting know of it."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from inspect import signature
from math import prod
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.utils import flop_counter

from glagcn.errors import UserError
from glagcn.model.widths import target_frame
from glagcn.skeletons import Skeleton, get_skeleton


def without_compiler(function: Any) -> None:
    """Let a function of PyTorch work without importing its compiler, which takes nearly two seconds at every start.

    It imports it to keep itself out of compiled functions.  Here only the loss is compiled, and so the function stands
    for the version that the compiler leaves alone.  Nothing is done where this PyTorch has no such function.
    """
    plain = getattr(function, "__wrapped__", None)
    if plain is not None and not hasattr(plain, "__dynamo_disable"):
        setattr(plain, "__dynamo_disable", plain)  # see torch/_compile.py


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
    frame     the axes of input and output: "camera" or "ray" (poses.ray).  It is set after the model is built.

    A subclass needs `forward`, and a constructor with `skeleton` and keywords named like options
    (config.options.ModelConfig), stored as attributes of the same names.  The other members then have defaults.
    """

    constant: ClassVar[tuple[str, ...]] = ()
    skeleton: Skeleton
    frames: int
    causal: bool = False
    input: str = "xy"
    frame: str = "camera"

    @abstractmethod
    def forward(self, x: Tensor) -> Prediction:
        """Normalised 2D poses [N,T,input joints,C] to a Prediction in metres.  See `check_input`."""

    @classmethod
    def build(cls, skeleton: Skeleton, options: Any) -> Self:
        """Build the model from options (config.options.ModelConfig).  Raises UserError for a bad combination."""
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
        names = {"architecture": "widths"} | {name: name for name in ("frames", "channels", "causal", "input", "frame")}
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

    def predict_sequence(self, x: Tensor) -> Tensor:
        """The poses [n,V,3] of the target frames of all windows of normalised 2D poses [n-1+T,input joints,C], metres.

        The model must be in eval mode.  By default, and up to rounding, these are the targets of `forward` for each
        window; a subclass may compute once what windows share, and then says with `sequence_map` how much that is.
        """
        return self(x.unfold(0, self.frames, 1).permute(0, 3, 1, 2)).target[:, 0]

    @property
    def sequence_map(self) -> int:
        """The size in numbers of the largest feature map in `predict_sequence`, of each frame."""
        return self.map_size

    def flops(self) -> int:
        """Floating-point operations (two per multiply-add) of convolutions and matrix products for one window.

        This is how papers count.  A copy lifts a window on the CPU: the meta device would load PyTorch's compiler.
        """
        without_compiler(getattr(getattr(flop_counter, "_FlopCounterMode", None), "__torch_dispatch__", None))
        shadow = copy.deepcopy(self).cpu().eval()
        window = torch.zeros(1, *self.window_shape, dtype=self.dtype)
        with torch.no_grad(), flop_counter.FlopCounterMode(display=False) as counter:
            shadow(window)
        return counter.get_total_flops()

    @property
    def map_size(self) -> int:
        """The size in numbers of the largest feature map of one window."""
        return prod(self.window_shape)

    def __repr__(self) -> str:
        """One line; `print(list(model.modules()))` shows the layers."""
        weights = sum(weight.numel() for weight in self.parameters())
        axes = f", frame {self.frame}" if self.frame != "camera" else ""
        causal = ", causal" if self.causal else ""
        return (
            f"{type(self).__name__}({self.skeleton.name}, {self.frames} frames{causal}, input {self.input}{axes}, "
            f"{weights:,} weights, {self.device})"
        )

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
            raise UserError(f"the model reads a tensor of {self.dtype}, found {found}; convert it first")
        expected = self.window_shape
        if x.dim() != 4 or tuple(x.shape[1:]) != expected:
            channels = "x and y" if self.input == "xy" else "x, y and confidence"
            raise UserError(
                f"the model reads windows of shape [N, {', '.join(map(str, expected))}] (frames, joints of "
                f"{self.skeleton.name}, {channels}), found {list(x.shape)}"
            )
