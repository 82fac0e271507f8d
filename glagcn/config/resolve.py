"""From flags and presets to a Config, once; and from a Config to plain values and back."""

from dataclasses import asdict, fields, replace
from math import prod
from typing import Any

from glagcn.config.checks import SCHEDULE_OPTIONS, check, check_given
from glagcn.config.config import Config
from glagcn.config.parser import Parser, add_options, add_refused, long_flag
from glagcn.config.presets import DATASETS, DEBUG_CAPS, PRESETS, RECIPE_PRESETS, tuned_rate
from glagcn.errors import UserError
from glagcn.widths import check_widths


def listed_differences(config: Config, content: dict[str, Any]) -> str:
    """In words, the options that shaped what a checkpoint was trained to and now differ; empty where none does."""
    differences = training_differences(config, from_dict(content["config"]))
    return "; ".join(f"{flag} is {now} now and was {then}" for flag, now, then in differences)


def data_folders(config: Config) -> str:
    """In words, where the data are looked for."""
    first = f"--cache_dir {config.cache_dir} or " if config.cache_dir else ""
    return f"{first}--root_path {config.root_path}"


def resolve(given: dict[str, Any]) -> tuple[Config, dict[str, str]]:
    """Fill in presets and check.  -> (config, where each value came from: "flag", "preset", "default" or "debug").

    `given` holds the values of flags only, by field name.  Raises UserError naming flag, value and fix.
    """
    dataset = given.get("dataset", Config.dataset)
    if dataset not in DATASETS:
        raise UserError(f"--dataset {dataset} is unknown; expected one of {', '.join(DATASETS)} (demo needs no data)")
    preset = _preset(given)
    if given.get("schedule", preset["schedule"]) != preset["schedule"]:
        preset = {name: value for name, value in preset.items() if name not in SCHEDULE_OPTIONS}
    if given.get("architecture") and "frames" not in given:
        check_widths(given["architecture"])
        preset["frames"] = prod(given["architecture"])
    config = Config(**(preset | given))
    check_given(given, config)
    origin = (
        {f.name: "default" for f in fields(Config)} | dict.fromkeys(preset, "preset") | dict.fromkeys(given, "flag")
    )
    if config.debug:
        capped = {name: cap for name, cap in DEBUG_CAPS.items() if _exceeds(getattr(config, name), cap)}
        config = replace(config, **capped)
        origin |= dict.fromkeys(capped, "debug")
    if config.lr is None:
        config = replace(config, lr=tuned_rate(config.channels))
    check(config)
    return config, origin


def _preset(given: dict[str, Any]) -> dict[str, Any]:
    """The presets of a data set and recipe, where given."""
    dataset = given.get("dataset", Config.dataset)
    return PRESETS[dataset] | RECIPE_PRESETS[given.get("recipe", PRESETS[dataset]["recipe"]), dataset]


def _exceeds(value: float | None, cap: float) -> bool:
    return value is None or value > cap


def parse_command_line(arguments: list[str] | None = None) -> tuple[Config, dict[str, str]]:
    """The trainer's command line -> (config, origins).  Raises UserError; `--help` prints and exits."""
    parser = Parser(
        prog="main_sagcn_gpus.py",
        description="Train or evaluate GLA-GCN, a graph convolutional network that lifts 2D to 3D human poses.",
        epilog="The same command resumes a run that was stopped. `glagcn --help` lists the verbs beside training.",
    )
    add_options(parser, Config)
    add_refused(parser)
    return resolve(vars(parser.parse_args(arguments)))


def to_dict(config: Config) -> dict[str, Any]:
    """Plain values for JSON and checkpoints."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}


def from_dict(values: dict[str, Any]) -> Config:
    """The inverse of to_dict; what a newer version added is ignored, what an older one lacked is as it was then."""
    known = {f.name for f in fields(Config)}
    held = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name in known}
    if isinstance(held.get("compile"), bool):
        held["compile"] = "on" if held["compile"] else "off"
    if held.get("accumulate") == 1:
        held["accumulate"] = None
    return Config(**({"stream": "off"} | _preset(held) | held))


def training_differences(ours: Config, theirs: Config) -> list[tuple[str, Any, Any]]:
    """(flag, value now, value then) for every option that shaped what was trained and now differs."""
    differing = [f for f in fields(Config) if f.metadata["trains"] and getattr(ours, f.name) != getattr(theirs, f.name)]
    return [(long_flag(f.metadata["flags"]), getattr(ours, f.name), getattr(theirs, f.name)) for f in differing]
