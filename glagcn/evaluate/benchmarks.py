"""All benchmarks by name.  A data set (data.dataset) names its benchmark."""

import os
import re
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
from scipy.io import savemat

from glagcn.data.cache import Split
from glagcn.data.dataset import SequenceInfo
from glagcn.data.datasets import get_dataset
from glagcn.errors import UserError
from glagcn.evaluate import protocols
from glagcn.evaluate.metrics import MPJPE, PCK, FrameMetric, Metric, frame_metrics, joint_metrics, mean, shown
from glagcn.evaluate.protocols import (
    GROUPS,
    JOINTS,
    SCORED_JOINTS,
    OfficialTables,
    Rows,
    official_3dhp,
    official_metrics,
)
from glagcn.files import write_atomically, write_text
from glagcn.skeletons import Skeleton
from glagcn.tables import Table, csv_number

# ---- The interface of a benchmark: its metrics, tables and result files.


Arrays = list[np.ndarray]
Metrics = dict[str, Any]
Tables = dict[str, Any]

# Errors are computed for this many frames at a time.  Intermediate arrays of 65,536 frames take about 0.3 GB; those of
# all 543,344 test frames of Human3.6M would take ten times that.
BLOCK = 65_536


def by_sequence(split: Split, frames: np.ndarray, values: np.ndarray) -> Arrays:
    """Split values [n,...] of the increasing frame numbers `frames` [n] into views, one for each sequence."""
    return np.split(values, np.searchsorted(frames, split.starts[1:]))


class Benchmark(ABC):
    """A benchmark: scores predictions, formats tables and writes result files.  benchmarks.py lists all of them.

    zero_root  whether the predicted root is set to zero before scoring; otherwise its small error counts.
    files      names of the files written beside result.json, for messages.
    """

    zero_root: ClassVar[bool]
    files: ClassVar[str]

    @property
    @abstractmethod
    def scalars(self) -> tuple[Metric, ...]:
        """The metrics for curves, logs and the headline; they include MPJPE, which selects best.pt."""

    @abstractmethod
    def score(self, evaluation: "Evaluation") -> tuple[Metrics, Tables]:
        """The metrics for result.json (scalars, protocol, groups, sequences) and the tables for `show` and `write`.

        `evaluation` has neither yet.

        Raises UserError if poses are not finite or have the wrong shape for the benchmark.
        """

    @abstractmethod
    def mpjpe(self, errors: np.ndarray, split: Split, frames: np.ndarray) -> float:
        """The scalar mpjpe_mm of a baseline with joint errors [n,V] at the frames [n] of a split."""

    def curves(self, metrics: Metrics) -> dict[str, dict[str, float]]:  # noqa: ARG002
        """Additional curves recorded during training, {kind: {name: value}}."""
        return {}

    def headline(self, metrics: Metrics) -> str:
        """One line with the scalars and their protocol.  `metrics` come from `score` or from result.json.

        A metric that has no value (NaN, or null in result.json), such as the velocity of single frames, is left out.
        """
        values = ((metric, metrics.get(metric.name)) for metric in self.scalars)
        scalars = ", ".join(metric.text(value) for metric, value in values if value is not None and value == value)
        return f"{scalars} ({self.protocol_line(metrics)})".lstrip()

    @abstractmethod
    def protocol_line(self, metrics: Metrics) -> str:
        """A phrase that names the protocol, frames and joints of the scalars."""

    @abstractmethod
    def show(self, evaluation: "Evaluation", by_subject: bool) -> str:
        """The tables as text; `by_subject` adds a table for each subject if the benchmark has none by default."""

    @abstractmethod
    def write(self, evaluation: "Evaluation", folder: Path) -> None:
        """Write the files beside result.json.  Raises UserError if the folder is not writable."""


@dataclass(frozen=True)
class Evaluation:
    """The scored frames of a split with their predictions, S sequences including those without scored frames.

    benchmark   scores the predictions.
    skeleton    joint set of the poses.
    sequences   S descriptions.
    frames      S arrays [n]: the scored frames, counted in the split, increasing.
    predicted   S arrays [n,V,3] mm, relative to the root.
    target      S arrays [n,V,3] mm, relative to the root, which is zero.
    activity    S arrays [n]; None if the data has no activities.
    annotation  annotation of the target, such as "univ"; may be empty.
    metrics     content of result.json: scalars, protocol, groups, sequences.
    tables      tables of the benchmark, for its files and the terminal.
    """

    benchmark: Benchmark
    skeleton: Skeleton
    sequences: tuple[SequenceInfo, ...]
    frames: Arrays
    predicted: Arrays
    target: Arrays
    activity: Arrays | None = None
    annotation: str = ""
    metrics: Metrics = field(default_factory=dict)
    tables: Tables = field(default_factory=dict)

    @property
    def scalars(self) -> dict[str, float]:
        """The metrics for curves and logs, by name."""
        return {metric.name: self.metrics[metric.name] for metric in self.benchmark.scalars}

    @property
    def headline(self) -> str:
        """One line for the log."""
        return self.benchmark.headline(self.metrics)


# ---- The benchmark by action, as papers report it on Human3.6M and HumanEva-I.
#
# Errors are computed per frame, summed per sequence, and then grouped by (subject, kind of action). All frames of all
# takes, chunks and cameras of a group have the same weight. The published average is the unweighted mean over the
# kinds of action; the mean over all frames is reported too.
#
# Source: the evaluation of VideoPose3D. The target's root is zero, the predicted root is not changed, and the mean is
# over all joints.


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


# ---- The official benchmark of MPI-INF-3DHP: PCK, AUC, tables, protocols and files; the predicted root is set to
# zero.


SEQUENCE_CSV = "mpii_3dhp_evaluation_sequencewise.csv"
ACTIVITY_CSV = "mpii_3dhp_evaluation_activitywise.csv"
INFERENCE_MAT = "inference_data.mat"
CSV_COLUMNS = 1 + len(JOINTS) + 1


class MpiInf3dhpBenchmark(Benchmark):
    """The official tables, the named protocols and the scenes, for poses of 17 joints.

    PCK, AUC and MPJPE follow the first protocol; the other scalars are means over all frames.
    """

    zero_root = True
    files = f"the CSV tables, {INFERENCE_MAT}"

    @property
    def scalars(self) -> tuple[Metric, ...]:
        """See Benchmark.  All metrics."""
        return (*frame_metrics(), *joint_metrics())

    def score(self, evaluation: Evaluation) -> tuple[Metrics, Tables]:
        """See Benchmark.  The tables and errors are those of `official_3dhp`."""
        poses = {"predicted": evaluation.predicted, "target": evaluation.target}
        names = [info.name for info in evaluation.sequences]
        named = protocols.protocols(**poses, annotation=evaluation.annotation, names=names)
        protocol = next(iter(named))
        counts = dict(zip(names, map(len, evaluation.frames), strict=True))
        metrics = {
            **named[protocol],
            **_means_mpi_inf_3dhp(evaluation, named[protocol]),
            "frames": sum(counts.values()),
            "protocol": protocol,
            "protocols": named,
            "scenes": protocols.scenes(**poses, annotation=evaluation.annotation, names=names),
            "sequences": {name: {"frames": count} for name, count in counts.items()},
        }
        rows = [re.sub(r"^TS(?=\d+$)", "TestSeq", name) for name in names]  # as the official MATLAB script names them
        return metrics, official_3dhp(**poses, activity=evaluation.activity, names=rows)

    def mpjpe(self, errors: np.ndarray, split: Split, frames: np.ndarray) -> float:  # noqa: ARG002
        """See Benchmark.  All frames have the same weight."""
        return float(mean(errors))

    def protocol_line(self, metrics: Metrics) -> str:
        """See Benchmark."""
        shares = " and ".join(metric.title for metric in joint_metrics())
        return (
            f"{metrics['protocol']}, {metrics['frames']} frames: MPJPE over {len(JOINTS)} joints, "
            f"{shares} over {len(SCORED_JOINTS)}"
        )

    def show(self, evaluation: Evaluation, by_subject: bool) -> str:  # noqa: ARG002
        """See Benchmark.  Each test sequence is a subject and always has a row, so `by_subject` adds nothing."""
        return f"{format_tables(evaluation.tables)}\n\n{format_scores(evaluation.metrics)}"

    def write(self, evaluation: Evaluation, folder: Path) -> None:
        """See Benchmark."""
        write_official_csv(evaluation.tables, folder)
        names = (info.name for info in evaluation.sequences)
        write_inference_mat(dict(zip(names, evaluation.predicted, strict=True)), folder)


def _means_mpi_inf_3dhp(evaluation: Evaluation, known: Metrics) -> dict[str, float]:
    """The means over all frames, or all pairs of consecutive frames, of the metrics that are not in `known`."""
    means = {}
    for metric in frame_metrics():
        if metric.name in known:
            continue
        errors = []
        for frames, *poses in zip(evaluation.frames, evaluation.predicted, evaluation.target, strict=True):
            if len(frames):
                found = metric.errors(*poses)
                errors.append(found[np.diff(frames) == 1] if metric.of_pairs else found)
        means[metric.name] = float(mean(np.concatenate(errors)))
    return means


def write_official_csv(tables: OfficialTables, folder: str | os.PathLike[str]) -> list[Path]:
    """Write the tables of `metrics.official_3dhp` in the format of the official MATLAB script; returns the paths.

    Without activities there is no activity file, and the file of an earlier evaluation is removed.  Raises UserError if
    the folder is not writable.
    """
    folder = Path(folder)
    written = [_write_csv(folder / SEQUENCE_CSV, "seq_table", tables["sequencewise"])]
    if "activitywise" in tables:
        written.append(_write_csv(folder / ACTIVITY_CSV, "activity_table", tables["activitywise"]))
    else:
        (folder / ACTIVITY_CSV).unlink(missing_ok=True)
    return written


def write_inference_mat(predictions: Mapping[str, np.ndarray], folder: str | os.PathLike[str]) -> Path:
    """Write inference_data.mat for the official MATLAB evaluation: (3,17,1,n) float64 for each sequence.

    predictions  {"TS1": [n,17,3], ...}, mm, relative to the root, the valid frames in order.
    Raises UserError for another shape, or if the folder is not writable.
    """
    variables = {}
    for name, poses in predictions.items():
        poses = np.asarray(poses, dtype=np.float64)
        if poses.ndim != 3 or poses.shape[1:] != (len(JOINTS), 3):
            raise UserError(
                f"predictions of {name} have shape {poses.shape}; {INFERENCE_MAT} needs [n,{len(JOINTS)},3]"
            )
        variables[name] = poses.transpose(2, 1, 0)[:, :, None, :]  # [n,17,3] -> [3,17,1,n]

    def write(file: BinaryIO) -> None:
        savemat(file, variables)

    return write_atomically(Path(folder) / INFERENCE_MAT, write)


def format_tables(tables: OfficialTables) -> str:
    """The tables as text: totals and PCK per joint group for every row, then the MPJPE of every joint."""
    blocks = []
    for kind, metrics in tables.items():
        table = Table(kind, *metrics, "| PCK", *GROUPS)
        for name, pck in metrics[PCK.title].items():
            totals = (f"{list(rows[name].values())[-1]:.2f}" for rows in metrics.values())  # Average or Total
            table.add(name, *totals, "|", *(f"{pck[group]:.1f}" for group in GROUPS))
        blocks.append(table.text(left=1))
    if "activitywise" in tables:
        overall = tables["activitywise"][MPJPE.title]["All"]
        joints = Table("joint", "MPJPE, mm", rows=((joint, f"{overall[joint]:.1f}") for joint in JOINTS))
        blocks.append(joints.text(left=1))
    else:
        blocks.append("note: the data has no activities, so there is no activity table")
    return "\n\n".join(blocks)


def format_scores(metrics: Mapping[str, Any]) -> str:
    """The named protocols and the scenes as text, one per line."""
    columns = official_metrics()
    table = Table("protocol or scene", *(metric.title for metric in columns))
    for name, scores in (metrics["protocols"] | metrics["scenes"]).items():
        table.add(name, *(f"{scores[metric.name]:.2f}" for metric in columns))
    return table.text(left=1)


def _write_csv(path: Path, column_name: str, tables: dict[str, Rows]) -> Path:
    """Write one file: MATLAB's column names, then a block for each metric; every line has 19 columns."""
    lines: list[list[str]] = []
    for title, rows in tables.items():
        lines.append(["" if title == MPJPE.title else title, *next(iter(rows.values()))])
        lines.extend([name, *map(csv_number, row.values())] for name, row in rows.items())
    padded = (line + [""] * (CSV_COLUMNS - len(line)) for line in lines)
    table = Table(*(f"{column_name}{number}" for number in range(1, CSV_COLUMNS + 1)), rows=padded)
    return write_text(path, table.csv())


# ---- All benchmarks by name. A data set (data.dataset) names its benchmark.


BENCHMARKS: dict[str, Benchmark] = {"mpi_inf_3dhp": MpiInf3dhpBenchmark(), "by_action": ByActionBenchmark()}


def benchmark_of(dataset: str) -> Benchmark:
    """The benchmark of a data set.  Raises UserError for an unknown data set or benchmark."""
    name = get_dataset(dataset).benchmark
    if name not in BENCHMARKS:
        raise UserError(f"data set {dataset}: unknown benchmark {name!r}; expected one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
