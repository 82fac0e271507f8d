import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.poses.draw.projection import floor_lines, upright_matrix

RIGHT, DOWN, FORWARD = np.eye(3)


def turned(axis, degrees):
    """The rotation by so much about coordinate `axis`."""
    angle, (i, j) = np.radians(degrees), [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def is_rotation(matrix):
    return np.allclose(matrix @ matrix.T, np.eye(3)) and np.isclose(np.linalg.det(matrix), 1)


@pytest.mark.parametrize("pitch", [-25, 0, 40])
@pytest.mark.parametrize("heading", [0, 75, 180, -130])
def test_a_rotation_levels_the_floor_and_keeps_the_viewer_at_the_camera(pitch, heading):
    # A camera that is tilted by `pitch` and faces any way; the floor's normal in its coordinates must come out as z.
    rotation = turned(2, heading) @ upright_matrix() @ turned(0, pitch)
    matrix = upright_matrix(rotation)
    assert is_rotation(matrix)
    np.testing.assert_allclose(matrix @ (rotation.T @ [0, 0, 1]), [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(matrix @ RIGHT, [1, 0, 0], atol=1e-12)
    assert (matrix @ FORWARD)[1] > 0


def test_a_camera_that_looks_straight_down_has_the_top_of_its_image_ahead():
    rotation = turned(2, 30) @ np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    np.testing.assert_allclose(upright_matrix(rotation) @ -DOWN, [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize("rotation", [np.eye(2), np.zeros((3, 3)), np.full((3, 3), np.nan), 2 * np.eye(3)])
def test_what_is_no_rotation_is_refused(rotation):
    with pytest.raises(UserError, match=r"must be an orthogonal matrix \[3,3\]"):
        upright_matrix(rotation)


def test_the_floor_is_flat_of_whole_squares_and_not_too_many():
    lines = floor_lines(np.array([-390.0, -400]), np.array([350.0, 10]), -900, 200)
    assert lines.shape == (5 + 4, 2, 3)
    assert set(lines[..., 2].ravel()) == {-900}
    np.testing.assert_array_equal(lines.reshape(-1, 3).min(axis=0), [-400, -400, -900])
    np.testing.assert_array_equal(lines.reshape(-1, 3).max(axis=0), [400, 200, -900])
    assert len(floor_lines(np.zeros(2), np.full(2, 90_000), 0, 200)) < 60
