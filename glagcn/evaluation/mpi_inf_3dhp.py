"""The official benchmark of MPI-INF-3DHP: PCK, AUC, tables, protocols and files; the predicted root is set to zero."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from scipy.io import savemat

from glagcn.data.cache.reader import Split
from glagcn.errors import UserError
from glagcn.evaluation import protocols
from glagcn.evaluation.benchmark import Benchmark, Evaluation, Metrics, Tables
from glagcn.evaluation.metrics import MPJPE, PCK, Metric, frame_metrics, joint_metrics, mean
from glagcn.evaluation.mpi_inf_3dhp_tables import (
    GROUPS,
    JOINTS,
    SCORED_JOINTS,
    OfficialTables,
    Rows,
    official_3dhp,
    official_metrics,
)
from glagcn.files import write_atomically, write_text
from glagcn.tables import Table, csv_number

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
            **_means(evaluation, named[protocol]),
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


def _means(evaluation: Evaluation, known: Metrics) -> dict[str, float]:
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
