"""The figures of an evaluation by action, as papers report them on Human3.6M and HumanEva-I.

Errors are computed frame by frame, added up by sequence, and grouped afterwards by (subject, kind of action), so that
every take, chunk and camera of a group counts with all of its frames.  The published average is the unweighted mean
over the kinds of action; the mean over all frames stands beside it.

Source: the evaluation of VideoPose3D.  It leaves the predicted root as it is: the target's root is zero, and the mean
is over all joints.
"""

from collections.abc import Iterable

import numpy as np

from glagcn.data.cache.reader import Split
from glagcn.data.sequence import SequenceInfo
from glagcn.evaluation import metrics
from glagcn.evaluation.benchmark import BLOCK, Figures, Scored, Tables, sequence_bounds

Row = dict[str, float]

# Protocols 1, 2 and 3, and MPJVE.
FIGURES = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "velocity_mm")
ALL_SUBJECTS = "all"
CURVES = "test_mpjpe_by_action"


def score(scored: Scored) -> tuple[Figures, Tables]:
    """All figures of scored frames of any joint set, and the tables that the CSV file and the screen show.

    The tables are {"all" or subject: {"actions": {kind: row}, "mean": row, "frame_mean": row}}, a row being the
    frames and the four FIGURES in mm; "cell_mean", the unweighted mean over all cells of subject and kind of action,
    is a row of its own.  A figure that has nothing to average is NaN; means leave it out, and "notes" says so.
    Raises UserError where a pose is not finite.
    """
    parts = zip(
        *(scored.by_sequence(values) for values in (scored.predicted, scored.target, scored.frames)), strict=True
    )
    totals = np.array([sequence_totals(*part) for part in parts])  # [S,2,4]
    subjects = np.array([info.subject for info in scored.sequences])
    kinds = _kinds(scored.sequences)
    names = list(dict.fromkeys(subjects.tolist()))
    groups = {ALL_SUBJECTS: np.ones(len(subjects), dtype=bool)} | {name: subjects == name for name in names}
    tables = {name: _table(totals[chosen], kinds[chosen]) for name, chosen in groups.items()}
    whole = tables[ALL_SUBJECTS]
    cells = {f"{name} {kind}": row for name in names for kind, row in tables[name]["actions"].items()}
    tables["cell_mean"] = _mean_row(cells.values())
    joints = scored.target.shape[1]
    figures = {
        **_means(whole["mean"]),
        "frames": len(scored.frames),
        "protocol": f"mean-over-actions ({joints} joints, root {scored.root})",
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
            info.name: _frames_and_mpjpe(total) for info, total in zip(scored.sequences, totals, strict=True)
        },
        "notes": _notes(whole["actions"], "over actions") + _notes(cells, "over cells"),
    }
    return figures, tables


def sequence_totals(predicted: np.ndarray, target: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Sums and weights [2,4] of the four FIGURES of one sequence, [n,V,3] mm, whose frames have the numbers [n].

    Each frame weighs 1.  The velocity error is the mean over the pairs of neighbouring frames and weighs as much as
    the sequence has frames; without a pair it weighs nothing.
    """
    sums, weights = np.zeros(4), np.zeros(4)
    weights[:3] = len(frames)
    for begin in range(0, len(frames), BLOCK):
        block = predicted[begin : begin + BLOCK], target[begin : begin + BLOCK]
        sums[0] += metrics.joint_errors(*block).mean(axis=1).sum()
        sums[1] += metrics.procrustes_errors(*block).sum()
        sums[2] += metrics.scaled_errors(*block).sum()
    consecutive = np.diff(frames) == 1
    pairs = np.count_nonzero(consecutive)
    if pairs:
        sums[3] = _velocity_sum(predicted, target, consecutive) / pairs * len(frames)
        weights[3] = len(frames)
    return np.stack([sums, weights])


def mpjpe(errors: np.ndarray, split: Split, frames: np.ndarray) -> float:
    """The figure mpjpe_mm, the mean over actions, of joint errors [n,V] of the frames [n] of a split."""
    parts = np.split(errors, sequence_bounds(split, frames)[1:-1])
    totals = np.array([[[part.sum()], [part.size]] for part in parts])  # [S,2,1]
    kinds = _kinds(split.sequences)
    means = np.array([_divide(totals[kinds == kind])[0] for kind in set(kinds.tolist())])
    return float(metrics.mean(means[~np.isnan(means)]))


def curves(figures: Figures) -> dict[str, dict[str, float]]:
    """The MPJPE of every kind of action, for a curve each."""
    return {CURVES: {kind: row["mpjpe_mm"] for kind, row in figures["actions"].items()}}


def _velocity_sum(predicted: np.ndarray, target: np.ndarray, consecutive: np.ndarray) -> float:
    """Sum of the velocity errors of the pairs of frames (t, t+1) that are `consecutive` [n-1]."""
    total = 0.0
    for begin in range(0, len(consecutive), BLOCK):
        end = begin + BLOCK
        errors = metrics.velocity_errors(predicted[begin : end + 1], target[begin : end + 1])
        total += errors[consecutive[begin:end]].sum()
    return total


def _kinds(sequences: tuple[SequenceInfo, ...]) -> np.ndarray:
    return np.array([info.kind_of_action or "(no action)" for info in sequences])


def _table(totals: np.ndarray, kinds: np.ndarray) -> dict:
    """The rows of sequences with these totals [S,2,4] and kinds of action [S]."""
    # Without regard to case: the order of the papers' columns.
    actions = {kind: _row(totals[kinds == kind]) for kind in sorted(set(kinds.tolist()), key=str.lower)}
    return {"actions": actions, "mean": _mean_row(actions.values()), "frame_mean": _row(totals)}


def _row(totals: np.ndarray) -> Row:
    """Frames, and the mean of every figure, of sequences pooled: [S,2,4]."""
    return {"frames": int(totals[:, 1, 0].sum()), **dict(zip(FIGURES, _divide(totals).tolist(), strict=True))}


def _divide(totals: np.ndarray) -> np.ndarray:
    """Means [k] of pooled sums and weights [S,2,k]; NaN without weight."""
    sums, weights = totals.sum(axis=0)
    return np.divide(sums, weights, out=np.full_like(sums, np.nan), where=weights > 0)


def _mean_row(rows: Iterable[Row]) -> Row:
    """The unweighted mean of rows, of each figure over those that have it."""
    rows = list(rows)
    values = np.array([[row[name] for name in FIGURES] for row in rows])  # [rows,4]
    means = [float(metrics.mean(column[~np.isnan(column)])) for column in values.T]
    return {"frames": sum(row["frames"] for row in rows), **dict(zip(FIGURES, means, strict=True))}


def _means(row: Row) -> Row:
    return {name: row[name] for name in FIGURES}


def _frames_and_mpjpe(totals: np.ndarray) -> Row:
    row = _row(totals[None])
    return {name: row[name] for name in ("frames", "mpjpe_mm")}


def _notes(rows: dict[str, Row], which: str) -> list[str]:
    """What the mean over `rows` leaves out, in words."""
    empty = [name for name, row in rows.items() if not row["frames"]]
    still = [name for name, row in rows.items() if row["frames"] and np.isnan(row["velocity_mm"])]
    notes = []
    if empty:
        notes.append(f"no scored frames, left out of the means {which}: {', '.join(empty)}")
    if still:
        notes.append(f"no two scored frames in a row, left out of the mean velocity {which}: {', '.join(still)}")
    return notes
