"""A study file: which configurations are trained with which seeds.

    title = "Where the weights start"
    seeds = [0, 1, 2]
    common = "--dataset demo --epochs 2"

    [configurations]
    published = "--recipe published"
    "no dropout" = "--dropout 0"

The values are flags of main_sagcn_gpus.py; those of a configuration come after the common ones, so they win.
"""

import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glagcn.config.config import GROUPS, Config
from glagcn.config.options import flag_of, key_of, options_of
from glagcn.config.parser import Parser, add_options, add_refused
from glagcn.config.rendering import RenderConfig
from glagcn.config.resolve import resolve, value_of
from glagcn.errors import UserError

KEYS = ("title", "seeds", "common", "configurations")
# What a study sets itself, and what is no training.
NOT_IN_A_STUDY = {
    "seed": "list the seeds under the key seeds",
    "run": "the study names its runs",
    "checkpoint": "give --out DIR to glagcn study",
    "output": "results stay in the run folders; give --out DIR to glagcn study",
    "evaluate": "a study trains",
    "render": "a study trains",
    "fresh": "remove the study's folder, or give another with --out DIR",
    "dry_run": "a study trains",
}
# Errors measured on different frames say nothing about each other.
SAME_FOR_ALL = (
    "dataset", "annotation", "subjects_test", "actions", "downsample", "test_frames", "select_on", "validation",
    "validation_frames",
)  # fmt: skip
# What decides the training windows and their order; any of these may be what a study is about.
DECIDE_THE_WINDOWS = ("root_path", "keypoints", "cameras", "subjects_train", "subset", "stride", "flip")
MOST_LETTERS = 100


@dataclass(frozen=True)
class Configuration:
    """A row of the table.

    slug   the name as part of a file's name.
    words  the flags as given, the common ones first.
    given  the values of these flags, by field of Config.
    """

    name: str
    slug: str
    words: tuple[str, ...]
    given: dict[str, Any]


@dataclass(frozen=True)
class Study:
    """A study file that can be run.

    select_on      of all configurations: what the state of a run is chosen by.
    other_windows  the flags in which configurations differ that decide the training windows; mostly empty.
    """

    title: str
    seeds: tuple[int, ...]
    configurations: tuple[Configuration, ...]
    select_on: str
    other_windows: tuple[str, ...]

    @property
    def split(self) -> str:
        """What the curves are of: validation where states are chosen by it, else test."""
        return "validation" if self.select_on == "validation" else "test"


def read_study(path: Path) -> Study:
    """Read a study file and check all of it.  Raises UserError naming the file, the key, and what to do."""
    content = _load(path)
    for key in content:
        if key not in KEYS:
            raise UserError(f"{path}: the key {key} is unknown; expected {', '.join(KEYS)}")
    seeds = _seeds(path, content.get("seeds", [0]))
    common = _words(path, "common", content.get("common", ""))
    title = content.get("title", path.stem)
    if not isinstance(title, str):
        raise UserError(f'{path}: title is {title!r}; expected words, such as title = "Where the weights start"')
    table = content.get("configurations")
    if not isinstance(table, dict) or not table:
        raise UserError(f'{path}: no configurations; expected [configurations] and below it lines of NAME = "FLAGS"')
    configurations = tuple(_configuration(path, name, common, flags) for name, flags in table.items())
    _check_slugs(path, configurations)
    resolved = _resolve(path, configurations, seeds)
    return Study(title, seeds, configurations, resolved[0].selection.select_on, _compare(path, resolved))


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; give a study file (TOML)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        advice = "names with spaces and all flags stand in quotes"
        if "Cannot overwrite" in str(error):
            advice = "a configuration or key of this name is there already; rename or remove one of them"
        raise UserError(f"{path} is not TOML: {error}; {advice}") from None


def _seeds(path: Path, seeds: Any) -> tuple[int, ...]:
    numbers = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not numbers or not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"{path}: seeds is {seeds!r}; expected different whole numbers from 0, such as [0, 1, 2]")
    return tuple(seeds)


def _words(path: Path, key: str, flags: Any) -> tuple[str, ...]:
    if not isinstance(flags, str):
        raise UserError(f'{path}: {key} is {flags!r}; expected flags of main_sagcn_gpus.py in quotes, or ""')
    try:
        return tuple(shlex.split(flags))
    except ValueError as error:
        raise UserError(f"{path}: {key} = {flags!r} does not parse ({error}); close every quotation mark") from None


def _configuration(path: Path, name: str, common: tuple[str, ...], flags: Any) -> Configuration:
    if "," in name or name != name.strip():
        raise UserError(
            f"{path}: configurations.{name!r}: expected a name without commas, and without spaces around it, because "
            "--only NAME,... could not choose it; write it without them"
        )
    own = _words(path, f"configurations.{name}", flags)
    given = _parse(path, "common", common) | _parse(path, f"configurations.{name}", own)
    slug = re.sub(r"[^\w.-]+", "_", name).strip("_.")
    return Configuration(name, slug, common + own, given)


def _parse(path: Path, key: str, words: tuple[str, ...]) -> dict[str, Any]:
    """The values of flags, by field."""
    parser = Parser(prog="main_sagcn_gpus.py", add_help=False)
    add_options(parser, *GROUPS.values(), RenderConfig)
    add_refused(parser)
    try:
        given = vars(parser.parse_args(words))
    except UserError as error:
        raise UserError(f"{path}: {key}: {error}") from None
    for name in given:
        if name in NOT_IN_A_STUDY:
            reason = NOT_IN_A_STUDY[name]
            raise UserError(f"{path}: {key} has {_flag(name)}, which has no place in a study: {reason}. Leave it out")
    return given


def _check_slugs(path: Path, configurations: tuple[Configuration, ...]) -> None:
    """Every configuration needs a file name of its own, also where a file system takes no notice of case."""
    named: dict[str, str] = {}
    for configuration in configurations:
        name, slug = configuration.name, configuration.slug.lower()
        if not slug or len(slug) > MOST_LETTERS:
            raise UserError(
                f"{path}: configurations.{name!r}: expected a name of 1 to {MOST_LETTERS} letters or digits"
            )
        if slug in named:
            raise UserError(f"{path}: {named[slug]!r} and {name!r} would share a run folder; rename one of them")
        named[slug] = name


def _resolve(path: Path, configurations: tuple[Configuration, ...], seeds: tuple[int, ...]) -> list[Config]:
    """All options of every configuration."""
    resolved = []
    for configuration in configurations:
        try:
            resolved.append(resolve(configuration.given | {"seed": max(seeds)})[0])
        except UserError as error:
            raise UserError(f"{path}: configurations.{configuration.name} (after common): {error}") from None
    return resolved


def _compare(path: Path, resolved: list[Config]) -> tuple[str, ...]:
    """Refuse configurations that cannot be compared; -> Study.other_windows."""
    for name in SAME_FOR_ALL:
        found = list(dict.fromkeys(value_of(config, name) for config in resolved))
        if len(found) > 1:
            raise UserError(
                f"{path}: configurations: {_flag(name)} is {found[0]} in one and {found[1]} in another, so their "
                "errors cannot be compared; give it once, in common"
            )
    return tuple(_flag(name) for name in DECIDE_THE_WINDOWS if len({value_of(config, name) for config in resolved}) > 1)


def _flag(name: str) -> str:
    return next(flag_of(option) for _, option in options_of(*GROUPS.values(), RenderConfig) if key_of(option) == name)
