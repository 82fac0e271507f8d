"""GLA-GCN: training and exact evaluation of a graph convolutional network that lifts 2D to 3D human poses.

The public names are resolved when they are first used, so that `glagcn --help` does not import torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from glagcn.version import __version__ as __version__

MODULES = {
    "Lifter": "glagcn.api",
    "Poses": "glagcn.poses.result",
    "UserError": "glagcn.errors",
    "lift": "glagcn.commands.lift",
    "load_model": "glagcn.checkpoints.load",
    "predict": "glagcn.api",
}
VERBS = ("evaluate", "train")  # functions of glagcn.api, and packages
__all__ = sorted([*MODULES, *VERBS, "metrics", "__version__"])


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in ("metrics", *VERBS):
        return import_module(f"glagcn.{name}")
    if name in MODULES:
        return getattr(import_module(MODULES[name]), name)
    raise AttributeError(f"module 'glagcn' has no attribute {name!r}")


class _Verb(ModuleType):
    """A package that can be called: glagcn.train holds what training needs, and glagcn.train(...) trains."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._function(*arguments, **options)

    @property
    def _function(self) -> Any:
        return getattr(import_module("glagcn.api"), self.__name__.removeprefix("glagcn."))

    @property
    def __signature__(self) -> Any:
        return self._function.__signature__

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        return self._function.__doc__


class _Package(ModuleType):
    """This package: the import of a subpackage binds its name here, and must not hide the function of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in VERBS and type(value) is ModuleType:
            value.__class__ = _Verb
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
