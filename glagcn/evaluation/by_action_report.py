"""The CSV file and text tables of the benchmark by action."""

import csv
import io
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glagcn.evaluation.benchmark import Metrics, Tables
from glagcn.evaluation.metrics import frame_metrics, shown
from glagcn.evaluation.mpi_inf_3dhp_report import csv_number
from glagcn.files import write_atomically

ACTION_CSV = "evaluation_by_action.csv"
ALL_SUBJECTS = "all"
MEAN, FRAME_MEAN = "mean over actions", "all frames"
WIDTH = 98


def write_action_csv(tables: Tables, folder: str | os.PathLike[str]) -> Path:
    """Write the tables of `ByActionBenchmark.score`: all subjects, then each; a line per action and two of means.

    Numbers have 15 significant digits, in mm; NaN if there are no frames.  Returns the path.  Raises UserError if the
    folder is not writable.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["subject", "action", "frames", *(metric.name for metric in frame_metrics())])
    for subject in _groups(tables):
        for name, row in _rows(tables[subject]):
            values = (csv_number(row[metric.name]) for metric in frame_metrics())
            writer.writerow([subject, name, row["frames"], *values])
    content = text.getvalue().encode()
    return write_atomically(Path(folder) / ACTION_CSV, lambda file: file.write(content))


def format_actions(metrics: Metrics, tables: Tables, by_subject: bool) -> str:
    """The protocol, the table of all subjects and the notes; `by_subject` adds a table for each subject."""
    groups = _groups(tables) if by_subject else [ALL_SUBJECTS]
    titles = {ALL_SUBJECTS: "all subjects"}
    blocks = [f"{metrics['protocol']}\n{_legend()}"]
    blocks += [_format_table(titles.get(name, name), tables[name]) for name in groups]
    if by_subject:
        blocks.append(_format_row("mean over subject x action", tables["cell_mean"]))
    blocks += [textwrap.fill(f"note: {note}", WIDTH, break_on_hyphens=False) for note in metrics["notes"]]
    return "\n\n".join(blocks)


def _legend() -> str:
    """A description of the columns, two per line."""
    columns = [
        f"{metric.column}: {metric.title}, {metric.about}" if metric.column else f"{metric.title}: {metric.about}"
        for metric in frame_metrics()
        if metric.about
    ]
    pairs = ["; ".join(columns[start : start + 2]) for start in range(0, len(columns), 2)]
    return ";\n".join(pairs) + "; all in mm"


def _groups(tables: Tables) -> list[str]:
    """The names of the tables: all subjects together, then each subject."""
    return [name for name in tables if name != "cell_mean"]


def _rows(table: dict[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    yield from table["actions"].items()
    yield MEAN, table["mean"]
    yield FRAME_MEAN, table["frame_mean"]


def _format_table(title: str, table: dict[str, Any]) -> str:
    columns = ("frames", *(metric.heading for metric in frame_metrics()))
    header = f"{title:<27}" + "".join(f"{column:>12}" for column in columns)
    rule = "-" * len(header)
    actions = [_format_row(name, row) for name, row in table["actions"].items()]
    means = [_format_row(MEAN, table["mean"]), _format_row(FRAME_MEAN, table["frame_mean"])]
    return "\n".join([header, rule, *actions, rule, *means])


def _format_row(name: str, row: dict[str, float]) -> str:
    values = "".join(f"{shown(row[metric.name]):>12}" for metric in frame_metrics())
    return f"{name:<27}{row['frames']:>12,}{values}"
