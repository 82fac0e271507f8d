"""Reads metrics.jsonl.  Damaged lines are skipped: the file holds curves, not state."""

import json
from pathlib import Path
from typing import Any


def read_records(path: Path) -> list[dict[str, Any]]:
    """The valid records of a metrics.jsonl, in order; empty if the file does not exist."""
    return [record for _, record in read_lines(path)]


def read_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The valid lines as (text, record).  A record is a dictionary with at least `kind` and `step`."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [(line, record) for line in lines if (record := _record(line)) is not None]


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return None
    step = record.get("step")
    return record if isinstance(step, int) and not isinstance(step, bool) and step >= 0 else None
