"""How the fields of a dataclass declare command line flags."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar

Value = TypeVar("Value")
REQUIRED: Any = MISSING  # a preset always fills it


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
    """A field of a dataclass of options, and its flag.

    common  `--help` lists it; `--help-all` lists all.
    trains  whether training or the choice of the best state depends on it, so that a resumed run must agree with it;
            None: as its class says.
    flag    None: the key after two dashes.
    key     its name in config.json and presets; None: the field's.
    off     the value that means None on the command line and in files of older versions.
    parse   further keywords of argparse's add_argument.
    """
    meta = {"help": help, "common": common, "trains": trains, "flag": flag, "key": key, "off": off, "parse": parse}
    return field(default=default, metadata=meta)


def key_of(option: Field) -> str:
    """The name of an option in config.json, in presets and in messages."""
    return option.metadata["key"] or option.name


def flag_of(option: Field) -> str:
    """The flag of an option, as messages and help name it."""
    return option.metadata["flag"] or f"--{key_of(option)}"


def options_of(*groups: type) -> Iterator[tuple[type, Field]]:
    """(group, option) of every option of some dataclasses."""
    for group in groups:
        for found in fields(group):
            yield group, found


def comma_separated(kind: type) -> Any:
    """An argparse type: a tuple of `kind`, written with commas."""

    def parse(text: str) -> tuple:
        values = tuple(kind(part.strip()) for part in text.split(",") if part.strip())
        if not values:
            raise ValueError(text)
        return values

    parse.__name__ = f"comma separated {kind.__name__}s"
    return parse


def filled(group: type[Value], values: dict[str, Any]) -> Value:
    """An instance of a dataclass of options from `values` by key; others of the values are left alone."""
    found = {}
    for option in fields(group):  # type: ignore[arg-type]  # a dataclass
        if key_of(option) in values:
            value = values[key_of(option)]
            off = option.metadata["off"]
            found[option.name] = None if off is not None and value == off else value
    return group(**found)
