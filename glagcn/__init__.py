"""GLA-GCN: training and exact evaluation of a graph convolutional network that lifts 2D to 3D human poses.

The public names are resolved when they are first used, so that `glagcn --help` does not import torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["load_model", "metrics", "predict"]

_HOMES = {
    "load_model": "glagcn.engine.inference",
    "predict": "glagcn.engine.inference",
    "metrics": "glagcn.engine.metrics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'glagcn' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    return home if name == "metrics" else getattr(home, name)
