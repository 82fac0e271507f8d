"""What an evaluation by action leaves for people and their tools: a CSV file, tables on the screen, one line."""

import csv
import io
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glagcn.evaluation.benchmark import Figures, Tables
from glagcn.evaluation.by_action import ALL_SUBJECTS, FIGURES, Row
from glagcn.evaluation.mpi_inf_3dhp_report import csv_number
from glagcn.files import write_atomically

ACTION_CSV = "evaluation_by_action.csv"
MEAN, FRAME_MEAN = "mean over actions", "all frames"
LEGEND = """\
protocol 1: MPJPE, as predicted; protocol 2: P-MPJPE, after rotation, scale and translation;
protocol 3: N-MPJPE, after scale; velocity: MPJVE, of the motion from frame to frame; all in mm"""
COLUMNS = ("frames", "protocol 1", "protocol 2", "protocol 3", "velocity")
WIDTH = 98


def write_action_csv(tables: Tables, folder: str | os.PathLike[str]) -> Path:
    """Writes `by_action.score`'s tables, all subjects first, a line per action and two of means; returns the path.

    Numbers have 15 significant digits, in mm; NaN where there was nothing to average.  Raises UserError where the
    folder cannot be written to.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["subject", "action", "frames", *FIGURES])
    for subject in _groups(tables):
        for name, row in _rows(tables[subject]):
            writer.writerow([subject, name, row["frames"], *(csv_number(row[figure]) for figure in FIGURES)])
    content = text.getvalue().encode()
    return write_atomically(Path(folder) / ACTION_CSV, lambda file: file.write(content))


def format_actions(figures: Figures, tables: Tables, by_subject: bool) -> str:
    """The protocol, a table of all subjects, with `by_subject` one of each and the mean over cells, and the notes."""
    shown = _groups(tables) if by_subject else [ALL_SUBJECTS]
    titles = {ALL_SUBJECTS: "all subjects"}
    blocks = [f"{figures['protocol']}\n{LEGEND}"]
    blocks += [_format_table(titles.get(name, name), tables[name]) for name in shown]
    if by_subject:
        blocks.append(_format_row("mean over subject x action", tables["cell_mean"]))
    blocks += [textwrap.fill(f"note: {note}", WIDTH, break_on_hyphens=False) for note in figures["notes"]]
    return "\n\n".join(blocks)


def headline(figures: Figures) -> str:
    """One line for the log, of figures from memory or from result.json: the figures and the protocol they follow."""
    actions = figures["actions"]
    scored = sum(row["frames"] > 0 for row in actions.values())
    count = f"{scored}" if scored == len(actions) else f"{scored} of {len(actions)}"
    return (
        f"MPJPE {_mm(figures['mpjpe_mm'])} mm, P-MPJPE {_mm(figures['p_mpjpe_mm'])} mm, "
        f"N-MPJPE {_mm(figures['n_mpjpe_mm'])} mm, velocity {_mm(figures['velocity_mm'])} mm "
        f"(mean over {count} action{'s' * (len(actions) > 1)} of {figures['frames']:,} frames, root {figures['root']}; "
        f"frame-weighted MPJPE {_mm(figures['frame_mean']['mpjpe_mm'])} mm)"
    )


def _groups(tables: Tables) -> list[str]:
    """All subjects together, then each."""
    return [name for name in tables if name != "cell_mean"]


def _rows(table: dict[str, Any]) -> Iterator[tuple[str, Row]]:
    yield from table["actions"].items()
    yield MEAN, table["mean"]
    yield FRAME_MEAN, table["frame_mean"]


def _format_table(title: str, table: dict[str, Any]) -> str:
    header = f"{title:<27}" + "".join(f"{column:>12}" for column in COLUMNS)
    rule = "-" * len(header)
    actions = [_format_row(name, row) for name, row in table["actions"].items()]
    means = [_format_row(MEAN, table["mean"]), _format_row(FRAME_MEAN, table["frame_mean"])]
    return "\n".join([header, rule, *actions, rule, *means])


def _format_row(name: str, row: Row) -> str:
    return f"{name:<27}{row['frames']:>12,}" + "".join(f"{_mm(row[figure]):>12}" for figure in FIGURES)


def _mm(value: float | None) -> str:
    """Two digits; there is nothing to show of NaN, or of the null that stands for it in JSON."""
    return "n/a" if value is None or value != value else f"{value:.2f}"
