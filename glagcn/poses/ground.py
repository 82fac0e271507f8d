"""The ground plane: estimated from lifted people, and poses in z-up coordinates with it at z = 0."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from glagcn.poses.result import CAMERA, Z_UP, Poses

CAMERA_UP = np.array([0.0, -1, 0])
# Height of the ankle above the sole: 0.039 of the body height (Drillis and Contini, 1966), for 1.75 m.
ANKLE_HEIGHT_MM = 68.0
OUTLIER_MM = 30.0  # scale of the robust loss; outliers are lifted feet, jumps, people on chairs
ROUNDS = 3  # of selecting the lower foot and fitting the plane
STEEPEST_DEGREES = 60.0
UNSURE_DEGREES = 5.0
NARROWEST_MM = 150.0  # depth errors can spread the feet of a standing person about this far
LOWEST_PERCENT = 5.0
# Where the feet do not tell: how far trunk and legs may be bent for a frame to count as upright, and the part of the
# frames that must be.  People lean to a side more than cameras do, so only the pitch of the camera is taken from them.
UPRIGHT_DEGREES, LEAST_UPRIGHT = 40.0, 0.5


@dataclass(frozen=True)
class Ground:
    """A plane in camera space.

    up      [3] unit normal of the floor in camera axes.
    height  of the floor relative to the camera along `up`, in millimetres; negative if the floor is below the camera.
    doubt   None if the plane was estimated from the feet; else the reason why it was not.
    pitch   degrees by which the camera looks down, where that was taken from how people stand; else None.
    """

    up: np.ndarray
    height: float
    doubt: str | None
    pitch: float | None = None

    @property
    def rotation(self) -> np.ndarray:
        """The rotation [3,3] from camera axes to x right, y away from the camera, z up."""
        away = np.array([0.0, 0, 1]) - self.up[2] * self.up
        away /= np.linalg.norm(away)
        return np.stack([np.cross(away, self.up), away, self.up])


def find_ground(people: Sequence[Poses]) -> Ground:
    """Estimate the floor by a robust plane fit to the lower ankle of every frame of all people in which one is seen.

    The feet do not tell, with the reason in `doubt`, if no person has a root path, if no ankle is seen (the floor is
    then below those that were guessed), if the ankles cover less than NARROWEST_MM in any direction (standard
    deviation), if their distance from the plane over this width exceeds UNSURE_DEGREES, or if the plane is steeper than
    STEEPEST_DEGREES.  Then the camera is assumed to have no roll, and the pitch at which people stand upright
    (`_pitch`); if they do not, it is assumed to be level.
    people  in camera axes.
    """
    pitch = _pitch(people)
    pairs, seen = [], []
    for person in people:
        if person.root is not None:
            ankles = [person.skeleton.joints.index(name) for name in ("left_ankle", "right_ankle")]
            pairs.append(person.xyz[:, ankles] + person.root[:, None])
            seen.append(person.confidence[:, ankles] > 0)
    if not pairs:
        return _below(None, pitch, "no person has a root path")
    points, known = np.concatenate(pairs), np.concatenate(seen)  # [n,2,3] mm
    if not known.any():
        return _below(points, pitch, "no ankle is seen")
    points = np.where(known[..., None], points, points[:, ::-1])[known.any(axis=1)]
    up = CAMERA_UP
    for _ in range(ROUNDS):
        lower = points[np.arange(len(points)), (points @ up).argmin(axis=1)]
        up, scatter, width = _fit_plane(lower)
    if np.degrees(np.arccos(-up[1])) > STEEPEST_DEGREES:
        return _below(points, pitch, f"the ankles lie on a plane steeper than {STEEPEST_DEGREES:g} degrees")
    if width < NARROWEST_MM or scatter > width * np.tan(np.radians(UNSURE_DEGREES)):
        return _below(points, pitch, f"the ankles cover a strip {width:.0f} mm wide, at {scatter:.0f} mm from a plane")
    return Ground(up, float(np.median(lower @ up)) - ANKLE_HEIGHT_MM, None)


def on_ground(person: Poses, ground: Ground) -> Poses:
    """The person in z-up axes; the origin is the point of the floor below the camera.

    Raises ValueError if the person is not in camera axes.
    """
    if person.axes != CAMERA:
        raise ValueError(f"the axes of person {person.person} are {person.axes}; expected {CAMERA}")
    turn = ground.rotation.T
    root = None if person.root is None else person.root @ turn - [0, 0, ground.height]
    return replace(person, xyz=(person.xyz @ turn).astype(np.float32), root=root, axes=Z_UP)


def _fit_plane(points: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Fit the plane y = a x + b z + c to points [n,3] in camera axes.

    -> (up [3], distance of the points from the plane, their spread along the narrower direction of the plane); the last
    two are standard deviations in millimetres.
    """
    from scipy.optimize import least_squares  # slow to import

    centred = points - np.median(points, axis=0)
    columns = np.column_stack([centred[:, 0], centred[:, 2], np.ones(len(centred))])
    fit = least_squares(
        lambda plane: columns @ plane - centred[:, 1], np.zeros(3), loss="soft_l1", f_scale=OUTLIER_MM, x_scale="jac"
    )
    slope_x, slope_z, _ = fit.x
    up = np.array([slope_x, -1, slope_z]) / np.hypot(np.hypot(slope_x, slope_z), 1)
    off = np.abs(fit.fun) * -up[1]
    near = centred[off <= 3 * max(OUTLIER_MM, np.median(off))]
    flat = near - near.mean(axis=0)
    flat -= np.outer(flat @ up, up)
    widths = np.linalg.svd(flat, compute_uv=False) / np.sqrt(len(flat))
    return up, float(1.4826 * np.median(off)), float(widths[1]) if len(widths) > 1 else 0.0


def _pitch(people: Sequence[Poses]) -> float | None:
    """By how many degrees the camera looks down if people stand upright: the median over the frames in which they do.

    None if they are bent, or lie, in more than 1 - LEAST_UPRIGHT of the frames in which shoulders, hips and ankles are
    seen, of one side at least.
    """
    bodies, bends = [], []
    for person in people:
        parts, all_seen = [], np.ones(len(person.frames), bool)
        for joint in ("shoulder", "hip", "ankle"):
            sides = [person.skeleton.joints.index(f"{side}_{joint}") for side in ("left", "right")]
            seen = person.confidence[:, sides, None] > 0
            parts.append((person.xyz[:, sides] * seen).sum(axis=1) / seen.sum(axis=1).clip(1))
            all_seen &= seen.any(axis=(1, 2))
        shoulders, hips, ankles = (part[all_seen] for part in parts)
        trunk, legs = shoulders - hips, hips - ankles
        lengths = np.linalg.norm(trunk, axis=-1) * np.linalg.norm(legs, axis=-1)
        bends.append((trunk * legs).sum(axis=-1) / np.maximum(lengths, 1e-6))
        bodies.append(shoulders - ankles)
    body = np.concatenate(bodies)
    pitch = np.degrees(np.arctan2(-body[:, 2], -body[:, 1]))
    upright = np.concatenate(bends) > np.cos(np.radians(UPRIGHT_DEGREES))
    upright &= (np.abs(pitch) < STEEPEST_DEGREES) & (-body[:, 1] > np.abs(body[:, 0]))
    return float(np.median(pitch[upright])) if upright.sum() > LEAST_UPRIGHT * len(upright) else None


def _below(points: np.ndarray | None, pitch: float | None, doubt: str) -> Ground:
    """The floor of a camera without roll and with this pitch, at the lowest of the ankles [n,2,3]; None: level."""
    angle = np.radians(pitch or 0.0)
    up = np.array([0.0, -np.cos(angle), -np.sin(angle)])
    lowest = (
        0.0 if points is None else float(np.percentile((points @ up).min(axis=1), LOWEST_PERCENT)) - ANKLE_HEIGHT_MM
    )
    return Ground(up, lowest, doubt, pitch)
