"""Flags and presets to a Config, the checks of its values, and a Config to plain values and back."""

import argparse
import math
import operator
import sys
from collections.abc import Mapping
from pathlib import Path
from re import fullmatch
from typing import Any

from glagcn.config.options import (
    GROUPS,
    MAKING,
    OPTIONS,
    Config,
    Option,
    RenderConfig,
    filled,
    foreign_options,
    options_of,
)
from glagcn.config.parse import (
    HELP_ALL,
    REFUSED,
    Parser,
    add_options,
    combined,
    flags_file,
    named_preset,
    other_spellings,
    read_flags,
)
from glagcn.config.recipes import preset, tuned_rate
from glagcn.data.datasets import get_dataset
from glagcn.errors import UserError
from glagcn.model.registry import get_kind
from glagcn.model.widths import check_widths

Origin = dict[str, str]  # {option: source of its value}: "flag", "file", "preset", "default" or "debug"
LIMITS = {  # of Option
    "least": (operator.ge, "at least {}"),
    "above": (operator.gt, "above {}"),
    "most": (operator.le, "at most {}"),
    "below": (operator.lt, "below {}"),
}
TRAINS = (
    "Train or evaluate GLA-GCN, a graph convolutional network that lifts 2D to 3D human poses. "
    "The same command resumes a run that was stopped."
)
RENDERS = (
    "Draw a sequence of a data set, or the largest person of a keypoint file, as a trained model lifts it: that of the "
    "run of these flags, or of --evaluate."
)
OF_RENDERING = (  # what the help of `glagcn render` lists beside the flags of drawing: which data, and which model
    "dataset", "root_path", "cache_dir", "keypoints", "annotation", "test_flip", "evaluate", "checkpoint", "run",
    "workers", "dry_run",
)  # fmt: skip


def parse_command_line(
    arguments: list[str] | None = None, prog: str = "main_sagcn_gpus.py"
) -> tuple[Config, Origin, RenderConfig | None]:
    """Parse the command line of main_sagcn_gpus.py; None: sys.argv.  `--help` prints and exits.

    Returns the options, the source of each value, and the options of --render if given.  Raises UserError.
    prog  the name of the command in help and messages.
    """
    words = sys.argv[1:] if arguments is None else arguments
    renders = prog.endswith(" render")
    parser = Parser(
        REFUSED,
        prog=prog,
        usage=f"{prog} [--dataset NAME] [flags]",
        description=RENDERS if renders else TRAINS,
        epilog="`glagcn train --help` lists the flags that name a run."
        if renders
        else f"{other_spellings()} `glagcn --help` lists the other commands.",
    )
    parser.add_argument(HELP_ALL, action="help", help="show all flags and exit")
    parser.add_argument(
        "--config", type=Path, dest="config_file", metavar="FILE", default=argparse.SUPPRESS,
        help="read flags from this TOML file, or from the config.json of a run; command-line flags win",
    )  # fmt: skip
    parser.add_argument(
        "--print_config", "--print-config", action="store_true", default=argparse.SUPPRESS,
        help="print the options that these flags mean, as a file for --config, and exit",
    )  # fmt: skip
    draws = {option.key for option in options_of(RenderConfig)}
    helps = {"-h", "--help", HELP_ALL}.intersection(words)
    named = named_preset(word for word in words if word not in helps) if helps else {}
    usual = plain_values(resolve(named)[0]) if named else None

    def listed(option: Option) -> bool:
        if renders:
            return option.key != "render" and option.key in {*draws, *OF_RENDERING}
        return (HELP_ALL in words or option.common) and not (prog.endswith(" train") and option.key in draws)

    groups = list(GROUPS.values())
    add_options(parser, *([RenderConfig, *groups] if renders else [*groups, RenderConfig]), listed=listed, usual=usual)
    given = vars(parser.parse_args(words))
    path, printed = given.pop("config_file", None), given.pop("print_config", False)
    file = read_flags(path) if path else {}
    drawing = {option.key: given.pop(option.key) for option in options_of(RenderConfig) if option.key in given}
    if drawing and not drawing.get("render"):
        first = next(option for option in options_of(RenderConfig) if option.key in drawing)
        raise UserError(f"{first.flag} has no effect without --render; add --render, or leave it out")
    try:
        config, origin = resolve(combined(file, given))
    except UserError as error:
        raise UserError(f"{error} (with the flags in {path})" if path else str(error)) from None
    if printed:
        print(flags_file(to_dict(config)))
        raise SystemExit
    origin |= {key: "file" for key in file if key not in given and origin[key] == "flag"}
    render = filled(RenderConfig, drawing) if drawing else None
    for option in options_of(RenderConfig) if render else ():
        _check_limits(option, getattr(render, option.name))
    return config, origin, render


def resolve(given: Mapping[str, Any]) -> tuple[Config, Origin]:
    """Fill in presets and defaults, and check the values.  Returns the config and the source of each value.

    given  values of the flags, by key.
    Raises UserError, naming flag, value and what to do.
    """
    filled_in = preset(given.get("dataset"), given.get("recipe"))
    if given.get("schedule", filled_in["schedule"]) != filled_in["schedule"]:
        filled_in = {key: value for key, value in filled_in.items() if not OPTIONS[key].schedules}
    if given.get("architecture") and "frames" not in given:
        check_widths(given["architecture"])
        filled_in["frames"] = math.prod(given["architecture"])
    values = filled_in | dict(given)
    origin = dict.fromkeys(OPTIONS, "default") | dict.fromkeys(filled_in, "preset") | dict.fromkeys(given, "flag")
    if values.get("debug"):
        full = plain_values(from_values(values))
        caps = {key: option.debug for key, option in OPTIONS.items() if option.debug is not None}
        capped = {key: cap for key, cap in caps.items() if full[key] is None or full[key] > cap}
        values |= capped
        origin |= dict.fromkeys(capped, "debug")
    if values.get("lr") is None:
        values["lr"] = tuned_rate(values["channels"])
    config = from_values(values)
    _check(given, config)
    return config, origin


def _check(given: Mapping[str, Any], config: Config) -> None:
    """Raise UserError, naming flag, value and what to do, if an option has an invalid value, or a given flag no effect.

    given  values of the flags on the command line only.
    """
    data, optim, selection, folder = config.data, config.optim, config.selection, config.run.name
    get_kind(config.model.kind).check(config.model)
    get_dataset(data.dataset).check(data.keypoints, data.annotation)
    if not fullmatch(r"\w[\w.-]*", data.keypoints):
        raise UserError(
            f"invalid --keypoints {data.keypoints}: must be the part of the file name between data_2d_{data.dataset}_ "
            "and .npz, such as gt"
        )
    if folder and (folder == ".." or Path(folder).name != folder):  # on Windows, a backslash or a drive too
        raise UserError(f"invalid --run {folder}: must be a plain folder name; -c sets its parent folder")
    if selection.patience and selection.select_on == "last":
        raise UserError("--patience has no effect with --select_on last, which selects nothing; leave one out")
    if selection.select_on == "validation" and not selection.validation:
        raise UserError("--select_on validation needs --validation: name prefixes of the sequences to hold out")
    foreign = foreign_options(config.model.kind)
    for key, value in plain_values(config).items():
        option, is_given, other = OPTIONS[key], given.get(key) is not None, OPTIONS[key].instead_of
        _check_limits(option, value)
        if option.schedules and value is not None and optim.schedule not in option.schedules:
            raise UserError(
                f"{option.flag} {value} has no effect on --schedule {optim.schedule}, which --recipe {optim.recipe} "
                f"uses on {data.dataset}; leave it out, or give --schedule {option.schedules[0]}"
            )
        if value is None and optim.schedule == "steps" and "steps" in option.schedules:
            raise UserError(f"--schedule steps needs {option.flag}")
        # check_widths compares --architecture with --frames.
        if is_given and other and other in given and key != "architecture":
            raise UserError(f"--{key} {given[key]} and --{other} {given[other]} are alternatives; give one of them")
        if is_given and key in foreign:
            raise UserError(f"{option.flag} has no effect on --model {config.model.kind}; leave it out")
        if key in given and key in ("validation", "validation_frames") and selection.select_on != "validation":
            raise UserError(f"--{key} has no effect with --select_on {selection.select_on}; leave one of them out")


def _check_limits(option: Option, value: Any) -> None:
    """Raise UserError if a value is outside the limits of its option, whatever the other options are."""
    limits = {name: getattr(option, name) for name in LIMITS if getattr(option, name) is not None}
    if value is None or all(LIMITS[name][0](value, limit) for name, limit in limits.items()):
        return
    expected = [LIMITS[name][1].format(limit) for name, limit in limits.items() if limit != math.inf]
    raise UserError(f"invalid {option.flag} {value}: must be {', '.join(expected).replace('at least 0', '0 or more')}")


def from_values(values: Mapping[str, Any]) -> Config:
    """The Config with these values, by key; missing options get their defaults."""
    groups: dict[str, Any] = {name: filled(group, values) for name, group in GROUPS.items()}
    return Config(**groups)


def plain_values(config: Config) -> dict[str, Any]:
    """The value of every option, by key."""
    return {
        option.key: getattr(getattr(config, name), option.name)
        for name, group in GROUPS.items()
        for option in options_of(group)
    }


def changed(config: Config, **values: Any) -> Config:
    """A copy of the config with some values replaced, by key."""
    if unknown := values.keys() - OPTIONS.keys():
        raise TypeError(f"no options {', '.join(sorted(unknown))}")
    return from_values(plain_values(config) | values)


def given_options(config: Config, origin: Origin) -> dict[str, Any]:
    """The options that tell a run from others: those that were given, in a file too, or capped, and its preset."""
    return {
        key: value
        for key, value in to_dict(config).items()
        if OPTIONS[key].names_preset or (key in MAKING and origin[key] in ("flag", "file", "debug"))
    }


def to_dict(config: Config) -> dict[str, Any]:
    """The values of all options for JSON and checkpoints, by key."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plain_values(config).items()}


def from_dict(values: Mapping[str, Any]) -> Config:
    """The inverse of to_dict, also for files of other versions.

    Ignores unknown options.  Options that an older version did not have get the values that match its behaviour.
    """
    known: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    if isinstance(known.get("compile"), bool):
        known["compile"] = "on" if known["compile"] else "off"
    if known.get("accumulate") == 1:
        known["accumulate"] = None
    known.setdefault("frame", "camera")  # which 0.1.0 knew alone
    return from_values(preset(known.get("dataset"), known.get("recipe")) | known)


def listed_differences(config: Config, content: dict[str, Any]) -> str:
    """The options that affect training and differ from those of a checkpoint, as text."""
    now, then = plain_values(config), plain_values(from_dict(content["config"]))
    differences = [
        f"{option.flag} is {now[key]} now and was {then[key]}"
        for key, option in OPTIONS.items()
        if not option.resumable and now[key] != then[key]
    ]
    if content["config"].get("stream") == "on":  # an option of an earlier version, with another order of the windows
        differences.append("--stream is not supported any more now and was on")
    return "; ".join(differences)
