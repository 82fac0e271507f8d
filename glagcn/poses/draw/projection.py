"""The view of a 3D pose: upright rotation, view rotation, orthographic projection and bounding box.

Camera coordinates: x right, y down, z forward.  Upright coordinates: x right, y away from the camera, z up.  Screen
coordinates: right, up, depth.  All in millimetres.
"""

import numpy as np

from glagcn.errors import UserError
from glagcn.skeletons import Skeleton

CAMERA_TO_UPRIGHT = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
# The view is from the side and from above the camera: from the camera itself, depth errors would be invisible.
TURN_DEGREES, RAISE_DEGREES = 25.0, 12.0
MARGIN = 1.1  # side of the drawn box / side of the smallest box around the poses
LEAST_SIDE_MM = 1000.0


def upright_matrix(rotation: np.ndarray | None = None) -> np.ndarray:
    """The rotation [3,3] from camera to upright coordinates.

    rotation  [3,3] from camera to world coordinates with z up, which makes the floor level; None assumes a level
              camera.
    Raises UserError if `rotation` is not an orthogonal matrix.
    """
    if rotation is None:
        return CAMERA_TO_UPRIGHT
    rotation = np.asarray(rotation, dtype=np.float64)
    if rotation.shape != (3, 3) or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3):
        raise UserError(f"invalid rotation {rotation.tolist()}: must be an orthogonal matrix [3,3], camera to world")
    forward = rotation[:2, 2]
    if np.hypot(*forward) < 1e-3:  # the camera looks straight down or up: the top of its image is ahead
        forward = -rotation[:2, 1]
    x, y = forward / np.hypot(*forward)
    return np.array([[y, -x, 0], [x, y, 0], [0, 0, 1]]) @ rotation


def screen_matrix() -> np.ndarray:
    """The rotation [3,3] from upright coordinates to the screen: rows right, up, depth."""
    turn, raised = np.radians(TURN_DEGREES), np.radians(RAISE_DEGREES)
    right, away = np.array([np.cos(turn), np.sin(turn), 0]), np.array([-np.sin(turn), np.cos(turn), 0])
    up = np.array([0.0, 0, 1])
    return np.stack([right, np.cos(raised) * up + np.sin(raised) * away, np.cos(raised) * away - np.sin(raised) * up])


def frame_box(points: np.ndarray) -> tuple[np.ndarray, float]:
    """The square around all finite screen points [...,3]: its centre [2] and half its side, mm."""
    points = points[..., :2].reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        return np.zeros(2), LEAST_SIDE_MM / 2
    low, high = points.min(axis=0), points.max(axis=0)
    return (low + high) / 2, max(float((high - low).max()), LEAST_SIDE_MM) / 2 * MARGIN


def floor_lines(height: float, reach: float, step: float) -> np.ndarray:
    """A square grid on the floor [n,2,3] in upright coordinates, mm: z = height, x and y from -reach to reach."""
    lines = []
    for offset in np.arange(-reach, reach + step / 2, step):
        lines.append([(offset, -reach, height), (offset, reach, height)])
        lines.append([(-reach, offset, height), (reach, offset, height)])
    return np.array(lines)


PREDICTED = {"left": "tab:blue", "right": "tab:red", "middle": "black"}


def side_of(joint: int, skeleton: Skeleton) -> str:
    """The side of a joint and of the bone to its parent: "left", "right" or "middle"."""
    return "left" if joint in skeleton.left else "right" if joint in skeleton.right else "middle"
