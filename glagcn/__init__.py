"""GLA-GCN: training and exact evaluation of a graph convolutional network that lifts 2D to 3D human poses.

The public names are resolved when they are first used, so that `glagcn --help` does not import torch.
"""

from importlib import import_module
from typing import Any

from glagcn.version import __version__

MODULES = {
    "Lifter": "glagcn.api",
    "Poses": "glagcn.poses.result",
    "UserError": "glagcn.errors",
    "lift": "glagcn.commands.lift",
    "load_model": "glagcn.checkpoints.load",
    "predict": "glagcn.api",
}
__all__ = ["Lifter", "Poses", "UserError", "__version__", "lift", "load_model", "metrics", "predict"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return import_module("glagcn.metrics")
    if name in MODULES:
        return getattr(import_module(MODULES[name]), name)
    raise AttributeError(f"module 'glagcn' has no attribute {name!r}")
