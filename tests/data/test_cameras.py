"""The cameras of Human3.6M and HumanEva-I: rigid there and back, and the projection against numbers by hand."""

import numpy as np
import pytest

from glagcn.data.videopose3d.cameras import Camera, axes_of, cameras_of, project, to_camera

H36M = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
EVERY = [camera for s in H36M for camera in cameras_of("h36m", s)]
EVERY += [camera for s in ("Train/S1", "Train/S2", "Train/S3") for camera in cameras_of("humaneva15", s)]
POINTS = np.random.default_rng(0).normal(0, 1500, (50, 4, 3))
PLAIN = Camera("plain", 1000, 1000, (1, 0, 0, 0), (0, 0, 0), (1000, 2000), (500, 400))


def test_which_cameras_there_are():
    for subject in H36M:
        cameras = cameras_of("h36m", subject)
        assert [camera.id for camera in cameras] == ["54138969", "55011271", "58860488", "60457274"]
        assert [(camera.width, camera.height) for camera in cameras] == [
            (1000, 1002), (1000, 1000), (1000, 1000), (1000, 1002),
        ]  # fmt: skip
        assert all(camera.focal and camera.centre and camera.radial and camera.tangential for camera in cameras)
    for person in ("S1", "S2", "S3"):
        cameras = cameras_of("humaneva15", f"Train/{person}")
        assert [(camera.id, camera.width, camera.height) for camera in cameras] == [
            ("C1", 640, 480), ("C2", 640, 480), ("C3", 640, 480),
        ]  # fmt: skip
        assert cameras_of("humaneva15", f"Validate/{person}") == cameras
        assert all(camera.focal is None for camera in cameras)
    assert len({cameras_of("h36m", subject) for subject in H36M}) == 7


@pytest.mark.parametrize(
    ("dataset", "subject"),
    [("h36m", "S2"), ("h36m", "Train/S1"), ("humaneva15", "Train/S4"), ("humaneva15", "S1"),
     ("humaneva15", "Unlabeled/Train/S1")],
)  # fmt: skip
def test_subjects_without_cameras(dataset, subject):
    assert cameras_of(dataset, subject) == ()


def to_world(points: np.ndarray, camera: Camera) -> np.ndarray:
    """The world points [...,3] of camera coordinates [...,3], both in millimetres."""
    return np.asarray(points, np.float64) @ axes_of(camera).T + camera.translation


def test_to_the_camera_and_back():
    np.testing.assert_allclose(
        to_world(np.zeros(3), cameras_of("h36m", "S1")[0]), (1841.1070556640625, 4955.28466796875, 1563.4454345703125)
    )
    for camera in EVERY:
        np.testing.assert_allclose(to_world(to_camera(POINTS, camera), camera), POINTS, atol=1e-8)
        assert np.linalg.det(axes_of(camera)) == pytest.approx(1)  # rigid, and no mirror image
        middle, above = to_camera(np.array([[0, 0, 900], [0, 0, 1900]]), camera)
        assert abs(middle[0]) < 0.4 * middle[2] > 1000, "the camera looks at the middle of the room"
        assert above[1] < middle[1] - 900, "y points down"


def test_orientation_is_the_turn_from_camera_to_world():
    half = np.sqrt(0.5)
    camera = Camera("turned", 1, 1, (half, 0, 0, half), (10, 20, 30))  # a quarter about z: x to y, y to -x
    np.testing.assert_allclose(to_world([1, 0, 0], camera), (10, 21, 30))
    np.testing.assert_allclose(to_world([0, 1, 0], camera), (9, 20, 30))
    np.testing.assert_allclose(to_camera([10, 21, 30], camera), (1, 0, 0), atol=1e-12)


def test_projection_of_known_points():
    np.testing.assert_allclose(project(np.array([[0, 0, 5], [1, 2, 10]]), PLAIN), [[500, 400], [600, 800]])
    lens = {"orientation": (1, 0, 0, 0), "translation": (0, 0, 0), "focal": (1000, 1000), "centre": (0, 0)}
    point = np.array([0.1, 0.2, 1.0])  # r2 = 0.05
    bulged = Camera("k", 1, 1, **lens, radial=(2.0, 3.0, 4.0))
    factor = 1 + 2 * 0.05 + 3 * 0.05**2 + 4 * 0.05**3
    np.testing.assert_allclose(project(point, bulged), [100 * factor, 200 * factor])
    tilted = Camera("p", 1, 1, **lens, tangential=(0.3, 0.5))
    factor = 1 + 0.3 * 0.2 + 0.5 * 0.1
    np.testing.assert_allclose(project(point, tilted), [100 * factor + 500 * 0.05, 200 * factor + 300 * 0.05])


def test_projection_needs_intrinsics():
    with pytest.raises(ValueError, match="camera C1 has no intrinsics"):
        project(POINTS, cameras_of("humaneva15", "Train/S1")[0])
