"""--config FILE: read flags from a TOML file or from the config.json of a run."""

import argparse
import json
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from glagcn.config.config import GROUPS
from glagcn.config.options import flag_of, key_of, options_of
from glagcn.config.parser import Parser, add_options, add_refused
from glagcn.errors import UserError

# Options of a single call, which another run does not take from config.json.
CALL_OPTIONS = ("fresh", "dry_run", "evaluate", "output", "resume", "debug")
# Pairs of alternative options; if config.json has both, the first one counts.
ALTERNATIVES = (
    ("windows", "epochs"),
    ("eval_windows", "eval_epochs"),
    ("accumulate", "micro_batch"),
    ("architecture", "frames"),
)
OPTIONS = {key_of(option): option for _, option in options_of(*GROUPS.values())}


def read_flags(path: Path) -> dict[str, Any]:
    """The flags in a file, as {option: value}.

    The keys of a TOML file are flags without dashes, in any tables:  frames = 81,  causal = true,
    subjects_train = ["S1", "S2"].  A file that ends in .json is the config.json of a run.
    Raises UserError, naming file and key, for an unreadable file, an unknown flag or an invalid value.
    """
    content = _load(path)
    if path.suffix == ".json":
        content = _settings(content)
    words = [word for key, value in _flat(content) for word in _words(path, key, value)]
    parser = Parser(prog="main_sagcn_gpus.py", add_help=False)
    add_options(parser, *GROUPS.values())
    add_refused(parser)
    try:
        return vars(parser.parse_args(words))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def combined(file: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The values of file and command line.  The command line wins, also over an alternative option in the file."""
    replaced = {other for pair in ALTERNATIVES for one, other in (pair, pair[::-1]) if one in given}
    return {key: value for key, value in file.items() if key not in replaced} | given


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UserError(
            f"invalid --config {path}: {error.strerror or error}; give a TOML file of flags, or a config.json"
        ) from None
    except (ValueError, RecursionError) as error:  # from JSON, TOML or UTF-8
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise UserError(f"invalid --config {path}: not {kind} ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"invalid --config {path}: holds a {type(content).__name__}, must hold flags with their values")
    return content


def _settings(content: dict[str, Any]) -> dict[str, Any]:
    """The options of a config.json that another run can take: no options of a single call, no second alternative."""
    kept = {
        key: value
        for key, value in content.items()
        if value not in (None, "", False, []) or getattr(OPTIONS.get(key), "default", None) is True
    }
    for key in [*CALL_OPTIONS, *(key for key in kept if key == "render" or key.startswith("viz_"))]:
        kept.pop(key, None)
    for one, other in ALTERNATIVES:
        if one in kept:
            kept.pop(other, None)
    if kept.get("select_on") != "validation":
        for key in ("validation", "validation_frames"):
            kept.pop(key, None)
    return kept


def _flat(content: dict[str, Any]) -> list[tuple[str, Any]]:
    """All (key, value) pairs, including those in tables."""
    return [
        pair for key, value in content.items() for pair in (_flat(value) if isinstance(value, dict) else [(key, value)])
    ]


def _words(path: Path, key: str, value: Any) -> list[str]:
    """The equivalent command-line arguments."""
    option = OPTIONS.get(key.replace("-", "_"))
    if option is None:
        near = get_close_matches(key, OPTIONS, 1)
        raise UserError(f"{path}: no flag --{key}" + (f"; did you mean {near[0]}?" if near else ""))
    flag, action = flag_of(option), option.metadata["parse"].get("action")
    if action == "store_true" and isinstance(value, bool):
        return [flag] if value else []
    if action is argparse.BooleanOptionalAction and isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return [f"{flag}={text}"]
