"""Reads metrics.jsonl.  Damaged lines are skipped: the file holds curves, not state."""

import json
from pathlib import Path
from typing import Any

from glagcn.errors import UserError


def read_records(path: Path) -> list[dict[str, Any]]:
    """The valid records of a metrics.jsonl, in order; empty if the file does not exist."""
    return [record for _, record in read_lines(path)]


def count_lines(path: Path) -> int:
    """The number of lines of a metrics.jsonl, damaged ones included."""
    return len(_lines(path))


def read_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The valid lines as (text, record).  A record is a dictionary with at least `kind` and `step`."""
    return [(line, record) for line in _lines(path) if (record := _record(line)) is not None]


def _lines(path: Path) -> list[str]:
    """The lines of a file; none if it does not exist.  Raises UserError if it cannot be read."""
    if not path.exists():
        return []
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; restore or remove it") from None


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return None
    step = record.get("step")
    return record if isinstance(step, int) and not isinstance(step, bool) and step >= 0 else None
