"""The view of 3D poses: upright rotation, view rotation, orthographic projection and floor.

Camera coordinates: x right, y down, z forward.  Upright coordinates: x right, y away from the camera, z up.  Screen
coordinates: right, up, depth.  All in millimetres.
"""

import numpy as np

from glagcn.errors import UserError

CAMERA_TO_UPRIGHT = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
# The view is from the side and from above the camera: from the camera itself, depth errors would be invisible.
TURN_DEGREES, RAISE_DEGREES = 25.0, 12.0
MOST_FLOOR_LINES = 24


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


def floor_lines(low: np.ndarray, high: np.ndarray, level: float, square: float) -> np.ndarray:
    """A grid on the floor [n,2,3], mm: z = level, x and y from `low` [2] to `high` [2], rounded to whole squares.

    square  the side of a square, mm; doubled until there are at most MOST_FLOOR_LINES.
    """
    step = square
    while (high - low).max() > MOST_FLOOR_LINES * step:
        step *= 2
    (x0, y0), (x1, y1) = np.floor(low / step) * step, np.ceil(high / step) * step
    along_y = [[(x, y0, level), (x, y1, level)] for x in np.arange(x0, x1 + step / 2, step)]
    along_x = [[(x0, y, level), (x1, y, level)] for y in np.arange(y0, y1 + step / 2, step)]
    return np.array(along_y + along_x)
