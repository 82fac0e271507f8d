"""Pose errors, and the table of the reported metrics.  Needs NumPy only; public as `glagcn.metrics`.

Shapes: T (or n) frames, V joints.  All functions accept NumPy arrays and tensors, compute in float64 and return the
unit of their input.  The mean over no frames is NaN.

To add a metric, write a function here and add a line to METRICS at the end; results, tables, headlines and curves then
include it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from glagcn.errors import UserError

logger = logging.getLogger(__name__)

PCK_THRESHOLD = 150.0
# A threshold as a part of the size of a person: those in use are 0.002 to 0.5, and 1000 times that in another unit.
NARROWEST, WIDEST = 2e-4, 5.0
AUC_THRESHOLDS = np.arange(0.0, 151.0, 5.0)


def mpjpe(predicted: Any, target: Any) -> float:
    """Mean per-joint position error of poses [T,V,3], without alignment (protocol 1)."""
    return float(mean(joint_errors(predicted, target)))


def p_mpjpe(predicted: Any, target: Any) -> float:
    """MPJPE of poses [T,V,3] after similarity alignment of each frame to its target (protocol 2)."""
    return float(mean(procrustes_errors(predicted, target)))


def n_mpjpe(predicted: Any, target: Any) -> float:
    """MPJPE of root-relative poses [T,V,3] after optimal scaling of each frame (protocol 3)."""
    return float(mean(scaled_errors(predicted, target)))


def velocity_error(predicted: Any, target: Any, consecutive: Any = None) -> float:
    """Mean per-joint error of the first difference along time (per frame) of one sequence [T,V,3].

    consecutive  [T-1] bool, which pairs (t, t+1) are consecutive frames; None: all.
    """
    errors = velocity_errors(predicted, target)
    if consecutive is None:
        return float(mean(errors))
    used = as_array(consecutive)
    if used.shape != errors.shape or used.dtype != bool:
        raise UserError(f"consecutive is {used.dtype} {used.shape}; expected a bool for each pair, {errors.shape}")
    return float(mean(errors[used]))


def joint_errors(predicted: Any, target: Any) -> np.ndarray:
    """Euclidean distances [T,V] between [T,V,3] poses."""
    return np.linalg.norm(np.subtract(*_pair(predicted, target)), axis=-1)


def pose_errors(predicted: Any, target: Any) -> np.ndarray:
    """Mean joint error [T] of each frame of poses [T,V,3], without alignment."""
    return joint_errors(predicted, target).mean(axis=1)


def scaled_errors(predicted: Any, target: Any) -> np.ndarray:
    """Mean joint error [T] after scaling each frame by sum(target . predicted) / sum(predicted . predicted)."""
    predicted, target = _pair(predicted, target)
    scale = _ratio((predicted * target).sum(axis=(1, 2)), (predicted**2).sum(axis=(1, 2)))
    return np.linalg.norm(scale[:, None, None] * predicted - target, axis=-1).mean(axis=1)


def procrustes_errors(predicted: Any, target: Any) -> np.ndarray:
    """Mean joint error [T] after the least-squares rotation, scale and translation of each frame to its target.

    Without reflection (Umeyama 1991).  A pose whose joints all coincide is moved to the target's centre.
    """
    predicted, target = _pair(predicted, target)
    source = predicted - predicted.mean(axis=1, keepdims=True)
    goal = target - target.mean(axis=1, keepdims=True)
    u, strength, vt = np.linalg.svd(source.transpose(0, 2, 1) @ goal)  # [T,3,3], [T,3], [T,3,3]
    # If the best orthogonal map is a reflection, the best rotation flips the axis of the smallest singular value.
    handedness = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    u[:, :, 2] *= handedness[:, None]
    strength[:, 2] *= handedness
    scale = _ratio(strength.sum(axis=1), (source**2).sum(axis=(1, 2)))
    aligned = scale[:, None, None] * (source @ (u @ vt))
    return np.linalg.norm(aligned - goal, axis=-1).mean(axis=1)


def velocity_errors(predicted: Any, target: Any) -> np.ndarray:
    """Mean joint error [T-1] of the first difference along time of one sequence [T,V,3]."""
    return np.linalg.norm(np.diff(np.subtract(*_pair(predicted, target)), axis=0), axis=-1).mean(axis=1)


def pck(predicted: Any, target: Any = None, threshold: float = PCK_THRESHOLD) -> float:
    """Percentage of joints with an error strictly below the threshold (mpii_compute_3d_pck.m).

    predicted, target  poses [T,V,3]; or joint errors of any shape, without a target: `pck(errors)`, `pck(errors, 50)`.
    Raises UserError for a threshold that is no positive number, and for errors in metres with a threshold in mm.
    """
    if target is not None and np.ndim(target) == 0:
        target, threshold = None, target
    if np.ndim(threshold) or isinstance(threshold, bool | str) or threshold is None or not 0 < threshold < np.inf:
        raise UserError(f"invalid threshold {threshold!r}: must be a positive number, in the unit of the poses")
    return float(100 * mean(_errors(predicted, target, threshold) < threshold))


def auc(predicted: Any, target: Any = None) -> float:
    """Mean PCK over the thresholds 0, 5, ..., 150 mm, of what `pck` takes; at most 30/31, as no error is below 0."""
    errors = _errors(predicted, target, PCK_THRESHOLD)
    return float(np.mean([100 * mean(errors < threshold) for threshold in AUC_THRESHOLDS]))


def _errors(predicted: Any, target: Any, threshold: float) -> np.ndarray:
    """The joint errors of poses, or, without a target, those given.

    Raises UserError if they are not finite, or in another unit than the threshold.
    """
    errors = as_array(predicted) if target is None else joint_errors(predicted, target)
    if errors.dtype.kind not in "fiu":
        raise UserError(f"the joint errors have type {errors.dtype}; expected numbers")
    if not np.isfinite(errors).all():
        raise UserError("the joint errors contain NaN or infinity, so their share below a threshold is undefined")
    if errors.min(initial=0) < 0:
        raise UserError(f"a joint error is {errors.min():g}, which is no distance; for poses, give the target too")
    if target is None:
        if threshold / 1e4 < errors.max(initial=0) < threshold / 100:
            logger.warning(f"the largest joint error is {errors.max():.3g}: metres? The threshold is {threshold:g}")
        return errors
    size = np.ptp(as_array(target), axis=1).max(initial=0)  # of the largest person
    if size and not NARROWEST < threshold / size < WIDEST:
        raise UserError(
            f"the threshold is {threshold:g} and the people of the target are {size:.3g} large; give both in the same "
            f"unit ({PCK_THRESHOLD:g}, the threshold without another one, is in millimetres)"
        )
    return errors


def mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """The mean; NaN for no values, without the warning of np.mean."""
    values = np.asarray(values, dtype=np.float64)
    count = values.size if axis is None else values.shape[axis]
    total = values.sum(axis=axis)
    return total / count if count else total * np.nan


def _pair(predicted: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    predicted, target = (as_array(poses) for poses in (predicted, target))
    if predicted.shape != target.shape or target.ndim != 3 or target.shape[2] != 3 or not target.shape[1]:
        raise UserError(f"predicted {predicted.shape} and target {target.shape}; expected two equal shapes [T,V,3]")
    for name, poses in (("predicted", predicted), ("target", target)):
        if not np.isfinite(poses).all():
            raise UserError(f"the {name} poses contain NaN or infinity, so their error is undefined")
    return predicted.astype(np.float64), target.astype(np.float64)


def as_array(values: Any) -> np.ndarray:
    """`values` as an array; a tensor of any type and device becomes float64 on the CPU."""
    return values.detach().double().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, or 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


@dataclass(frozen=True)
class Metric:
    """A metric of an evaluation."""

    name: str  # key in result.json, metrics.jsonl, TensorBoard and CSV files
    title: str  # name in text
    unit: str  # unit in text; empty for a percentage

    def text(self, value: float | None) -> str:
        """Title, value and unit, such as "MPJPE 45.10 mm"."""
        return f"{self.title} {shown(value)} {self.unit}".rstrip()


@dataclass(frozen=True)
class FrameMetric(Metric):
    """A metric that is a mean over frames, for every benchmark."""

    errors: Callable[[Any, Any], np.ndarray]  # from predicted and target poses [n,V,3] mm to errors of frames [n]
    of_pairs: bool = False  # `errors` returns those [n-1] of pairs (t, t+1); only pairs of consecutive frames count
    column: str = ""  # heading in the tables by action; empty: the title
    about: str = ""  # description above these tables
    drawn: bool = False  # training_curves.png shows it

    @property
    def heading(self) -> str:
        """The heading of its column in the tables by action."""
        return self.column or self.title


@dataclass(frozen=True)
class JointMetric(Metric):
    """A metric of the distribution of joint errors, for MPI-INF-3DHP only, whose official evaluation uses 14 joints."""

    share: Callable[[np.ndarray], float]  # from joint errors in mm, of any shape, to the metric


def shown(value: float | None) -> str:
    """The value with two decimals; "n/a" for NaN, or for null, which replaces NaN in JSON."""
    return "n/a" if value is None or value != value else f"{value:.2f}"


MPJPE = FrameMetric("mpjpe_mm", "MPJPE", "mm", pose_errors, column="protocol 1", about="as predicted", drawn=True)
PCK = JointMetric("pck", "PCK", "", pck)
METRICS: tuple[FrameMetric | JointMetric, ...] = (
    MPJPE,  # selects best.pt
    FrameMetric(
        "p_mpjpe_mm", "P-MPJPE", "mm", procrustes_errors, column="protocol 2",
        about="after rotation, scale and translation", drawn=True,
    ),
    FrameMetric("n_mpjpe_mm", "N-MPJPE", "mm", scaled_errors, column="protocol 3", about="after scale"),
    FrameMetric(
        "velocity_mm", "velocity", "mm", velocity_errors, of_pairs=True,
        about="MPJVE, of the motion from frame to frame",
    ),
    PCK,
    JointMetric("auc", "AUC", "", auc),
)  # fmt: skip


def frame_metrics() -> list[FrameMetric]:
    """All FrameMetrics, in the order of METRICS."""
    return [metric for metric in METRICS if isinstance(metric, FrameMetric)]


def joint_metrics() -> list[JointMetric]:
    """All JointMetrics, in the order of METRICS."""
    return [metric for metric in METRICS if isinstance(metric, JointMetric)]
