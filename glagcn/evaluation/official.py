"""The figures of an evaluation on MPI-INF-3DHP: the official tables, the named protocols, the scenes."""

import numpy as np

from glagcn.data.cache.reader import Split
from glagcn.evaluation import metrics, protocols
from glagcn.evaluation.benchmark import Figures, Scored, Tables
from glagcn.evaluation.mpi_inf_3dhp import official_3dhp

SCALARS = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "velocity_mm", "pck", "auc")


def score(scored: Scored) -> tuple[Figures, Tables]:
    """All figures, and the tables of `official_3dhp`, of sequences of 17 joints, root at zero.

    Raises UserError as `official_3dhp`.
    """
    predicted, target = scored.predicted, scored.target
    by_sequence = {"predicted": scored.by_sequence(predicted), "target": scored.by_sequence(target)}
    named = protocols.protocols(**by_sequence, annotation=scored.annotation)
    protocol = next(iter(named))
    counts = np.diff(scored.bounds)
    owner = np.repeat(np.arange(len(counts)), counts)
    consecutive = (np.diff(scored.frames) == 1) & (np.diff(owner) == 0)
    figures = {
        **named[protocol],
        "p_mpjpe_mm": metrics.p_mpjpe(predicted, target),
        "n_mpjpe_mm": metrics.n_mpjpe(predicted, target),
        "velocity_mm": metrics.velocity_error(predicted, target, consecutive) if consecutive.any() else float("nan"),
        "frames": len(scored.frames),
        "protocol": protocol,
        "protocols": named,
        "scenes": protocols.scenes(**by_sequence),
        "sequences": {info.name: {"frames": int(count)} for info, count in zip(scored.sequences, counts, strict=True)},
    }
    activity = None if scored.activity is None else scored.by_sequence(scored.activity)
    return figures, official_3dhp(**by_sequence, activity=activity)


def mpjpe(errors: np.ndarray, split: Split, frames: np.ndarray) -> float:
    """The figure mpjpe_mm of joint errors [n,17] of the frames [n] of a split: every frame counts as much."""
    del split, frames  # another suite needs them
    return float(metrics.mean(errors))


def headline(figures: Figures) -> str:
    """One line for the log: the figures and the protocol they follow."""
    return (
        f"MPJPE {figures['mpjpe_mm']:.2f} mm, P-MPJPE {figures['p_mpjpe_mm']:.2f} mm, "
        f"PCK {figures['pck']:.2f}, AUC {figures['auc']:.2f} "
        f"({figures['protocol']}, {figures['frames']} frames: MPJPE over 17 joints, PCK and AUC over 14)"
    )
