"""Resolves flags and presets to a Config, and converts a Config to plain values and back."""

import argparse
import sys
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from glagcn.config.checks import SCHEDULE_OPTIONS, check, check_given, check_rendering
from glagcn.config.config import GROUPS, Config, DataConfig
from glagcn.config.flag_file import combined, read_flags
from glagcn.config.options import filled, flag_of, key_of, options_of
from glagcn.config.parser import HELP_ALL, Parser, add_options, add_refused, other_spellings
from glagcn.config.presets import DEBUG_CAPS, preset, tuned_rate
from glagcn.config.rendering import RenderConfig
from glagcn.data.datasets import get_dataset
from glagcn.errors import UserError
from glagcn.widths import check_widths

Origin = dict[str, str]  # {option: source of its value}: "flag", "file", "preset", "default" or "debug"
DEFAULT_DATASET = "h36m"


class Command(NamedTuple):
    """A parsed command line: the options, the source of each value, and the options of --render if given."""

    config: Config
    origin: Origin
    render: RenderConfig | None


def parse_command_line(arguments: list[str] | None = None, prog: str = "main_sagcn_gpus.py") -> Command:
    """Parse the command line of main_sagcn_gpus.py; None: sys.argv.  Raises UserError.  `--help` prints and exits.

    prog  the name of the command in help and messages.
    """
    parser = Parser(
        prog=prog,
        usage=f"{prog} [--dataset NAME] [flags]",
        description="Train or evaluate GLA-GCN, a graph convolutional network that lifts 2D to 3D human poses. "
        "The same command resumes a run that was stopped.",
        epilog=f"{other_spellings(*GROUPS.values(), RenderConfig)} `glagcn --help` lists the other commands.",
    )
    parser.add_argument(HELP_ALL, action="help", help="show all flags and exit")
    parser.add_argument(
        "--config", type=Path, dest="config_file", metavar="FILE", default=argparse.SUPPRESS,
        help="read flags from this TOML file, or from the config.json of a run; command-line flags win",
    )  # fmt: skip
    given = vars(_parse(parser, arguments))
    path = given.pop("config_file", None)
    file = read_flags(path) if path else {}
    drawing = {key: given.pop(key) for _, option in options_of(RenderConfig) if (key := key_of(option)) in given}
    check_rendering(drawing)
    try:
        config, origin = resolve(combined(file, given))
    except UserError as error:
        raise UserError(f"{error} (with the flags in {path})" if path else str(error)) from None
    origin |= {key: "file" for key in file if key not in given and origin[key] == "flag"}
    return Command(config, origin, filled(RenderConfig, drawing) if drawing else None)


def _parse(parser: Parser, arguments: list[str] | None) -> argparse.Namespace:
    words = sys.argv[1:] if arguments is None else arguments
    add_options(parser, *GROUPS.values(), RenderConfig, everything=HELP_ALL in words)
    add_refused(parser)
    return parser.parse_args(words)


def resolve(given: Mapping[str, Any]) -> tuple[Config, Origin]:
    """Fill in presets and defaults, and check the values.  Returns the config and the source of each value.

    given  values of the flags, by key.
    Raises UserError, naming flag, value and what to do.
    """
    filled_in = _preset(given)
    if given.get("schedule", filled_in["schedule"]) != filled_in["schedule"]:
        filled_in = {key: value for key, value in filled_in.items() if key not in SCHEDULE_OPTIONS}
    if given.get("architecture") and "frames" not in given:
        check_widths(given["architecture"])
        filled_in["frames"] = prod(given["architecture"])
    values = filled_in | dict(given)
    origin = dict.fromkeys(all_keys(), "default") | dict.fromkeys(filled_in, "preset") | dict.fromkeys(given, "flag")
    if values.get("debug"):
        full = plain_values(from_values(values))
        capped = {key: cap for key, cap in DEBUG_CAPS.items() if full[key] is None or full[key] > cap}
        values |= capped
        origin |= dict.fromkeys(capped, "debug")
    if values.get("lr") is None:
        values["lr"] = tuned_rate(values["channels"])
    config = from_values(values)
    check_given(given, config)
    check(config)
    return config, origin


def _preset(given: Mapping[str, Any]) -> dict[str, Any]:
    """The presets of the given data set and recipe, or of the default ones."""
    return preset(get_dataset(given.get("dataset", DEFAULT_DATASET)), given.get("recipe"))


def all_keys() -> list[str]:
    """The keys of all options, in order."""
    return [key_of(option) for _, option in options_of(*GROUPS.values())]


def from_values(values: Mapping[str, Any]) -> Config:
    """The Config with these values, by key; missing options get their defaults."""
    return Config(**{name: filled(group, dict(values)) for name, group in GROUPS.items()})


def plain_values(config: Config) -> dict[str, Any]:
    """The value of every option, by key."""
    values: dict[str, Any] = {}
    for name, group in GROUPS.items():
        part = getattr(config, name)
        values |= {key_of(option): getattr(part, option.name) for _, option in options_of(group)}
    return values


def value_of(config: Config, key: str) -> Any:
    """The value of one option, by key."""
    return plain_values(config)[key]


def changed(config: Config, **values: Any) -> Config:
    """A copy of the config with some values replaced, by key."""
    unknown = values.keys() - set(all_keys())
    if unknown:
        raise TypeError(f"no options {', '.join(sorted(unknown))}")
    return from_values(plain_values(config) | values)


def to_dict(config: Config) -> dict[str, Any]:
    """The values of all options for JSON and checkpoints, by key."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plain_values(config).items()}


def from_dict(values: Mapping[str, Any]) -> Config:
    """The inverse of to_dict, also for files of other versions.

    Ignores unknown options.  Options that an older version did not have get the values that match its behaviour.
    """
    known = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    if isinstance(known.get("compile"), bool):
        known["compile"] = "on" if known["compile"] else "off"
    if known.get("accumulate") == 1:
        known["accumulate"] = None
    return from_values({"stream": "off"} | _preset(known) | known)


def training_differences(ours: Config, theirs: Config) -> list[tuple[str, Any, Any]]:
    """(flag, our value, their value) of every option that affects training and differs."""
    now, then = plain_values(ours), plain_values(theirs)
    training = [
        option
        for group, option in options_of(*GROUPS.values())
        if (group.trains if option.metadata["trains"] is None else option.metadata["trains"])  # type: ignore[attr-defined]
    ]
    return [(flag_of(option), now[key], then[key]) for option in training if now[key := key_of(option)] != then[key]]


def listed_differences(config: Config, content: dict[str, Any]) -> str:
    """The options that affect training and differ from those of a checkpoint, as text."""
    differences = training_differences(config, from_dict(content["config"]))
    return "; ".join(f"{flag} is {now} now and was {then}" for flag, now, then in differences)


def data_folders(data: DataConfig) -> str:
    """The flags of the data folders, as text."""
    first = f"--cache_dir {data.cache_dir} or " if data.cache_dir else ""
    return f"{first}--root_path {data.root_path}"
