"""--config FILE: flags from a TOML file, or from the config.json of a run."""

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

# What belongs to one call, not to the settings of a run.
OF_ONE_CALL = ("fresh", "dry_run", "evaluate", "output", "resume", "debug")
# Two options that say the same: (the one that counts where config.json has both, the other).
SAME = (
    ("windows", "epochs"),
    ("eval_windows", "eval_epochs"),
    ("accumulate", "micro_batch"),
    ("architecture", "frames"),
)
OPTIONS = {key_of(option): option for _, option in options_of(*GROUPS.values())}


def read_flags(path: Path) -> dict[str, Any]:
    """The values of the flags in a file, by option.

    A TOML file has flags without their dashes as keys, in any tables:  frames = 81,  causal = true,
    subjects_train = ["S1", "S2"].  A file whose name ends in .json is the config.json of a run.
    Raises UserError, naming file and key, where it cannot be read or a flag does not exist or has a wrong value.
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
    """The values of a file with those of the command line, which win, also where they say the same differently."""
    replaced = {other for pair in SAME for one, other in (pair, pair[::-1]) if one in given}
    return {key: value for key, value in file.items() if key not in replaced} | given


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UserError(
            f"--config {path}: {error.strerror or error}; give a TOML file of flags, or a config.json"
        ) from None
    except ValueError as error:  # of JSON, TOML and UTF-8
        raise UserError(f"--config {path} is not {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"--config {path} holds a {type(content).__name__}; must hold flags with their values")
    return content


def _settings(content: dict[str, Any]) -> dict[str, Any]:
    """What of a run's config.json another run can be given: no options of one call, no second way to say the same."""
    kept = {
        key: value
        for key, value in content.items()
        if value not in (None, "", False, []) or getattr(OPTIONS.get(key), "default", None) is True
    }
    for key in [*OF_ONE_CALL, *(key for key in kept if key == "render" or key.startswith("viz_"))]:
        kept.pop(key, None)
    for one, other in SAME:
        if one in kept:
            kept.pop(other, None)
    if kept.get("select_on") != "validation":
        for key in ("validation", "validation_frames"):
            kept.pop(key, None)
    return kept


def _flat(content: dict[str, Any]) -> list[tuple[str, Any]]:
    """All (key, value), those of tables too."""
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
