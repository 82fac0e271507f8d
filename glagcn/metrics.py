"""Errors of poses, and the official evaluation of MPI-INF-3DHP.  Needs NumPy only."""

from glagcn.evaluation.metrics import (
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
from glagcn.evaluation.mpi_inf_3dhp_tables import official_3dhp

__all__ = [
    "auc", "joint_errors", "mpjpe", "n_mpjpe", "official_3dhp", "p_mpjpe", "pck", "procrustes_errors",
    "scaled_errors", "velocity_error", "velocity_errors",
]  # fmt: skip
