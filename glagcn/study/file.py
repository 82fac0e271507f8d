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

from glagcn.config.options import GROUPS, OPTIONS, Config, RenderConfig, options_of
from glagcn.config.parse import parse_flags
from glagcn.config.resolve import plain_values, resolve
from glagcn.errors import UserError

KEYS = ("title", "seeds", "common", "configurations")
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
    other_windows  the flags in which configurations differ that the training windows depend on; usually empty.
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
    try:
        given = parse_flags(arguments, *GROUPS.values(), RenderConfig)
    except UserError as error:
        raise UserError(f"{path}: {key}: {error}") from None
    for option in options_of(*GROUPS.values(), RenderConfig):
        if option.key in given and option.not_in_study:
            raise UserError(
                f"{path}: {key} has {option.flag}, which is not allowed in a study: {option.not_in_study}. Leave it out"
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
    differing = []
    values = [plain_values(config) for config in resolved]
    for key, option in OPTIONS.items():
        found = list(dict.fromkeys(value[key] for value in values))
        if len(found) > 1 and option.same_in_study:
            raise UserError(
                f"{path}: configurations: {option.flag} is {found[0]} in one and {found[1]} in another, so their "
                "errors cannot be compared; give it once, in common"
            )
        if len(found) > 1 and option.windows:
            differing.append(option.flag)
    return tuple(differing)
