"""The floor that lifted people stand on, and coordinates that have it at height 0."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from glagcn.lifting.person import CAMERA, Z_UP, LiftedPerson

CAMERA_UP = np.array([0.0, -1, 0])
# A foot is 0.039 of the stature high (Drillis and Contini, 1966); of 1.75 m.
ANKLE_HEIGHT_MM = 68.0
OUTLIER_MM = 30.0  # residuals beyond this count less and less: lifted feet, jumps, people on chairs
ROUNDS = 3  # of choosing the lower foot, and fitting again
STEEPEST_DEGREES = 60.0
UNSURE_DEGREES = 5.0
NARROWEST_MM = 150.0  # errors in depth alone let the feet of someone who stands still drift about this far
LOWEST_PERCENT = 5.0


@dataclass(frozen=True)
class Floor:
    """A plane in camera space.

    up      [3] unit vector in camera axes, away from the floor.
    height  of the floor above the camera along `up`, millimetres: negative where it is below the camera.
    doubt   why `up` is the camera's own; None where it was found from the people.
    """

    up: np.ndarray
    height: float
    doubt: str | None

    @property
    def rotation(self) -> np.ndarray:
        """[3,3] from camera axes to x right, y away from the camera, z up."""
        away = np.array([0.0, 0, 1]) - self.up[2] * self.up
        away /= np.linalg.norm(away)
        return np.stack([np.cross(away, self.up), away, self.up])


def find_floor(people: Sequence[LiftedPerson]) -> Floor:
    """The floor from the lower ankle of every frame of all people, by a robust plane fit.

    The camera is taken as level where the feet do not tell how the floor lies: nobody has a path, the feet cover a
    strip that is narrower than NARROWEST_MM or so narrow that their scatter about the plane allows more than
    UNSURE_DEGREES, or the plane is steeper than STEEPEST_DEGREES.  `doubt` then says so.  Raises ValueError for people
    that are not in camera axes.
    """
    ankles = [_ankles(person) for person in people if person.root is not None]
    if not ankles:
        return Floor(CAMERA_UP, 0.0, "no one's path is known")
    points = np.concatenate(ankles)
    up = CAMERA_UP
    for _ in range(ROUNDS):
        lower = _lower(points, up)
        up, scatter, width = _fit_plane(lower)
    if np.degrees(np.arccos(-up[1])) > STEEPEST_DEGREES:
        return _level(points, f"the feet lie on a plane steeper than {STEEPEST_DEGREES:g} degrees")
    if width < NARROWEST_MM or scatter > width * np.tan(np.radians(UNSURE_DEGREES)):
        return _level(points, f"the feet keep to a strip {width:.0f} mm wide and are {scatter:.0f} mm off a plane")
    return Floor(up, float(np.median(lower @ up)) - ANKLE_HEIGHT_MM, None)


def on_floor(person: LiftedPerson, floor: Floor) -> LiftedPerson:
    """The person in axes with z up and the floor at z = 0; the origin is the floor below the camera.

    Raises ValueError for a person that is not in camera axes.
    """
    if person.axes != CAMERA:
        raise ValueError(f"the axes of person {person.person} are {person.axes}; expected {CAMERA}")
    turn = floor.rotation.T
    root = None if person.root is None else person.root @ turn - [0, 0, floor.height]
    return replace(person, poses=(person.poses @ turn).astype(np.float32), root=root, axes=Z_UP)


def _ankles(person: LiftedPerson) -> np.ndarray:
    """[T,2,3] both ankles in camera space, millimetres."""
    if person.axes != CAMERA or person.root is None:
        raise ValueError(f"person {person.person} must have a root, in {CAMERA} axes")
    joints = [person.skeleton.joints.index(name) for name in ("left_ankle", "right_ankle")]
    return person.poses[:, joints] + person.root[:, None]


def _lower(points: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Of pairs of points [n,2,3] the lower one: [n,3]."""
    return points[np.arange(len(points)), (points @ up).argmin(axis=1)]


def _fit_plane(points: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The plane y = a x + b z + c through points [n,3], in camera axes.

    -> (up [3], the points' distance from the plane, the width of the strip that they cover), the last two as standard
    deviations in millimetres.
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


def _level(points: np.ndarray, doubt: str) -> Floor:
    """The floor of a level camera at the feet's lowest: of ankles [n,2,3]."""
    heights = (points @ CAMERA_UP).min(axis=1)
    return Floor(CAMERA_UP, float(np.percentile(heights, LOWEST_PERCENT)) - ANKLE_HEIGHT_MM, doubt)
