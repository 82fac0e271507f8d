"""What options may be: every value that cannot work is refused by the name of its flag."""

from collections.abc import Mapping
from dataclasses import fields
from math import inf
from re import fullmatch
from typing import Any

from glagcn.config.config import Config
from glagcn.config.parser import long_flag
from glagcn.errors import UserError
from glagcn.widths import check_widths

# Options that only some schedules read, the first of which is suggested.
SCHEDULE_OPTIONS: dict[str, tuple[str, ...]] = {
    "lr_final": ("exponential", "linear", "cosine"),
    "lr_decay": ("steps",),
    "lr_decay_large": ("steps",),
    "large_decay_epoch": ("steps",),
}
AT_LEAST_ONE = (
    "epochs", "batch_size", "micro_batch", "accumulate", "stride", "downsample", "log_steps", "large_decay_epoch",
    "max_steps", "test_frames", "validation_frames", "windows", "eval_windows",
)  # fmt: skip
NOT_NEGATIVE = (
    "sequence_layers", "warmup", "workers", "save_steps", "save_minutes", "eval_epochs", "checkpoint_frequency", "clip",
    "sequence_weight", "seed", "turn", "tilt", "roll", "distance",
)  # fmt: skip


def check(config: Config) -> None:
    """Refuse values that cannot work.  Raises UserError naming flag, value and what is expected."""
    check_widths(config.widths, config.frames)
    if config.channels < 4:
        raise UserError(f"--channel {config.channels} is too small; expected at least 4")
    for name in AT_LEAST_ONE:
        _expect(config, name, getattr(config, name) is None or getattr(config, name) >= 1, "at least 1")
    for name in NOT_NEGATIVE:
        _expect(config, name, getattr(config, name) is None or getattr(config, name) >= 0, "0 or more")
    _expect(config, "lr", 0 < config.lr < inf, "a rate above 0")
    _expect(config, "seed", config.seed < 2**63, "a number below 2^63")
    _expect(config, "lr_final", config.lr_final is None or config.lr_final > 0, "a rate above 0")
    for name in ("lr_decay", "lr_decay_large", "bn_momentum", "bn_momentum_final"):
        _expect(config, name, getattr(config, name) is None or 0 < getattr(config, name) <= 1, "above 0, at most 1")
    _expect(config, "dropout", 0 <= config.dropout < 1, "a probability from 0 to below 1")
    _expect(config, "subset", 0 < config.subset <= 1, "a fraction above 0 and up to 1")
    _check_data(config)
    _check_schedule(config)
    if config.run and (config.run in {".", ".."} or "/" in config.run):
        raise UserError(f"--run {config.run} must be a plain folder name; -c sets the folder that it lies in")
    drawing = [f for f in fields(config) if f.name.startswith("viz_") and getattr(config, f.name) != f.default]
    if drawing and not config.render:
        raise UserError(f"{long_flag(drawing[0].metadata['flags'])} says how to draw; add --render, or leave it out")


def check_given(given: Mapping[str, Any], config: Config) -> None:
    """Refuse flags that another flag leaves without effect.  `given` holds the values of flags only.

    Raises UserError naming both.
    """
    same = (("windows", "epochs"), ("eval_windows", "eval_epochs"), ("accumulate", "micro_batch"))
    for one, other in same:
        if given.get(one) is not None and other in given:
            raise UserError(f"--{one} {given[one]} and --{other} {given[other]} say the same; give one of them")
    for name in ("validation", "validation_frames"):
        if name in given and config.select_on != "validation":
            raise UserError(
                f"--{name} has no effect with --select_on {config.select_on}; leave it out, or give "
                "--select_on validation"
            )


def _check_data(config: Config) -> None:
    if config.dataset != "3dhp" and config.annotation:
        raise UserError(f"--annotation {config.annotation} is for --dataset 3dhp; {config.dataset} has one kind only")
    if config.dataset in ("3dhp", "demo") and config.keypoints != "gt":
        raise UserError(f"--keypoints {config.keypoints}: --dataset {config.dataset} has ground-truth 2D only (gt)")
    if config.select_on == "validation" and not config.validation:
        raise UserError("--select_on validation needs --validation, the beginnings of the names of held-out sequences")
    if not fullmatch(r"\w[\w.-]*", config.keypoints):
        raise UserError(
            f"--keypoints {config.keypoints} is no name of a 2D source; give what stands between data_2d_"
            f"{config.dataset}_ and .npz in the name of its file, such as gt"
        )


def _check_schedule(config: Config) -> None:
    """Refuse flags of another schedule instead of ignoring them."""
    for name, schedules in SCHEDULE_OPTIONS.items():
        if getattr(config, name) is not None and config.schedule not in schedules:
            raise UserError(
                f"--{name} {getattr(config, name)} has no effect on --schedule {config.schedule}, which --recipe "
                f"{config.recipe} uses on {config.dataset}; leave it out, or give --schedule {schedules[0]}"
            )
        if getattr(config, name) is None and config.schedule in schedules and name != "lr_final":
            raise UserError(f"--schedule {config.schedule} needs --{name}")


def _expect(config: Config, name: str, holds: bool, expected: str) -> None:
    if not holds:
        raise UserError(f"--{name} {getattr(config, name)} cannot work; expected {expected}")
