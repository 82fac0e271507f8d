"""GLA-GCN: training and exact evaluation of a graph convolutional network that lifts 2D to 3D human poses.

The public names are resolved when they are first used, so that `glagcn --help` does not import torch.
"""

from importlib import import_module
from typing import Any

from glagcn.version import __version__

__all__ = ["Lifter", "UserError", "__version__", "load_model", "metrics", "predict"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return import_module("glagcn.metrics")
    if name == "load_model":
        return import_module("glagcn.checkpoints.load").load_model
    if name == "predict":
        return import_module("glagcn.poses.lift").predict
    if name == "Lifter":
        return import_module("glagcn.poses.live").Lifter
    if name == "UserError":
        return import_module("glagcn.errors").UserError
    raise AttributeError(f"module 'glagcn' has no attribute {name!r}")
