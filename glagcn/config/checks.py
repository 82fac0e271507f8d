"""Validate option values."""

from collections.abc import Mapping
from math import inf
from re import fullmatch
from sys import getfilesystemencoding
from typing import Any

from glagcn.config.config import GROUPS, Config, DataConfig
from glagcn.config.options import flag_of, key_of, options_of
from glagcn.config.rendering import RenderConfig
from glagcn.data.datasets import get_dataset
from glagcn.errors import UserError
from glagcn.model.registry import foreign_options, get_kind

# {option: the schedules that use it}; messages suggest the first.
SCHEDULE_OPTIONS: dict[str, tuple[str, ...]] = {
    "lr_final": ("exponential", "linear", "cosine"),
    "lr_decay": ("steps",),
    "lr_decay_large": ("steps",),
    "large_decay_epoch": ("steps",),
}
AT_LEAST_ONE = (
    "epochs", "batch_size", "micro_batch", "accumulate", "stride", "downsample", "log_steps", "large_decay_epoch",
    "max_steps", "save_attempts", "keep", "test_frames", "validation_frames", "windows", "eval_windows",
)  # fmt: skip
NOT_NEGATIVE = (
    "sequence_layers", "warmup", "workers", "save_steps", "save_minutes", "check_replicas", "eval_epochs",
    "checkpoint_frequency", "clip", "sequence_weight", "seed", "turn", "tilt", "roll", "distance",
)  # fmt: skip


def check(config: Config) -> None:
    """Raise UserError, naming flag, value and requirement, if an option has an invalid value."""
    get_kind(config.model.kind).check(config.model)
    for name, group in GROUPS.items():
        for _, option in options_of(group):
            value = getattr(getattr(config, name), option.name)
            check_number(flag_of(option), key_of(option), value)
            _check_text(flag_of(option), value)
    _check_data(config.data)
    _check_schedule(config)
    if config.selection.select_on == "validation" and not config.selection.validation:
        raise UserError("--select_on validation needs --validation: name prefixes of the sequences to hold out")
    folder = config.run.name
    if folder and (folder in {".", ".."} or "/" in folder):
        raise UserError(f"invalid --run {folder}: must be a plain folder name; -c sets its parent folder")


def check_given(given: Mapping[str, Any], config: Config) -> None:
    """Raise UserError, naming both flags, if one has no effect because of another.

    given  values of the flags on the command line only.
    """
    alternatives = (("windows", "epochs"), ("eval_windows", "eval_epochs"), ("accumulate", "micro_batch"))
    for one, other in alternatives:
        if given.get(one) is not None and other in given:
            raise UserError(f"--{one} {given[one]} and --{other} {given[other]} are alternatives; give one of them")
    foreign = foreign_options(config.model.kind)
    for _, option in options_of(*GROUPS.values()):
        if given.get(key_of(option)) is not None and key_of(option) in foreign:
            raise UserError(f"{flag_of(option)} has no effect on --model {config.model.kind}; leave it out")
    select_on = config.selection.select_on
    for name in ("validation", "validation_frames"):
        if name in given and select_on != "validation":
            raise UserError(
                f"--{name} has no effect with --select_on {select_on}; leave it out, or give --select_on validation"
            )


def check_rendering(given: Mapping[str, Any]) -> None:
    """Raise UserError if --viz_* flags are given without --render.

    given  values of the rendering flags on the command line only.
    """
    if given and not given.get("render"):
        first = next(option for _, option in options_of(RenderConfig) if key_of(option) in given)
        raise UserError(f"{flag_of(first)} has no effect without --render; add --render, or leave it out")


def check_number(flag: str, key: str, value: Any) -> None:
    """Raise UserError if the value of one option is out of its range, whatever the other options are."""
    if value is None:
        return
    expected = None
    if key in AT_LEAST_ONE and not value >= 1:
        expected = "at least 1"
    elif key in NOT_NEGATIVE and not value >= 0:
        expected = "0 or more"
    elif key == "channels" and value < 4:
        expected = "at least 4"
    elif key in ("lr", "lr_final", "timeout") and not 0 < value < inf:
        expected = "above 0"
    elif key == "seed" and value >= 2**63:
        expected = "below 2^63"
    elif key in ("lr_decay", "lr_decay_large", "bn_momentum", "bn_momentum_final", "subset") and not 0 < value <= 1:
        expected = "above 0, at most 1"
    elif key == "dropout" and not 0 <= value < 1:
        expected = "in [0, 1)"
    if expected:
        raise UserError(f"invalid {flag} {value}: must be {expected}")


def _check_text(flag: str, value: Any) -> None:
    """Raise UserError for a name that is no text in the encoding of this system: TensorBoard cannot write to it."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"invalid {flag} {value!a}: not text in the encoding of this system, {getfilesystemencoding()}; set "
            "PYTHONUTF8=1, or give a name in UTF-8"
        ) from None


def _check_data(data: DataConfig) -> None:
    get_dataset(data.dataset).check(data.keypoints, data.annotation)
    if not fullmatch(r"\w[\w.-]*", data.keypoints):
        raise UserError(
            f"invalid --keypoints {data.keypoints}: must be the part of the file name between data_2d_{data.dataset}_ "
            "and .npz, such as gt"
        )


def _check_schedule(config: Config) -> None:
    """Raise UserError for options that the schedule does not use, or lacks."""
    optim = config.optim
    for name, schedules in SCHEDULE_OPTIONS.items():
        value = getattr(optim, name)
        if value is not None and optim.schedule not in schedules:
            raise UserError(
                f"--{name} {value} has no effect on --schedule {optim.schedule}, which --recipe {optim.recipe} uses on "
                f"{config.data.dataset}; leave it out, or give --schedule {schedules[0]}"
            )
        if value is None and optim.schedule in schedules and name != "lr_final":
            raise UserError(f"--schedule {optim.schedule} needs --{name}")
