"""The ground plane: estimated from lifted people, and poses in z-up coordinates with it at z = 0."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

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


@dataclass(frozen=True)
class Ground:
    """A plane in camera space.

    up      [3] unit normal of the floor in camera axes.
    height  of the floor relative to the camera along `up`, in millimetres; negative if the floor is below the camera.
    doubt   None if the plane was estimated; else the reason why the camera is assumed to be level.
    """

    up: np.ndarray
    height: float
    doubt: str | None

    @property
    def rotation(self) -> np.ndarray:
        """The rotation [3,3] from camera axes to x right, y away from the camera, z up."""
        away = np.array([0.0, 0, 1]) - self.up[2] * self.up
        away /= np.linalg.norm(away)
        return np.stack([np.cross(away, self.up), away, self.up])


def find_ground(people: Sequence[Poses]) -> Ground:
    """Estimate the floor by a robust plane fit to the lower ankle of every frame of all people.

    The camera is assumed to be level, with the reason in `doubt`, if no person has a root path, if the ankles cover
    less than NARROWEST_MM in any direction (standard deviation), if their distance from the plane over this width
    exceeds UNSURE_DEGREES, or if the plane is steeper than STEEPEST_DEGREES.
    people  in camera axes.
    """
    pairs = []
    for person in people:
        if person.root is not None:
            ankles = [person.skeleton.joints.index(name) for name in ("left_ankle", "right_ankle")]
            pairs.append(person.xyz[:, ankles] + person.root[:, None])
    if not pairs:
        return Ground(CAMERA_UP, 0.0, "no person has a root path")
    points, up = np.concatenate(pairs), CAMERA_UP  # [n,2,3] mm
    for _ in range(ROUNDS):
        lower = points[np.arange(len(points)), (points @ up).argmin(axis=1)]
        up, scatter, width = _fit_plane(lower)
    if np.degrees(np.arccos(-up[1])) > STEEPEST_DEGREES:
        return _level(points, f"the ankles lie on a plane steeper than {STEEPEST_DEGREES:g} degrees")
    if width < NARROWEST_MM or scatter > width * np.tan(np.radians(UNSURE_DEGREES)):
        return _level(points, f"the ankles cover a strip {width:.0f} mm wide, at {scatter:.0f} mm from a plane")
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


def _level(points: np.ndarray, doubt: str) -> Ground:
    """The floor of a level camera, at the lowest of the ankles [n,2,3]."""
    heights = (points @ CAMERA_UP).min(axis=1)
    return Ground(CAMERA_UP, float(np.percentile(heights, LOWEST_PERCENT)) - ANKLE_HEIGHT_MM, doubt)
