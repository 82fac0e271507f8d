"""Presets: the options that a data set and a recipe set, unless a flag does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glagcn.data.datasets import get_dataset
from glagcn.errors import UserError

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Preset:
    """The options of a data set."""

    recipe: str  # the default recipe
    options: Options  # for every recipe: all that have neither a default nor an entry in a recipe
    recipes: Mapping[str, Options]  # {recipe: options}; these override those of RECIPES


# fmt: off
NO_AUGMENTATION = {"turn": 0.0, "tilt": 0.0, "roll": 0.0, "distance": 0.0}
# For data whose 2D are projections of the 3D by known cameras.
CAMERA_TUNED = {"frame": "ray", "turn": 180.0, "tilt": 10.0, "roll": 5.0, "distance": 0.2}
# {recipe: options for all data sets}
RECIPES: dict[str, Options] = {
    "tuned": {
        "optimizer": "muon", "schedule": "linear", "lr": None, "lr_final": 1e-5, "bn_momentum_final": 0.1,
        "select_on": "validation", "relative_input": True, "dropout": 0.0, **NO_AUGMENTATION,
        "batch_size": None, "warmup": None,  # depend on the length of the run
    },
    "published": {"warmup": 0, "select_on": "test", "relative_input": False, "dropout": 0.1, **NO_AUGMENTATION},
}

# The published script divides its learning rate of 1e-3 by the world size: 1.25e-4 on eight GPUs.
PUBLISHED_3DHP = {
    "optimizer": "adam", "schedule": "steps", "lr": 1.25e-4, "lr_decay": 0.95, "lr_decay_large": 0.5,
    "large_decay_epoch": 5, "bn_momentum_final": 0.1,
}
PUBLISHED_H36M = {
    "optimizer": "ranger", "schedule": "cosine", "lr": 0.01, "lr_final": 1e-5, "bn_momentum_final": 0.001,
}
# `glagcn bench`: a small model and batch, with input and step of the published recipe.
BENCH = {
    "frames": 27, "channels": 32, "batch_size": 128, "optimizer": "adam", "relative_input": False, "dropout": 0.1,
    "frame": "camera", **NO_AUGMENTATION,
}
# All recorded people.
RECORDED = Preset("tuned", {
    "flip": "random", "test_flip": True, "frames": 27, "channels": 64, "sequence_layers": 1, "head": "unshared",
    "epochs": 3, "batch_size": None, "micro_batch": 64, "validation": ("S02",),
}, {"tuned": CAMERA_TUNED, "published": PUBLISHED_3DHP | {"batch_size": 1200}})
PRESETS: dict[str, Preset] = {
    # h36m and humaneva15: the defaults of the published scripts.  Their network has no sequence stage and a shared
    # head; flips in training and testing are off unless -da and -tta are given.  The micro-batch is the share of one
    # GPU: of two in the published h36m runs; assumed for humaneva15.  "tuned" has no camera augmentation, because not
    # every 2D source matches the projected 3D.
    "h36m": Preset("published", {
        "flip": "none", "test_flip": False, "frames": 243, "channels": 96, "sequence_layers": 0, "head": "shared",
        "epochs": 80, "batch_size": 512, "micro_batch": 256, "validation": ("S8",),
    }, {"tuned": {}, "published": PUBLISHED_H36M}),
    "humaneva15": Preset("published", {
        "flip": "none", "test_flip": False, "frames": 27, "channels": 96, "sequence_layers": 0, "head": "shared",
        "epochs": 1000, "batch_size": 1024, "micro_batch": 512, "actions": ("Walk", "Jog", "Box"),
        "graph": "humaneva15_tree", "validation": ("Train/S1/Box", "Train/S2/Walking", "Train/S3/Jog"),
    }, {"tuned": {}, "published": PUBLISHED_H36M}),
    # The published command uses 81 frames, 256 channels and 1,200 windows per step; its script uses 49 epochs and
    # flipped copies.  The micro-batch is the share of one of the eight GPUs of the published run.
    "3dhp": Preset("tuned", {
        "flip": "copy", "test_flip": True, "frames": 81, "channels": 256, "sequence_layers": 3, "head": "unshared",
        "epochs": 49, "batch_size": 1200, "micro_batch": 150, "validation": ("S4/Seq1", "S8/Seq2"),
    }, {"tuned": CAMERA_TUNED, "published": PUBLISHED_3DHP}),
    "mocap": RECORDED,
    "people": RECORDED,
    "demo": Preset("tuned", {
        "flip": "random", "test_flip": True, "frames": 27, "channels": 32, "sequence_layers": 1, "head": "unshared",
        "epochs": 2, "batch_size": 128, "micro_batch": 64, "log_steps": 10, "validation_frames": 400,
        "validation": ("S1",),
    }, {"tuned": CAMERA_TUNED | {"batch_size": 128, "warmup": 1000}, "published": PUBLISHED_3DHP}),
}

# fmt: on


def preset(name: str | None, recipe: str | None) -> dict[str, Any]:
    """The presets of a data set and recipe; None: h36m, and its default recipe.

    Raises UserError if there is no such data set, or it has no such recipe.
    """
    dataset = get_dataset(name or "h36m")
    own = PRESETS[dataset.name]
    recipe = own.recipe if recipe is None else recipe
    if recipe not in own.recipes:
        raise UserError(f"invalid --recipe {recipe}: must be {' or '.join(own.recipes)} for --dataset {dataset.name}")
    annotation = dataset.default_annotation
    return {"recipe": recipe, "annotation": annotation, **own.options, **RECIPES[recipe], **own.recipes[recipe]}


def tuned_rate(channels: int) -> float:
    """The learning rate of the tuned recipe, for Muon; lower for wide models (docs/recipe.md)."""
    return 16e-3 if channels <= 128 else 4e-3
