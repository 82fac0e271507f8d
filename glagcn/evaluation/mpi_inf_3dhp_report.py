"""The official CSV files, the .mat file and the text tables of the MPI-INF-3DHP benchmark."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from scipy.io import savemat

from glagcn.errors import UserError
from glagcn.evaluation.metrics import MPJPE, PCK
from glagcn.evaluation.mpi_inf_3dhp_tables import GROUPS, JOINTS, OfficialTables, Table, official_metrics
from glagcn.files import write_atomically

SEQUENCE_CSV = "mpii_3dhp_evaluation_sequencewise.csv"
ACTIVITY_CSV = "mpii_3dhp_evaluation_activitywise.csv"
INFERENCE_MAT = "inference_data.mat"
CSV_COLUMNS = 1 + len(JOINTS) + 1


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


def csv_number(value: float) -> str:
    """The value with 15 significant digits, or NaN, as MATLAB's writetable prints it."""
    return "NaN" if np.isnan(value) else f"{value:.15g}"


def format_tables(tables: OfficialTables) -> str:
    """The tables as text: totals and PCK per joint group for every row, then the MPJPE of every joint."""
    blocks = [_format_rows(kind, tables[kind]) for kind in tables]
    if "activitywise" in tables:
        overall = tables["activitywise"][MPJPE.title]["All"]
        blocks.append(_format_joints({joint: overall[joint] for joint in JOINTS}))
    else:
        blocks.append("note: the data has no activities, so there is no activity table")
    return "\n\n".join(blocks)


def format_scores(metrics: Mapping[str, Any]) -> str:
    """The named protocols and the scenes as text, one per line."""
    columns = official_metrics()
    lines = [f"{'protocol or scene':22}" + "".join(f"{metric.title:>8}" for metric in columns)]
    for name, scores in (metrics["protocols"] | metrics["scenes"]).items():
        lines.append(f"{name:22}" + "".join(f"{scores[metric.name]:8.2f}" for metric in columns))
    return "\n".join(lines)


def _write_csv(path: Path, column_name: str, tables: dict[str, Table]) -> Path:
    """Write one file: MATLAB's column names, then a block for each metric; every line has 19 columns."""
    lines = [[f"{column_name}{number}" for number in range(1, CSV_COLUMNS + 1)]]
    for title, table in tables.items():
        lines.append(["" if title == MPJPE.title else title, *next(iter(table.values()))])
        lines.extend([name, *(csv_number(value) for value in row.values())] for name, row in table.items())
    text = "".join(",".join(line + [""] * (CSV_COLUMNS - len(line))) + "\n" for line in lines)
    return write_atomically(path, lambda file: file.write(text.encode()))


def _format_rows(kind: str, tables: dict[str, Table]) -> str:
    width = max(20, *(len(name) + 2 for name in tables[PCK.title]))
    header = f"{kind:<{width}}" + "".join(f"{title:>8}" for title in tables) + "  | PCK"
    header += "".join(f"{group:>7}" for group in GROUPS)
    lines = [header, "-" * len(header)]
    for name, pck in tables[PCK.title].items():
        totals = "".join(f"{list(table[name].values())[-1]:8.2f}" for table in tables.values())  # Average or Total
        lines.append(f"{name:<{width}}{totals}  |    " + "".join(f"{pck[group]:7.1f}" for group in GROUPS))
    return "\n".join(lines)


def _format_joints(joints: dict[str, float], columns: int = 4) -> str:
    cells = [f"{name:<15}{value:7.1f}" for name, value in joints.items()]
    lines = ["   ".join(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    return "\n".join(["MPJPE of each joint, mm", *lines])
