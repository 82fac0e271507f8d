"""Reads a study file: the configurations to train and the seeds.

    title = "Where the weights start"
    seeds = [0, 1, 2]
    common = "--dataset demo --epochs 2"

    [configurations]
    published = "--recipe published"
    "no dropout" = "--dropout 0"

The values are flags of main_sagcn_gpus.py.  The flags of a configuration override the common flags.
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
# {option: why a study file must not set it}
FORBIDDEN = {
    "seed": "list the seeds under the key seeds",
    "run": "the study names its runs",
    "checkpoint": "give --out DIR to glagcn study",
    "output": "results stay in the run folders; give --out DIR to glagcn study",
    "evaluate": "a study only trains",
    "render": "a study only trains",
    "fresh": "remove the study's folder, or give another with --out DIR",
    "dry_run": "a study only trains",
}
# Must be equal in all configurations: errors on different frames cannot be compared.
SAME_FOR_ALL = (
    "dataset", "annotation", "subjects_test", "actions", "downsample", "test_frames", "select_on", "validation",
    "validation_frames", "test_detections",
)  # fmt: skip
# Options that affect the training windows and their order; a study may compare them, with a note in the summary.
WINDOW_OPTIONS = ("root_path", "keypoints", "cameras", "subjects_train", "subset", "stride", "flip")
MAX_NAME_LENGTH = 100


@dataclass(frozen=True)
class Configuration:
    """A row of the table.

    slug       the name in a form for file names.
    arguments  the flags, the common ones first.
    given      the values of these flags, by option.
    """

    name: str
    slug: str
    arguments: tuple[str, ...]
    given: dict[str, Any]


@dataclass(frozen=True)
class Study:
    """A valid study file.

    select_on      --select_on of all configurations.
    other_windows  the flags of WINDOW_OPTIONS in which configurations differ; usually empty.
    """

    title: str
    seeds: tuple[int, ...]
    configurations: tuple[Configuration, ...]
    select_on: str
    other_windows: tuple[str, ...]

    @property
    def split(self) -> str:
        """The split of the curves: "validation" if it selects the checkpoint, else "test"."""
        return "validation" if self.select_on == "validation" else "test"


def read_study(path: Path) -> Study:
    """Read and check a study file.  Raises UserError naming file, key and what to do."""
    content = _load(path)
    for key in content:
        if key not in KEYS:
            raise UserError(f"{path}: unknown key {key}: must be one of {', '.join(KEYS)}")
    seeds = _seeds(path, content.get("seeds", [0]))
    common = _arguments(path, "common", content.get("common", ""))
    title = content.get("title", path.stem)
    if not isinstance(title, str):
        raise UserError(f'{path}: invalid title {title!r}: must be text, such as title = "Weight initialisation"')
    table = content.get("configurations")
    if not isinstance(table, dict) or not table:
        raise UserError(f'{path}: no configurations; add [configurations] and below it lines NAME = "FLAGS"')
    configurations = tuple(_configuration(path, name, common, flags) for name, flags in table.items())
    _check_slugs(path, configurations)
    resolved = _resolve(path, configurations, seeds)
    return Study(title, seeds, configurations, resolved[0].selection.select_on, _compare(path, resolved))


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; give a study file (TOML)") from None
    except (ValueError, RecursionError) as error:  # from TOML or UTF-8
        advice = "put names with spaces, and all flags, in quotes"
        if "Cannot overwrite" in str(error):
            advice = "two configurations or keys have the same name; rename or remove one of them"
        raise UserError(f"{path} is not TOML: {error}; {advice}") from None


def _seeds(path: Path, seeds: Any) -> tuple[int, ...]:
    integers = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not integers or not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"{path}: invalid seeds {seeds!r}: must be different integers from 0 up, such as [0, 1, 2]")
    return tuple(seeds)


def _arguments(path: Path, key: str, flags: Any) -> tuple[str, ...]:
    if not isinstance(flags, str):
        raise UserError(f'{path}: invalid {key} {flags!r}: must be flags of main_sagcn_gpus.py in quotes, or ""')
    try:
        return tuple(shlex.split(flags))
    except ValueError as error:
        raise UserError(f"{path}: {key} = {flags!r} does not parse ({error}); close every quotation mark") from None


def _configuration(path: Path, name: str, common: tuple[str, ...], flags: Any) -> Configuration:
    if "," in name or name != name.strip():
        raise UserError(
            f"{path}: invalid configurations.{name!r}: must be a name without commas and without spaces around it, so "
            "that --only NAME,... can select it"
        )
    own = _arguments(path, f"configurations.{name}", flags)
    given = _parse(path, "common", common) | _parse(path, f"configurations.{name}", own)
    slug = re.sub(r"[^\w.-]+", "_", name).strip("_.")
    return Configuration(name, slug, common + own, given)


def _parse(path: Path, key: str, arguments: tuple[str, ...]) -> dict[str, Any]:
    """The values of flags, by option."""
    parser = Parser(prog="main_sagcn_gpus.py", add_help=False)
    add_options(parser, *GROUPS.values(), RenderConfig)
    add_refused(parser)
    try:
        given = vars(parser.parse_args(arguments))
    except UserError as error:
        raise UserError(f"{path}: {key}: {error}") from None
    for name in given:
        if name in FORBIDDEN:
            raise UserError(
                f"{path}: {key} has {_flag(name)}, which is not allowed in a study: {FORBIDDEN[name]}. Leave it out"
            )
    return given


def _check_slugs(path: Path, configurations: tuple[Configuration, ...]) -> None:
    """Raise UserError if two configurations have the same file name, also on case-insensitive file systems."""
    named: dict[str, str] = {}
    for configuration in configurations:
        name, slug = configuration.name, configuration.slug.lower()
        if not slug or len(slug) > MAX_NAME_LENGTH:
            raise UserError(
                f"{path}: invalid configurations.{name!r}: must be a name of 1 to {MAX_NAME_LENGTH} letters or digits"
            )
        if slug in named:
            raise UserError(f"{path}: {named[slug]!r} and {name!r} would share a run folder; rename one of them")
        named[slug] = name


def _resolve(path: Path, configurations: tuple[Configuration, ...], seeds: tuple[int, ...]) -> list[Config]:
    """Resolve all options of every configuration."""
    resolved = []
    for configuration in configurations:
        try:
            resolved.append(resolve(configuration.given | {"seed": max(seeds)})[0])
        except UserError as error:
            raise UserError(f"{path}: configurations.{configuration.name} (after common): {error}") from None
    return resolved


def _compare(path: Path, resolved: list[Config]) -> tuple[str, ...]:
    """Raise UserError if configurations cannot be compared.  Returns Study.other_windows."""
    for name in SAME_FOR_ALL:
        found = list(dict.fromkeys(value_of(config, name) for config in resolved))
        if len(found) > 1:
            raise UserError(
                f"{path}: configurations: {_flag(name)} is {found[0]} in one and {found[1]} in another, so their "
                "errors cannot be compared; give it once, in common"
            )
    return tuple(_flag(name) for name in WINDOW_OPTIONS if len({value_of(config, name) for config in resolved}) > 1)


def _flag(name: str) -> str:
    return next(flag_of(option) for _, option in options_of(*GROUPS.values(), RenderConfig) if key_of(option) == name)
