"""Errors of poses, and the official evaluation of MPI-INF-3DHP.  Needs NumPy only."""

from glagcn.evaluate.metrics import (
    auc,
    joint_errors,
    mpjpe,
    n_mpjpe,
    p_mpjpe,
    pck,
    procrustes_errors,
    scaled_errors,
    velocity_error,
    velocity_errors,
)
from glagcn.evaluate.protocols import official_3dhp

__all__ = [
    "auc", "joint_errors", "mpjpe", "n_mpjpe", "official_3dhp", "p_mpjpe", "pck", "procrustes_errors",
    "scaled_errors", "velocity_error", "velocity_errors",
]  # fmt: skip
