"""Presets: option values of each recipe, and the caps of --debug.

Each data set adds its own presets (data.dataset): those of the published scripts and of our recipe.
"""

from typing import Any

from glagcn.data.dataset import DataSet
from glagcn.errors import UserError

GRAPHS = ("h36m", "humaneva15_tree", "humaneva15", "humaneva15_coco17")

# fmt: off
_NO_AUGMENTATION = {"turn": 0.0, "tilt": 0.0, "roll": 0.0, "distance": 0.0}
RECIPES: dict[str, dict[str, Any]] = {
    "tuned": {
        "optimizer": "muon", "schedule": "linear", "lr": None, "lr_final": 1e-5, "bn_momentum_final": 0.1,
        "select_on": "validation", "relative_input": True, "dropout": 0.0, **_NO_AUGMENTATION,
        "batch_size": None, "warmup": None,  # depend on the length of the run
    },
    "published": {"warmup": 0, "select_on": "test", "relative_input": False, "dropout": 0.1, **_NO_AUGMENTATION},
}

DEBUG_CAPS: dict[str, Any] = {
    "channels": 16, "sequence_layers": 1, "batch_size": 64, "epochs": 1, "max_steps": 20, "warmup": 320, "log_steps": 5,
    "test_frames": 256, "validation_frames": 256,
}
# fmt: on


def preset(dataset: DataSet, recipe: str | None = None) -> dict[str, Any]:
    """The presets of a data set and recipe; None: its default recipe.  Raises UserError if it has no such recipe."""
    recipe = dataset.presets["recipe"] if recipe is None else recipe
    if recipe not in dataset.recipes:
        raise UserError(
            f"invalid --recipe {recipe}: must be {' or '.join(dataset.recipes)} for --dataset {dataset.name}"
        )
    return {**dataset.presets, **RECIPES[recipe], **dataset.recipes[recipe]}


def tuned_rate(channels: int) -> float:
    """The learning rate of the tuned recipe, for Muon; lower for wide models (docs/recipe.md)."""
    return 16e-3 if channels <= 128 else 4e-3
