"""Errors of poses, and the table of the metrics that an evaluation reports.  NumPy only; public as `glagcn.metrics`.

Shapes: T (or n) frames, V joints.  Every function accepts NumPy arrays and tensors, computes in float64 and gives
the unit that it was given.  Without a single frame a mean is NaN.

A new metric is a function here and a line in METRICS, at the end: results, tables, headlines and curves have it then.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from glagcn.errors import UserError

PCK_THRESHOLD = 150.0
AUC_THRESHOLDS = np.arange(0.0, 151.0, 5.0)


def mpjpe(predicted: Any, target: Any) -> float:
    """Mean per-joint position error of [T,V,3] poses, as they are (protocol 1)."""
    return float(mean(joint_errors(predicted, target)))


def p_mpjpe(predicted: Any, target: Any) -> float:
    """MPJPE after each frame's similarity alignment to the target, [T,V,3] (protocol 2)."""
    return float(mean(procrustes_errors(predicted, target)))


def n_mpjpe(predicted: Any, target: Any) -> float:
    """MPJPE after each frame's best scale, [T,V,3] relative to the root (protocol 3)."""
    return float(mean(scaled_errors(predicted, target)))


def velocity_error(predicted: Any, target: Any, consecutive: Any = None) -> float:
    """Mean per-joint error of the first difference along time, per frame, of one sequence [T,V,3].

    `consecutive` [T-1] bool says which pairs (t, t+1) are neighbours in time; None: all.
    """
    errors = velocity_errors(predicted, target)
    if consecutive is None:
        return float(mean(errors))
    used = as_array(consecutive)
    if used.shape != errors.shape or used.dtype != bool:
        raise UserError(
            f"consecutive is {used.dtype} {used.shape}; expected one bool per pair of frames, {errors.shape}"
        )
    return float(mean(errors[used]))


def joint_errors(predicted: Any, target: Any) -> np.ndarray:
    """Euclidean distances [T,V] between [T,V,3] poses."""
    return np.linalg.norm(np.subtract(*_pair(predicted, target)), axis=-1)


def pose_errors(predicted: Any, target: Any) -> np.ndarray:
    """Mean joint error [T] of each frame of [T,V,3] poses, as they are."""
    return joint_errors(predicted, target).mean(axis=1)


def scaled_errors(predicted: Any, target: Any) -> np.ndarray:
    """Mean joint error [T] after the scale sum(target . predicted) / sum(predicted . predicted) of each frame."""
    predicted, target = _pair(predicted, target)
    scale = _ratio((predicted * target).sum(axis=(1, 2)), (predicted**2).sum(axis=(1, 2)))
    return np.linalg.norm(scale[:, None, None] * predicted - target, axis=-1).mean(axis=1)


def procrustes_errors(predicted: Any, target: Any) -> np.ndarray:
    """Mean joint error [T] after the rotation, scale and translation that fit each frame best to its target.

    Least squares over the joints, without reflection (Umeyama 1991).  A pose whose joints coincide has no scale: it is
    moved to the target's centre.
    """
    predicted, target = _pair(predicted, target)
    source = predicted - predicted.mean(axis=1, keepdims=True)
    goal = target - target.mean(axis=1, keepdims=True)
    u, strength, vt = np.linalg.svd(source.transpose(0, 2, 1) @ goal)  # [T,3,3], [T,3], [T,3,3]
    # Where the best orthogonal map is a reflection, the best rotation reverses the weakest axis.
    handedness = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    u[:, :, 2] *= handedness[:, None]
    strength[:, 2] *= handedness
    scale = _ratio(strength.sum(axis=1), (source**2).sum(axis=(1, 2)))
    aligned = scale[:, None, None] * (source @ (u @ vt))
    return np.linalg.norm(aligned - goal, axis=-1).mean(axis=1)


def velocity_errors(predicted: Any, target: Any) -> np.ndarray:
    """Mean joint error [T-1] of the first difference along time of one sequence [T,V,3]."""
    return np.linalg.norm(np.diff(np.subtract(*_pair(predicted, target)), axis=0), axis=-1).mean(axis=1)


def pck(errors: np.ndarray, threshold: float = PCK_THRESHOLD) -> float:
    """Percentage of errors strictly below the threshold (mpii_compute_3d_pck.m)."""
    return float(100 * mean(errors < threshold))


def auc(errors: np.ndarray) -> float:
    """Mean PCK over the thresholds 0, 5, ..., 150 mm; at most 30/31, because nothing is below 0."""
    return float(np.mean([pck(errors, threshold) for threshold in AUC_THRESHOLDS]))


def mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """The mean, or NaN where there is nothing to average (np.mean warns)."""
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
            raise UserError(f"the {name} poses hold NaN or infinity; a mean over them would say nothing")
    return predicted.astype(np.float64), target.astype(np.float64)


def as_array(values: Any) -> np.ndarray:
    """An array of whatever holds numbers; a tensor of any type and place first becomes float64 on the CPU."""
    return values.detach().double().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, 0 where the denominator is 0: nothing can be scaled there."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


@dataclass(frozen=True)
class Metric:
    """A number that evaluations report.

    name   in result.json, metrics.jsonl, TensorBoard and CSV files.
    title  in text.
    unit   behind the number; empty for a percentage.
    """

    name: str
    title: str
    unit: str

    def text(self, value: float | None) -> str:
        """Title, value and unit: "MPJPE 45.10 mm"."""
        return f"{self.title} {shown(value)} {self.unit}".rstrip()


@dataclass(frozen=True)
class FrameMetric(Metric):
    """A mean over frames, for every benchmark.

    errors    poses [n,V,3] mm, predicted and target -> the error of each frame [n].
    of_pairs  whether `errors` are those [n-1] of pairs of frames (t, t+1), of which neighbours in time count.
    column    heading in the tables by action; empty: the title.
    about     its explanation above these tables.
    drawn     whether training_curves.png shows it.
    """

    errors: Callable[[Any, Any], np.ndarray]
    of_pairs: bool = False
    column: str = ""
    about: str = ""
    drawn: bool = False

    @property
    def heading(self) -> str:
        """Of its column in the tables by action."""
        return self.column or self.title


@dataclass(frozen=True)
class JointMetric(Metric):
    """A share of joint errors, for MPI-INF-3DHP alone, whose official evaluation scores 14 of the joints.

    share  joint errors in mm, of any shape -> one number.
    """

    share: Callable[[np.ndarray], float]


def shown(value: float | None) -> str:
    """Two digits; "n/a" for NaN, or for the null that stands for it in JSON."""
    return "n/a" if value is None or value != value else f"{value:.2f}"


MPJPE = FrameMetric("mpjpe_mm", "MPJPE", "mm", pose_errors, column="protocol 1", about="as predicted", drawn=True)
PCK = JointMetric("pck", "PCK", "", pck)
METRICS: tuple[FrameMetric | JointMetric, ...] = (
    MPJPE,  # it chooses best.pt
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
    """The metrics that are means over frames, in the order of the table."""
    return [metric for metric in METRICS if isinstance(metric, FrameMetric)]


def joint_metrics() -> list[JointMetric]:
    """The metrics that are shares of joint errors, in the order of the table."""
    return [metric for metric in METRICS if isinstance(metric, JointMetric)]
