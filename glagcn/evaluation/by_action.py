"""The benchmark by action, as papers report it on Human3.6M and HumanEva-I.

Errors are computed per frame, summed per sequence, and then grouped by (subject, kind of action).  All frames of all
takes, chunks and cameras of a group have the same weight.  The published average is the unweighted mean over the kinds
of action; the mean over all frames is reported too.

Source: the evaluation of VideoPose3D.  The target's root is zero, the predicted root is not changed, and the mean is
over all joints.
"""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.data.cache.reader import Split
from glagcn.data.sequence import SequenceInfo
from glagcn.evaluation.benchmark import BLOCK, Benchmark, Evaluation, Metrics, Tables, by_sequence
from glagcn.evaluation.metrics import MPJPE, FrameMetric, Metric, frame_metrics, mean, shown
from glagcn.files import write_text
from glagcn.tables import Table, csv_number

CURVES = "test_mpjpe_by_action"
ACTION_CSV = "evaluation_by_action.csv"
ALL_SUBJECTS = "all"
WIDTH = 98  # of the notes below the tables
Total = tuple[float, float]  # the sum of a metric, and its weight


@dataclass(frozen=True)
class SequenceTotals:
    """The number of scored frames of a sequence, and {metric: (sum, weight)} over them."""

    frames: int
    totals: dict[str, Total]


class ByActionBenchmark(Benchmark):
    """Means over kinds of action, for any joint set.

    The tables are {"all" or subject: {"actions": {kind: row}, "mean": row, "frame_mean": row}}.  A row is {"frames":
    int, metric: mm}.  The row "cell_mean" is the unweighted mean over all pairs of subject and kind of action.  A
    metric without frames is NaN; means leave it out, and "notes" lists it.
    """

    zero_root = False
    files = ACTION_CSV

    @property
    def scalars(self) -> tuple[Metric, ...]:
        """See Benchmark.  The metrics of frames, averaged over kinds of action."""
        return tuple(frame_metrics())

    def score(self, evaluation: Evaluation) -> tuple[Metrics, Tables]:
        """See Benchmark."""
        parts = zip(evaluation.predicted, evaluation.target, evaluation.frames, strict=True)
        totals = (sequence_totals(*part) for part in parts)
        sequences = list(zip(evaluation.sequences, totals, strict=True))
        names = list(dict.fromkeys(info.subject for info, _ in sequences))
        tables: Tables = {ALL_SUBJECTS: _table(sequences)}
        tables |= {name: _table([row for row in sequences if row[0].subject == name]) for name in names}
        whole = tables[ALL_SUBJECTS]
        cells = {f"{name} {kind}": row for name in names for kind, row in tables[name]["actions"].items()}
        tables["cell_mean"] = _mean_row(cells.values())
        metrics = {
            **_means(whole["mean"]),
            "frames": whole["frame_mean"]["frames"],
            "protocol": f"mean-over-actions ({evaluation.skeleton.num_joints} joints, root as predicted)",
            "actions": whole["actions"],
            "frame_mean": _means(whole["frame_mean"]),
            "subjects": {
                name: {
                    "actions": tables[name]["actions"],
                    "mean": _means(tables[name]["mean"]),
                    "frame_mean": _means(tables[name]["frame_mean"]),
                }
                for name in names
            },
            "cell_mean": _means(tables["cell_mean"]),
            "sequences": {
                info.name: {"frames": own.frames, MPJPE.name: _divide([own.totals[MPJPE.name]])}
                for info, own in sequences
            },
            "notes": _notes(whole["actions"], "over actions") + _notes(cells, "over cells"),
        }
        return metrics, tables

    def mpjpe(self, errors: np.ndarray, split: Split, frames: np.ndarray) -> float:
        """See Benchmark.  The mean over kinds of action."""
        by_kind: dict[str, list[Total]] = {}
        for info, part in zip(split.sequences, by_sequence(split, frames, errors), strict=True):
            by_kind.setdefault(_kind(info), []).append((part.sum(), part.size))
        return _mean(_divide(totals) for totals in by_kind.values())

    def curves(self, metrics: Metrics) -> dict[str, dict[str, float]]:
        """See Benchmark.  One curve of the MPJPE for each kind of action."""
        return {CURVES: {kind: row[MPJPE.name] for kind, row in metrics["actions"].items()}}

    def protocol_line(self, metrics: Metrics) -> str:
        """See Benchmark."""
        actions = metrics["actions"]
        scored = sum(row["frames"] > 0 for row in actions.values())
        count = f"{scored}" if scored == len(actions) else f"{scored} of {len(actions)}"
        return (
            f"mean over {count} action{'s' * (len(actions) > 1)} of {metrics['frames']:,} frames, root "
            f"{metrics['root']}; frame-weighted MPJPE {shown(metrics['frame_mean'][MPJPE.name])} mm"
        )

    def show(self, evaluation: Evaluation, by_subject: bool) -> str:
        """See Benchmark.  The protocol, the table of all subjects and the notes."""
        tables, titles = evaluation.tables, {ALL_SUBJECTS: "all subjects"}
        groups = _groups(tables) if by_subject else [ALL_SUBJECTS]
        blocks = [f"{evaluation.metrics['protocol']}\n{_legend()}"]
        blocks += [_text(titles.get(name, name), _rows(tables[name])) for name in groups]
        if by_subject:
            blocks.append(_text("all subjects", [("mean over subject x action", tables["cell_mean"])]))
        notes = evaluation.metrics["notes"]
        blocks += [textwrap.fill(f"note: {note}", WIDTH, break_on_hyphens=False) for note in notes]
        return "\n\n".join(blocks)

    def write(self, evaluation: Evaluation, folder: Path) -> None:
        """See Benchmark.  All subjects, then each: a line per action and two of means.

        Numbers have 15 significant digits, in mm; NaN if there are no frames.
        """
        table = Table("subject", "action", "frames", *(metric.name for metric in frame_metrics()))
        for subject in _groups(evaluation.tables):
            for name, row in _rows(evaluation.tables[subject]):
                values = (csv_number(row[metric.name]) for metric in frame_metrics())
                table.add(subject, name, row["frames"], *values)
        write_text(folder / ACTION_CSV, table.csv())


def sequence_totals(predicted: np.ndarray, target: np.ndarray, frames: np.ndarray) -> SequenceTotals:
    """The totals of one sequence of poses [n,V,3] mm with frame numbers [n].

    Each frame has weight 1.  A metric of pairs is the mean over pairs of consecutive frames, weighted with the number
    of frames of the sequence, or 0 if it has no pair.
    """
    totals = {metric.name: _total(metric, predicted, target, frames) for metric in frame_metrics()}
    return SequenceTotals(len(frames), totals)


def _total(metric: FrameMetric, predicted: np.ndarray, target: np.ndarray, frames: np.ndarray) -> Total:
    counts = np.diff(frames) == 1 if metric.of_pairs else np.ones(len(frames), dtype=bool)
    number, total = int(np.count_nonzero(counts)), 0.0
    if not number:
        return 0.0, 0.0
    for begin in range(0, len(counts), BLOCK):
        block = slice(begin, begin + BLOCK + metric.of_pairs)
        errors = metric.errors(predicted[block], target[block])
        total += errors[counts[begin : begin + BLOCK]].sum()
    return (total / number * len(frames) if metric.of_pairs else total), len(frames)


def _kind(info: SequenceInfo) -> str:
    return info.kind_of_action or "(no action)"


def _table(sequences: list[tuple[SequenceInfo, SequenceTotals]]) -> dict[str, Any]:
    by_kind: dict[str, list[SequenceTotals]] = {}
    for info, totals in sequences:
        by_kind.setdefault(_kind(info), []).append(totals)
    # Ignore case: this is the order of the columns in papers.
    actions = {kind: _row(by_kind[kind]) for kind in sorted(by_kind, key=str.lower)}
    return {"actions": actions, "mean": _mean_row(actions.values()), "frame_mean": _row([own for _, own in sequences])}


def _row(sequences: list[SequenceTotals]) -> dict[str, float]:
    """The number of frames and the mean of every metric over the pooled frames of some sequences."""
    means = {metric.name: _divide([own.totals[metric.name] for own in sequences]) for metric in frame_metrics()}
    return {"frames": sum(own.frames for own in sequences)} | means


def _divide(totals: list[Total]) -> float:
    """The weighted mean of totals; NaN if the weight is 0."""
    total, weight = np.array(totals).sum(axis=0)
    return float(total / weight) if weight else float("nan")


def _mean_row(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    """The unweighted mean of rows; each metric is averaged over the rows that have it."""
    rows = list(rows)
    means = {metric.name: _mean(row[metric.name] for row in rows) for metric in frame_metrics()}
    return {"frames": sum(row["frames"] for row in rows)} | means


def _mean(values: Iterable[float]) -> float:
    return float(mean(np.array([value for value in values if value == value])))


def _means(row: dict[str, float]) -> dict[str, float]:
    return {metric.name: row[metric.name] for metric in frame_metrics()}


def _notes(rows: dict[str, dict[str, float]], which: str) -> list[str]:
    """Notes on the rows that the mean over `rows` leaves out."""
    notes = []
    if empty := [name for name, row in rows.items() if not row["frames"]]:
        notes.append(f"no scored frames, left out of the means {which}: {', '.join(empty)}")
    for metric in (metric for metric in frame_metrics() if metric.of_pairs):
        if still := [name for name, row in rows.items() if row["frames"] and np.isnan(row[metric.name])]:
            left_out = f"left out of the mean {metric.title} {which}"
            notes.append(f"no two consecutive scored frames, {left_out}: {', '.join(still)}")
    return notes


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


def _rows(table: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return [*table["actions"].items(), ("mean over actions", table["mean"]), ("all frames", table["frame_mean"])]


def _text(title: str, rows: list[tuple[str, dict[str, float]]]) -> str:
    table = Table(title, "frames", *(metric.heading for metric in frame_metrics()))
    for name, row in rows:
        table.add(name, f"{row['frames']:,}", *(shown(row[metric.name]) for metric in frame_metrics()))
    return table.text(left=1)
