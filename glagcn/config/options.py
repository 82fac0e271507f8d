"""Declares command-line flags as fields of a dataclass."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar

Value = TypeVar("Value")
REQUIRED: Any = MISSING  # always set by a preset


def option(
    default: Any = REQUIRED,
    *,
    help: str,
    common: bool = False,
    trains: bool | None = None,
    flag: str | None = None,
    key: str | None = None,
    off: Any = None,
    **parse: Any,
) -> Any:
    """Declare a field of an options dataclass, and its flag.

    common  listed by `--help`; `--help-all` lists all flags.
    trains  whether training or selection depends on it, so that a resumed run must not change it; None: as its class.
    flag    None: two dashes and the key.
    key     name in config.json and presets; None: the name of the field.
    off     the value that means None on the command line and in files of older versions.
    parse   keyword arguments of argparse's add_argument.
    """
    meta = {"help": help, "common": common, "trains": trains, "flag": flag, "key": key, "off": off, "parse": parse}
    return field(default=default, metadata=meta)


def key_of(option: Field) -> str:
    """The name of an option in config.json and presets."""
    return option.metadata["key"] or option.name


def flag_of(option: Field) -> str:
    """The main flag of an option, such as --frames."""
    return option.metadata["flag"] or f"--{key_of(option)}"


def options_of(*groups: type) -> Iterator[tuple[type, Field]]:
    """All (group, option) pairs of some options dataclasses."""
    for group in groups:
        for found in fields(group):
            yield group, found


def comma_separated(kind: type) -> Any:
    """An argparse type that parses comma-separated values into a tuple of `kind`."""

    def parse(text: str) -> tuple:
        values = tuple(kind(part.strip()) for part in text.split(",") if part.strip())
        if not values:
            raise ValueError(text)
        return values

    parse.__name__ = f"comma separated {kind.__name__}s"
    return parse


def filled(group: type[Value], values: dict[str, Any]) -> Value:
    """An instance of an options dataclass, from `values` by key.  Ignores the keys of other groups."""
    found = {}
    for option in fields(group):  # type: ignore[arg-type]  # a dataclass
        if key_of(option) in values:
            value = values[key_of(option)]
            off = option.metadata["off"]
            found[option.name] = None if off is not None and value == off else value
    return group(**found)
