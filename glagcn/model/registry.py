"""The models of --model.  This module does not import torch, so that flags are checked without delay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from glagcn.errors import UserError
from glagcn.model.widths import check_widths

if TYPE_CHECKING:  # it needs torch
    from glagcn.model.interface import Model


def check_strides(options: Any) -> None:
    """Raise UserError unless the filter widths are valid and their product is --frames."""
    check_widths(options.widths, options.frames)


@dataclass(frozen=True)
class ModelKind:
    """One kind of model.  `label` and `check` take its options, a config.options.ModelConfig."""

    title: str  # name in text
    location: str  # "module:class" of its Model, imported when a model is built
    options: tuple[str, ...] | None  # keys of the options that it reads, so that flags of others are refused; None: all
    label: Callable[[Any], str]  # the model's part of the run folder name
    check: Callable[[Any], None] = lambda options: None  # noqa: ARG005  # raises UserError for options that do not fit

    def load(self) -> type[Model]:
        """Import and return the class."""
        module, name = self.location.split(":")
        return getattr(import_module(module), name)


INPUTS = ("xy", "xyc")  # a letter for each input channel: x, y and the confidence
FRAMES = ("camera", "ray")  # the axes of input and output: those of the camera, or of poses.ray

# fmt: off
MODELS: dict[str, ModelKind] = {
    "gla_gcn": ModelKind(
        "GLA-GCN", "glagcn.model.gla_gcn.network:LiftingNetwork", None,
        label=lambda options: f"{options.head}{options.sequence_layers}", check=check_strides,
    ),
    "temporal_conv": ModelKind(
        "VideoPose3D's temporal convolutions", "glagcn.model.temporal_conv:TemporalConv",
        ("model", "frames", "architecture", "channels", "causal", "input", "frame", "relative_input",
         "dropout"),
        label=lambda options: "temporalconv", check=check_strides,  # noqa: ARG005
    ),
}
# fmt: on
ENSEMBLE = "ensemble"  # no choice of --model: it is made of trained models
KINDS = MODELS | {
    ENSEMBLE: ModelKind(
        "mean of several models", "glagcn.model.ensemble:Ensemble", None, label=lambda options: ENSEMBLE,  # noqa: ARG005
    ),
}  # fmt: skip


def get_kind(name: str) -> ModelKind:
    """The kind called `name`.  Raises UserError that lists the known names."""
    if name not in KINDS:
        raise UserError(f"unknown model {name!r}; must be one of {', '.join(KINDS)}")
    return KINDS[name]


def name_of(model: Model) -> str:
    """The name of a model's kind.  Raises KeyError if its class is not registered."""
    location = f"{type(model).__module__}:{type(model).__name__}"
    return {kind.location: name for name, kind in KINDS.items()}[location]


def model_config(model: Model) -> dict[str, Any]:
    """The plain values from which from_config builds this model again, as stored in checkpoints."""
    return {"kind": name_of(model)} | model.config() | {"frame": model.frame}


def from_config(config: Mapping[str, Any]) -> Model:
    """The model described by model_config, with fresh weights.  An entry without a kind is a GLA-GCN (first version).

    Raises UserError for an unknown, missing or invalid entry.
    """
    rest = dict(config)
    try:
        frame = rest.pop("frame", "camera")  # files of earlier versions have none
        if frame not in FRAMES:
            raise UserError(f"unknown frame {frame!r}: must be one of {', '.join(FRAMES)}")
        model = get_kind(rest.pop("kind", "gla_gcn")).load().from_config(rest)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"model configuration {dict(config)}: missing or unknown entry ({error})") from error
    model.frame = frame
    return model
