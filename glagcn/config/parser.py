"""The command-line parser: argparse for the declared options."""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import Field
from difflib import get_close_matches
from typing import Any, NoReturn

from glagcn.config.options import flag_of, key_of, options_of
from glagcn.config.published_flags import ALIASES, REFUSED, REFUSED_EVERYWHERE, SWITCHES
from glagcn.errors import UserError

HELP_ALL = "--help-all"


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UserError instead of exiting, and does not accept abbreviated flags."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**({"allow_abbrev": False} | settings))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse, but first refuses unknown flags, and abbreviated ones such as -tt, which argparse accepts."""
        words = list(sys.argv[1:] if args is None else args)
        for word in words:
            verb = self._subparsers is not None and not word.startswith("-")
            if verb or word == "--":
                break  # what follows is for the verb, or no flag
            flag = word.partition("=")[0]
            if flag in self._option_string_actions or " " in word:
                continue
            if word.startswith("--"):
                self._refuse(flag)
            if whole := self._abbreviated(word):
                self.error(f"{word} is not a flag; did you mean {whole}?")
        return super().parse_known_args(words, namespace)

    def _refuse(self, flag: str) -> NoReturn:
        """Raise UserError for an unknown flag, with the reason if there is one, else with the nearest flag."""
        spelling = "--" + flag[2:].replace("-", "_")
        if spelling in REFUSED_EVERYWHERE:
            raise UserError(f"{spelling} has no meaning here: {REFUSED_EVERYWHERE[spelling]}")
        known: dict[str, str] = {}  # the first spelling of a flag is the one that the help lists
        for name, action in self._option_string_actions.items():
            if name.startswith("--") and action.dest != "refused":
                known.setdefault(_squeezed(name), name)
        begun = sorted((name for name in known if name.startswith(_squeezed(flag))), key=len)
        near = begun or get_close_matches(_squeezed(flag), known, 1)
        if not near:
            self.error(f"unrecognized {flag}")
        raise UserError(f"unrecognized {flag}; did you mean {known[near[0]]}? `{self.prog} --help` lists the flags")

    def error(self, message: str) -> NoReturn:
        """Raise UserError; argparse calls this for every invalid command line."""
        raise UserError(f"{message}; `{self.prog} --help` lists the flags")

    def _abbreviated(self, word: str) -> str:
        """The long single-dash flags that start with `word`, as text; empty if there are none."""
        single = [flag for flag in self._option_string_actions if not flag.startswith("--") and len(flag) > 2]
        return " or ".join(flag for flag in single if len(word) > 1 and flag.startswith(word))


def add_options(
    parser: argparse.ArgumentParser,
    *groups: type,
    keys: Iterable[str] | None = None,
    everything: bool = True,
) -> None:
    """Add the flags of options dataclasses.  Flags that are not given have no value in the parsed namespace.

    keys        of the options to add; None: all.
    everything  list all flags in the help; False: only the common ones.
    The help lists one spelling of each flag; `other_spellings` lists the others.
    """
    headings: dict[type, Any] = {}
    for group, option in options_of(*groups):
        key, meta = key_of(option), option.metadata
        if keys is not None and key not in keys:
            continue
        if group not in headings:
            headings[group] = parser.add_argument_group(group.title)  # type: ignore[attr-defined]
        text = _help(option) if everything or meta["common"] else argparse.SUPPRESS
        common: dict[str, Any] = {"dest": key, "default": argparse.SUPPRESS}
        headings[group].add_argument(flag_of(option), help=text, **common, **meta["parse"])
        if others := [s for s in _spellings((flag_of(option), *ALIASES.get(key, ()))) if s != flag_of(option)]:
            parser.add_argument(*others, help=argparse.SUPPRESS, **common, **meta["parse"])
        for value, flags in SWITCHES.get(key, {}).items():
            parser.add_argument(*_spellings(flags), action="store_const", const=value, help=argparse.SUPPRESS, **common)


def add_refused(parser: argparse.ArgumentParser) -> None:
    """Add the flags that are refused with a reason; the help does not list them."""
    for flag, reason in REFUSED.items():
        parser.add_argument(
            *_spellings((flag,)), action=_Refuse, reason=reason, nargs="*", help=argparse.SUPPRESS, dest="refused"
        )


def other_spellings(*groups: type) -> str:
    """One line with the spellings that the help does not list."""
    flags = {key_of(option): flag_of(option) for _, option in options_of(*groups)}
    same = [f"{' '.join(others)} = {flags[key]}" for key, others in ALIASES.items() if key in flags]
    switches = [
        f"{' '.join(others)} = {flags[key]} {value}"
        for key, values in SWITCHES.items()
        if key in flags
        for value, others in values.items()
    ]
    return f"Other spellings: {', '.join([*same, *switches])}; hyphens for underscores."


def _help(option: Field) -> str:
    shown = isinstance(option.default, str | int | float) and not isinstance(option.default, bool)
    return option.metadata["help"] + (f" (default {option.default})" if shown else "")


def _squeezed(flag: str) -> str:
    """A flag without what people spell differently: --batchSize, --batch-size and --batch_size are one."""
    return flag.lower().replace("-", "").replace("_", "")


def _spellings(flags: tuple[str, ...]) -> list[str]:
    """The flags, each with underscores and with hyphens."""
    return list(dict.fromkeys(style for flag in flags for style in (flag, flag[:2] + flag[2:].replace("_", "-"))))


class _Refuse(argparse.Action):
    """An action that refuses a flag with a reason."""

    def __init__(self, reason: str, **settings: Any) -> None:
        super().__init__(default=argparse.SUPPRESS, **settings)
        self.reason = reason

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:  # noqa: ARG002
        raise UserError(f"{self.option_strings[0]} has no meaning here: {self.reason}")
