"""The two kinds of benchmark: what is measured of predicted poses, and the tables and files that show it.

A data set (data.dataset) names its benchmark.  "by_action" is what papers report on Human3.6M and HumanEva-I;
"mpi_inf_3dhp" is the official evaluation of MPI-INF-3DHP.
"""

import re
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from glagcn.data.dataset import SequenceInfo, Split
from glagcn.data.datasets import get_dataset
from glagcn.errors import UserError
from glagcn.evaluate import protocols
from glagcn.evaluate.metrics import MPJPE, PCK, FrameMetric, Metric, frame_metrics, joint_metrics, mean, shown
from glagcn.files import write_atomically, write_text
from glagcn.skeletons import Skeleton
from glagcn.tables import Table, csv_number

Metrics = dict[str, Any]

# Errors are computed for this many frames at a time.  Intermediate arrays of 65,536 frames take about 0.3 GB; those of
# all 543,344 test frames of Human3.6M would take ten times that.
BLOCK = 65_536


class Benchmark(ABC):
    """Scores predictions, and shows and writes the metrics."""

    zero_root: ClassVar[bool]  # the predicted root is set to zero before scoring; otherwise its small error counts
    files: ClassVar[str]  # written beside result.json, for messages

    @property
    @abstractmethod
    def scalars(self) -> tuple[Metric, ...]:
        """The metrics for curves, logs and the headline; they include MPJPE, which selects best.pt."""

    @abstractmethod
    def score(self, evaluation: "Evaluation") -> Metrics:
        """The metrics of `evaluation`, which has none yet, for result.json: scalars, protocol, groups, sequences.

        Raises UserError if poses are not finite or have the wrong shape for the benchmark.
        """

    @abstractmethod
    def mpjpe(self, errors: np.ndarray, split: Split, frames: np.ndarray) -> float:
        """The scalar mpjpe_mm of a baseline with joint errors [n,V] at the frames [n] of a split."""

    @abstractmethod
    def protocol_line(self, metrics: Metrics) -> str:
        """A phrase that names the protocol, frames and joints of the scalars."""

    @abstractmethod
    def show(self, evaluation: "Evaluation", by_subject: bool) -> str:
        """The tables as text; `by_subject` adds a table for each subject if there is none by default."""

    @abstractmethod
    def write(self, evaluation: "Evaluation", folder: Path) -> None:
        """Write the files beside result.json.  Raises UserError if the folder is not writable."""

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


@dataclass(frozen=True)
class Evaluation:
    """The scored frames of a split with their predictions, S sequences including those without scored frames."""

    benchmark: Benchmark
    skeleton: Skeleton  # of the poses
    sequences: tuple[SequenceInfo, ...]
    frames: list[np.ndarray]  # S arrays [n]: the scored frames, counted in the split, increasing
    predicted: list[np.ndarray]  # S arrays [n,V,3] mm, relative to the root
    target: list[np.ndarray]  # S arrays [n,V,3] mm, relative to the root, which is zero
    activity: list[np.ndarray] | None = None  # S arrays [n]; None if the data has no activities
    annotation: str = ""  # of the target, such as "univ"; may be empty
    metrics: Metrics = field(default_factory=dict)  # content of result.json: scalars, protocol, groups, sequences

    @property
    def scalars(self) -> dict[str, float]:
        """The metrics for curves and logs, by name."""
        return {metric.name: self.metrics[metric.name] for metric in self.benchmark.scalars}

    @property
    def headline(self) -> str:
        """One line for the log."""
        return self.benchmark.headline(self.metrics)


def benchmark_of(dataset: str) -> Benchmark:
    """The benchmark of a data set.  Raises UserError for an unknown data set or benchmark."""
    name = get_dataset(dataset).benchmark
    if name not in BENCHMARKS:
        raise UserError(f"data set {dataset}: unknown benchmark {name!r}; expected one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def by_sequence(split: Split, frames: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """Split values [n,...] of the increasing frame numbers `frames` [n] into views, one for each sequence."""
    return np.split(values, np.searchsorted(frames, split.starts[1:]))


ACTION_CSV = "evaluation_by_action.csv"
CURVES = "test_mpjpe_by_action"
WIDTH = 98  # of the notes below the tables

Row = dict[str, Any]  # {"frames": int, metric: mm}


class _ByAction(Benchmark):
    """Means over kinds of action, for any joint set, as VideoPose3D computes them.

    Errors are computed per frame, summed per sequence, and then grouped by (subject, kind of action).  All frames of
    all takes, chunks and cameras of a group have the same weight.  The published average is the unweighted mean over
    the kinds of action; "frame_mean" is the mean over all frames, and "cell_mean" the unweighted mean over all pairs of
    subject and kind of action.  A metric without frames is NaN; means leave it out, and "notes" lists it.

    The target's root is zero, the predicted root is not changed, and the mean is over all joints.
    """

    zero_root = False
    files = ACTION_CSV

    @property
    def scalars(self) -> tuple[Metric, ...]:
        """The metrics of frames, averaged over kinds of action."""
        return tuple(frame_metrics())

    def score(self, evaluation: Evaluation) -> Metrics:
        """The means over kinds of action, of all test people and of each, and of frames."""
        parts = zip(evaluation.predicted, evaluation.target, evaluation.frames, strict=True)
        totals = np.array([sequence_totals(*part) for part in parts])
        infos = evaluation.sequences

        def group(chosen: list[int]) -> Metrics:
            """The rows of the kinds of action of some sequences, their mean, and that of all frames."""
            kinds: dict[str, list[int]] = {}
            for number in chosen:
                kinds.setdefault(_kind(infos[number]), []).append(number)
            # Ignore case: this is the order of the columns in papers.
            actions = {kind: _row(totals[kinds[kind]]) for kind in sorted(kinds, key=str.lower)}
            return {"actions": actions, "mean": _mean_row(actions.values()), "frame_mean": _means(_row(totals[chosen]))}

        names = dict.fromkeys(info.subject for info in infos)
        every = group([*range(len(infos))])
        subjects = {name: group([n for n, info in enumerate(infos) if info.subject == name]) for name in names}
        cells = {f"{name} {kind}": row for name in names for kind, row in subjects[name]["actions"].items()}
        alone = (_row(totals[[number]]) for number in range(len(infos)))
        return {
            **every.pop("mean"),
            "frames": sum(map(len, evaluation.frames)),
            "protocol": f"mean-over-actions ({evaluation.skeleton.num_joints} joints, root as predicted)",
            **every,
            "subjects": subjects,
            "cell_mean": _mean_row(cells.values()),
            "sequences": {info.name: row for info, row in zip(infos, alone, strict=True)},
            "notes": _notes(every["actions"], "over actions") + _notes(cells, "over subject x action"),
        }

    def mpjpe(self, errors: np.ndarray, split: Split, frames: np.ndarray) -> float:
        """The mean over kinds of action."""
        by_kind: dict[str, list[tuple[float, float]]] = {}
        for info, part in zip(split.sequences, by_sequence(split, frames, errors), strict=True):
            by_kind.setdefault(_kind(info), []).append((part.sum(), part.size))
        return _mean(_divide(*np.sum(totals, axis=0)) for totals in by_kind.values())

    def curves(self, metrics: Metrics) -> dict[str, dict[str, float]]:
        """One curve of the MPJPE for each kind of action."""
        return {CURVES: {kind: row[MPJPE.name] for kind, row in metrics["actions"].items()}}

    def protocol_line(self, metrics: Metrics) -> str:
        actions = metrics["actions"]
        scored = sum(row["frames"] > 0 for row in actions.values())
        count = f"{scored}" if scored == len(actions) else f"{scored} of {len(actions)}"
        return (
            f"mean over {count} action{'s' * (len(actions) > 1)} of {metrics['frames']:,} frames, root "
            f"{metrics['root']}; frame-weighted MPJPE {shown(metrics['frame_mean'][MPJPE.name])} mm"
        )

    def show(self, evaluation: Evaluation, by_subject: bool) -> str:
        """The protocol, the table of all subjects and the notes."""
        metrics = evaluation.metrics
        tables = [("all subjects", _rows(metrics))]
        if by_subject:
            tables += [(name, _rows(part)) for name, part in metrics["subjects"].items()]
            cell_mean = metrics["cell_mean"] | {"frames": metrics["frames"]}
            tables.append(("all subjects", [("mean over subject x action", cell_mean)]))
        notes = [textwrap.fill(f"note: {note}", WIDTH, break_on_hyphens=False) for note in metrics["notes"]]
        return "\n\n".join([f"{metrics['protocol']}\n{_legend()}", *(_text(*table) for table in tables), *notes])

    def write(self, evaluation: Evaluation, folder: Path) -> None:
        """All subjects, then each: a line per action and two of means.

        Numbers have 15 significant digits, in mm; NaN if there are no frames.
        """
        table = Table("subject", "action", "frames", *(metric.name for metric in frame_metrics()))
        for subject, group in ({"all": evaluation.metrics} | evaluation.metrics["subjects"]).items():
            for name, row in _rows(group):
                table.add(subject, name, row["frames"], *map(csv_number, _means(row).values()))
        write_text(folder / ACTION_CSV, table.csv())


def sequence_totals(predicted: np.ndarray, target: np.ndarray, frames: np.ndarray) -> list[tuple[float, float]]:
    """For each metric of frames its sum and weight over a sequence of poses [n,V,3] mm with frame numbers [n].

    Each frame has weight 1.  A metric of pairs is the mean over pairs of consecutive frames, weighted with the number
    of frames of the sequence, or 0 if it has no pair.
    """
    totals: list[tuple[float, float]] = []
    for metric in frame_metrics():
        counts = np.diff(frames) == 1 if metric.of_pairs else np.ones(len(frames), dtype=bool)
        total, number = 0.0, np.count_nonzero(counts)
        for begin in range(0, len(counts) if number else 0, BLOCK):
            block = slice(begin, begin + BLOCK + metric.of_pairs)
            total += metric.errors(predicted[block], target[block])[counts[begin : begin + BLOCK]].sum()
        if metric.of_pairs and number:
            total = total / number * len(frames)
        totals.append((total, len(frames) if number else 0))
    return totals


def _kind(info: SequenceInfo) -> str:
    return info.kind_of_action or "(no action)"


def _row(totals: np.ndarray) -> Row:
    """The number of frames and the mean of every metric over the pooled frames of sequences, totals [S,metrics,2]."""
    pooled = totals.sum(axis=0)  # MPJPE, the first, has the weight of all frames
    return {"frames": int(pooled[0, 1])} | {
        metric.name: _divide(*total) for metric, total in zip(frame_metrics(), pooled, strict=True)
    }


def _divide(total: float, weight: float) -> float:
    return float(total / weight) if weight else float("nan")


def _mean_row(rows: Iterable[Row]) -> Row:
    """The unweighted mean of rows; each metric is averaged over the rows that have it."""
    rows = list(rows)
    return {metric.name: _mean(row[metric.name] for row in rows) for metric in frame_metrics()}


def _mean(values: Iterable[float]) -> float:
    return float(mean(np.array([value for value in values if value == value])))


def _means(row: Row) -> Row:
    return {metric.name: row[metric.name] for metric in frame_metrics()}


def _notes(rows: dict[str, Row], which: str) -> list[str]:
    """Notes on the rows that the mean over `rows` leaves out."""
    notes = []
    if empty := [name for name, row in rows.items() if not row["frames"]]:
        notes.append(f"no scored frames, left out of the means {which}: {', '.join(empty)}")
    for metric in (metric for metric in frame_metrics() if metric.of_pairs):
        if still := [name for name, row in rows.items() if row["frames"] and np.isnan(row[metric.name])]:
            left_out = f"left out of the mean {metric.title} {which}"
            notes.append(f"no two consecutive scored frames, {left_out}: {', '.join(still)}")
    return notes


def _rows(group: Metrics) -> list[tuple[str, Row]]:
    """The rows of a group, all subjects or one: its actions, and the two means over all its frames."""
    frames = {"frames": sum(row["frames"] for row in group["actions"].values())}
    means = [("mean over actions", group.get("mean", group) | frames), ("all frames", group["frame_mean"] | frames)]
    return [*group["actions"].items(), *means]


def _text(title: str, rows: list[tuple[str, Row]]) -> str:
    table = Table(title, "frames", *(metric.heading for metric in frame_metrics()))
    for name, row in rows:
        table.add(name, f"{row['frames']:,}", *map(shown, _means(row).values()))
    return table.text(left=1)


def _legend() -> str:
    """A description of the columns, two per line."""
    columns = [
        f"{metric.column}: {metric.title}, {metric.about}" if metric.column else f"{metric.title}: {metric.about}"
        for metric in frame_metrics()
        if metric.about
    ]
    pairs = ["; ".join(columns[start : start + 2]) for start in range(0, len(columns), 2)]
    return ";\n".join(pairs) + "; all in mm"


SEQUENCE_CSV = "mpii_3dhp_evaluation_sequencewise.csv"
ACTIVITY_CSV = "mpii_3dhp_evaluation_activitywise.csv"
INFERENCE_MAT = "inference_data.mat"


class _MpiInf3dhp(Benchmark):
    """The official tables, the named protocols and the scenes, for poses of 17 joints.

    PCK, AUC and MPJPE follow the first protocol; the other scalars are means over all frames.
    """

    zero_root = True
    files = f"the CSV tables, {INFERENCE_MAT}"

    @property
    def scalars(self) -> tuple[Metric, ...]:
        """All metrics."""
        return (*frame_metrics(), *joint_metrics())

    def score(self, evaluation: Evaluation) -> Metrics:
        """The scores by the official protocols, and the other metrics as means of frames."""
        errors = protocols.sequence_errors(evaluation.predicted, evaluation.target)
        names = [info.name for info in evaluation.sequences]
        named = protocols.scores_by_protocol(errors, evaluation.annotation, names)
        protocol = next(iter(named))
        others = [metric for metric in frame_metrics() if metric.name not in named[protocol]]
        found = {metric.name: _frame_errors(metric, evaluation) for metric in others}
        return {
            **named[protocol],
            **{metric: float(mean(np.concatenate(parts))) for metric, parts in found.items()},
            "frames": sum(map(len, errors)),
            "protocol": protocol,
            "protocols": named,
            "scenes": protocols.scenes(errors, evaluation.annotation, names),
            "sequences": {
                name: {"frames": len(errors[number]), **protocols.joint_scores(errors[number])}
                | {metric: float(mean(parts[number])) for metric, parts in found.items()}
                for number, name in enumerate(names)
            },
        }

    def mpjpe(self, errors: np.ndarray, split: Split, frames: np.ndarray) -> float:  # noqa: ARG002
        """All frames have the same weight."""
        return float(mean(errors))

    def protocol_line(self, metrics: Metrics) -> str:
        shares = " and ".join(metric.title for metric in joint_metrics())
        return (
            f"{metrics['protocol']}, {metrics['frames']} frames: MPJPE over {len(protocols.JOINTS)} joints, "
            f"{shares} over {len(protocols.SCORED_JOINTS)}"
        )

    def show(self, evaluation: Evaluation, by_subject: bool) -> str:  # noqa: ARG002
        """Each test sequence is a subject and always has a row, so `by_subject` adds nothing."""
        metrics = [MPJPE, *joint_metrics()]
        scores = Table("protocol or scene", *(metric.title for metric in metrics))
        for name, values in (evaluation.metrics["protocols"] | evaluation.metrics["scenes"]).items():
            scores.add(name, *(f"{values[metric.name]:.2f}" for metric in metrics))
        return f"{format_tables(official_tables(evaluation))}\n\n{scores.text(left=1)}"

    def write(self, evaluation: Evaluation, folder: Path) -> None:
        """The CSV files are those of the official MATLAB script; without activities, that of an earlier evaluation is
        removed.  The script's input is inference_data.mat: {"TS1": [3,17,1,n]}, mm relative to the root.
        """
        (folder / ACTIVITY_CSV).unlink(missing_ok=True)
        for name, table in official_csv(official_tables(evaluation)).items():
            write_text(folder / name, table.csv())
        poses = {
            info.name: np.asarray(poses, np.float64).transpose(2, 1, 0)[:, :, None]
            for info, poses in zip(evaluation.sequences, evaluation.predicted, strict=True)
        }
        from scipy.io import savemat  # slow to import

        write_atomically(folder / INFERENCE_MAT, lambda file: savemat(file, poses))


def _frame_errors(metric: FrameMetric, evaluation: Evaluation) -> list[np.ndarray]:
    """For each sequence the errors of its frames, or of its pairs of consecutive frames."""
    errors = []
    for frames, *poses in zip(evaluation.frames, evaluation.predicted, evaluation.target, strict=True):
        found = metric.errors(*poses) if len(frames) else np.empty(0)
        errors.append(found[np.diff(frames) == 1] if metric.of_pairs and len(frames) else found)
    return errors


def official_tables(evaluation: Evaluation) -> protocols.OfficialTables:
    """The tables of the official evaluation, with the names of the sequences as its MATLAB script has them."""
    names = [re.sub(r"^TS(?=\d+$)", "TestSeq", info.name) for info in evaluation.sequences]
    return protocols.official_3dhp(evaluation.predicted, evaluation.target, evaluation.activity, names)


def official_csv(tables: protocols.OfficialTables) -> dict[str, Table]:
    """The CSV files of the official MATLAB script, by name: its column names, then a block for each metric.

    Every line has 19 columns.
    """
    files = {}
    columns = 1 + len(protocols.JOINTS) + 1
    names = {"sequencewise": (SEQUENCE_CSV, "seq_table"), "activitywise": (ACTIVITY_CSV, "activity_table")}
    for kind, blocks in tables.items():
        file, variable = names[kind]
        lines: list[list[str]] = []
        for title, rows in blocks.items():
            lines.append(["" if title == MPJPE.title else title, *next(iter(rows.values()))])
            lines.extend([name, *map(csv_number, row.values())] for name, row in rows.items())
        padded = (line + [""] * (columns - len(line)) for line in lines)
        files[file] = Table(*(f"{variable}{number}" for number in range(1, columns + 1)), rows=padded)
    return files


def format_tables(tables: protocols.OfficialTables) -> str:
    """The official tables as text: totals and PCK per joint group for every row, then the MPJPE of every joint."""
    blocks = []
    for kind, metrics in tables.items():
        table = Table(kind, *metrics, "| PCK", *protocols.GROUPS)
        for name, pck in metrics[PCK.title].items():
            totals = (f"{list(rows[name].values())[-1]:.2f}" for rows in metrics.values())  # Average or Total
            table.add(name, *totals, "|", *(f"{pck[group]:.1f}" for group in protocols.GROUPS))
        blocks.append(table.text(left=1))
    if "activitywise" in tables:
        overall = tables["activitywise"][MPJPE.title]["All"]
        joints = Table("joint", "MPJPE, mm", rows=((joint, f"{overall[joint]:.1f}") for joint in protocols.JOINTS))
        blocks.append(joints.text(left=1))
    else:
        blocks.append("note: the data has no activities, so there is no activity table")
    return "\n\n".join(blocks)


BENCHMARKS: dict[str, Benchmark] = {"mpi_inf_3dhp": _MpiInf3dhp(), "by_action": _ByAction()}
