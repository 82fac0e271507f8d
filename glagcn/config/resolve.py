"""From flags and presets to a Config; and from a Config to plain values and back."""

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
from glagcn.widths import check_widths

Origin = dict[str, str]  # of the value of every option: "flag", "file", "preset", "default" or "debug"
DEFAULT_DATASET = "h36m"


class Command(NamedTuple):
    """A command line of the trainer: the run's options, where each value came from, and what --render draws."""

    config: Config
    origin: Origin
    render: RenderConfig | None


def parse_command_line(arguments: list[str] | None = None) -> Command:
    """The trainer's command line.  Raises UserError; `--help` and `--help-all` print and exit."""
    parser = Parser(
        prog="main_sagcn_gpus.py",
        usage="main_sagcn_gpus.py [--dataset NAME] [flags]",
        description="Train or evaluate GLA-GCN, a graph convolutional network that lifts 2D to 3D human poses. "
        "The same command resumes a run that was stopped.",
        epilog=f"{other_spellings(*GROUPS.values(), RenderConfig)} `glagcn --help` lists the other commands.",
    )
    parser.add_argument(HELP_ALL, action="help", help="show all flags and exit")
    parser.add_argument(
        "--config", type=Path, dest="config_file", metavar="FILE", default=argparse.SUPPRESS,
        help="read flags from this TOML file, or from the config.json of a run; flags of the command line win",
    )  # fmt: skip
    given = vars(_parse(parser, arguments))
    file = read_flags(given.pop("config_file")) if "config_file" in given else {}
    drawing = {key: given.pop(key) for _, option in options_of(RenderConfig) if (key := key_of(option)) in given}
    check_rendering(drawing)
    config, origin = resolve(combined(file, given))
    origin |= {key: "file" for key in file if key not in given and origin[key] == "flag"}
    return Command(config, origin, filled(RenderConfig, drawing) if drawing else None)


def _parse(parser: Parser, arguments: list[str] | None) -> argparse.Namespace:
    words = sys.argv[1:] if arguments is None else arguments
    add_options(parser, *GROUPS.values(), RenderConfig, everything=HELP_ALL in words)
    add_refused(parser)
    return parser.parse_args(words)


def resolve(given: Mapping[str, Any]) -> tuple[Config, Origin]:
    """Fill in presets and check.  -> (config, where each value came from).

    `given` holds the values of flags only, by key.  Raises UserError naming flag, value and fix.
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
        held = plain_values(from_values(values))
        capped = {key: cap for key, cap in DEBUG_CAPS.items() if held[key] is None or held[key] > cap}
        values |= capped
        origin |= dict.fromkeys(capped, "debug")
    if values.get("lr") is None:
        values["lr"] = tuned_rate(values["channels"])
    config = from_values(values)
    check_given(given, config)
    check(config)
    return config, origin


def _preset(given: Mapping[str, Any]) -> dict[str, Any]:
    """The presets of the data set and the recipe, the usual ones where they are not given."""
    return preset(get_dataset(given.get("dataset", DEFAULT_DATASET)), given.get("recipe"))


def all_keys() -> list[str]:
    """The keys of all options of a run, in order."""
    return [key_of(option) for _, option in options_of(*GROUPS.values())]


def from_values(values: Mapping[str, Any]) -> Config:
    """The Config of plain values by key; options that are not there have their defaults."""
    return Config(**{name: filled(group, dict(values)) for name, group in GROUPS.items()})


def plain_values(config: Config) -> dict[str, Any]:
    """The value of every option by key."""
    values: dict[str, Any] = {}
    for name, group in GROUPS.items():
        part = getattr(config, name)
        values |= {key_of(option): getattr(part, option.name) for _, option in options_of(group)}
    return values


def value_of(config: Config, key: str) -> Any:
    """The value of one option, by key."""
    return plain_values(config)[key]


def changed(config: Config, **values: Any) -> Config:
    """The options with other values, by key."""
    unknown = values.keys() - set(all_keys())
    if unknown:
        raise TypeError(f"no options {', '.join(sorted(unknown))}")
    return from_values(plain_values(config) | values)


def to_dict(config: Config) -> dict[str, Any]:
    """Plain values for JSON and checkpoints, by key."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plain_values(config).items()}


def from_dict(values: Mapping[str, Any]) -> Config:
    """The inverse of to_dict.  Ignores options of newer versions; those an older version lacked get its behaviour."""
    held = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    if isinstance(held.get("compile"), bool):
        held["compile"] = "on" if held["compile"] else "off"
    if held.get("accumulate") == 1:
        held["accumulate"] = None
    return from_values({"stream": "off"} | _preset(held) | held)


def training_differences(ours: Config, theirs: Config) -> list[tuple[str, Any, Any]]:
    """(flag, value now, value then) for every option that shaped what was trained and now differs."""
    now, then = plain_values(ours), plain_values(theirs)
    shaping = [
        option
        for group, option in options_of(*GROUPS.values())
        if (group.trains if option.metadata["trains"] is None else option.metadata["trains"])  # type: ignore[attr-defined]
    ]
    return [(flag_of(option), now[key], then[key]) for option in shaping if now[key := key_of(option)] != then[key]]


def listed_differences(config: Config, content: dict[str, Any]) -> str:
    """The options that training depends on and that differ from those of a checkpoint, for a message."""
    differences = training_differences(config, from_dict(content["config"]))
    return "; ".join(f"{flag} is {now} now and was {then}" for flag, now, then in differences)


def data_folders(data: DataConfig) -> str:
    """The folders of the data, for a message."""
    first = f"--cache_dir {data.cache_dir} or " if data.cache_dir else ""
    return f"{first}--root_path {data.root_path}"
