from dataclasses import replace

import numpy as np
import pytest

from glagcn.poses.ground import find_ground, on_ground
from glagcn.poses.ray import usual_focal
from glagcn.poses.root_path import LEAST_JOINTS, steadied, with_root
from glagcn.skeletons import SKELETONS, get_skeleton
from tests.poses.people import person, project, random_poses

SIZE, FOCAL = (1920, 1080), 1400.0


def seen(name="h36m17", frames=30, **changes):
    """Someone filmed by a known camera -> (person, true root)."""
    rng = np.random.default_rng(5)
    poses = random_poses(get_skeleton(name), frames).astype(np.float32)
    root = rng.uniform([-2000, -800, 3000], [2000, 800, 9000], (frames, 3))
    pixels = project(poses.astype(np.float64) + root[:, None], FOCAL, SIZE)
    return person(poses, name, **{"pixels": pixels, "image_size": SIZE, **changes}), root


@pytest.mark.parametrize("name", SKELETONS)
def test_a_known_camera_gives_the_known_root(name):
    someone, root = seen(name)
    found, good = with_root(someone, FOCAL)
    assert good.all()
    np.testing.assert_allclose(found.root, root, atol=1e-3)


def test_joints_that_were_not_seen_do_not_count():
    someone, root = seen()
    someone.pixels[:, 2:6] += 300
    someone.confidence[:, 2:6] = 0
    someone.pixels[:, 7] = np.nan
    found, good = with_root(someone, FOCAL)
    assert good.all()
    np.testing.assert_allclose(found.root, root, atol=1e-3)


def test_confidence_decides_between_joints():
    """The solution is that of the normal equations, solved by numpy, with the same weights."""
    someone, _ = seen(frames=4)
    noisy = someone.pixels + np.random.default_rng(6).normal(0, 10, someone.pixels.shape)
    found, _ = with_root(replace(someone, pixels=noisy), FOCAL)
    for index, pose in enumerate(someone.xyz.astype(np.float64)):
        rays = (noisy[index] - np.array(SIZE) / 2) / FOCAL
        rows = np.concatenate([np.c_[np.eye(2)[[axis] * 17], -rays[:, axis]] for axis in (0, 1)])
        sides = np.concatenate([rays[:, axis] * pose[:, 2] - pose[:, axis] for axis in (0, 1)])
        weights = np.sqrt(np.tile(someone.confidence[index].astype(np.float64), 2))
        expected = np.linalg.lstsq(rows * weights[:, None], sides * weights, rcond=None)[0]
        np.testing.assert_allclose(found.root[index], expected, atol=1e-3)


def test_frames_with_too_few_joints_are_interpolated():
    someone, root = seen(frames=6)
    someone.confidence[2, LEAST_JOINTS - 1 :] = 0
    someone.confidence[3] = np.nan
    someone.confidence[5] = 0
    found, good = with_root(replace(someone, frames=np.array([0, 1, 2, 5, 9, 10])), FOCAL)
    np.testing.assert_array_equal(good, [True, True, False, False, True, False])
    np.testing.assert_allclose(found.root[[0, 1, 4, 5]], root[[0, 1, 4, 4]], atol=1e-3)
    np.testing.assert_allclose(found.root[3], (root[1] + root[4]) / 2, atol=1e-3)


def test_nobody_is_behind_the_camera():
    """Mirrored 2D fits best at a negative depth; noise alone may fit anywhere."""
    someone, _root = seen(frames=40)
    someone.pixels[1::2] = np.array(SIZE) - someone.pixels[1::2]
    someone.pixels[20:] = np.random.default_rng(7).uniform(0, 1000, someone.pixels[20:].shape)
    found, good = with_root(someone, FOCAL)
    assert good[:20:2].all()
    assert not good[1:20:2].any()
    assert (found.root[:, 2] > 0).all()


def test_no_good_frame_is_no_path():
    someone, _ = seen(frames=3)
    for pixels in (np.full_like(someone.pixels, np.nan), np.full_like(someone.pixels, 7.0)):
        found, good = with_root(replace(someone, pixels=pixels), FOCAL)
        assert found.root is None
        assert not good.any()


def test_the_usual_focal_sees_55_degrees():
    for size in ((1920, 1080), (1080, 1920)):
        assert 2 * np.degrees(np.arctan(960 / usual_focal(size))) == pytest.approx(55)


def test_other_axes_are_refused():
    someone, _ = seen(frames=3)
    moved = on_ground(someone, find_ground([someone]))
    with pytest.raises(ValueError, match="axes"):
        with_root(moved, FOCAL)


def walking(frames=90):
    """Somebody who walks towards the camera and past it, 4 m in three seconds -> (person, true root)."""
    along = np.linspace(0, 1, frames)
    root = np.stack([-800 + 1500 * along, np.full(frames, 200.0), 7000 - 4000 * along], axis=1)
    poses = random_poses(get_skeleton("h36m17"), frames).astype(np.float32)
    pixels = project(poses.astype(np.float64) + root[:, None], FOCAL, SIZE)
    return person(poses, "h36m17", pixels=pixels, image_size=SIZE, fps=30.0), root


def jitter(path):
    return np.linalg.norm(np.diff(path, 2, axis=0), axis=1).mean()


def test_a_path_that_shakes_is_steadied_and_not_late_at_its_ends():
    someone, root = walking()
    rng = np.random.default_rng(3)
    noisy = replace(someone, pixels=someone.pixels + rng.normal(0, 4, someone.pixels.shape))
    noisy.pixels[40] += rng.normal(0, 60, noisy.pixels[40].shape)  # a frame that is far off
    shaken, good = with_root(noisy, FOCAL)
    steady, spread = steadied(shaken, good)
    assert jitter(steady.root) < jitter(shaken.root) / 8
    errors = np.linalg.norm(steady.root - root, axis=1)
    assert errors.max() < 150  # at both ends too, where an average would be 500 mm late
    assert errors.mean() < np.linalg.norm(shaken.root - root, axis=1).mean() / 1.5
    assert 0.002 < spread < 0.05


def test_the_path_of_uneven_frames_is_steadied_over_time():
    """Thirty frames a second, then ten, of somebody who walks at a constant speed."""
    someone, even = walking(120)
    times = np.concatenate([[0], np.cumsum(np.where(np.arange(119) % 40 < 20, 1 / 30, 1 / 10))])
    root = np.stack([np.interp(times, np.linspace(0, times[-1], 120), axis) for axis in even.T], axis=1)
    pixels = project(someone.xyz.astype(np.float64) + root[:, None], FOCAL, SIZE)
    shaken, good = with_root(replace(someone, pixels=pixels, times=times), FOCAL)
    assert np.linalg.norm(steadied(shaken, good)[0].root - root, axis=1).max() < 30


def test_a_path_that_does_not_shake_stays():
    someone, root = walking()
    steady, spread = steadied(*with_root(someone, FOCAL))
    np.testing.assert_allclose(steady.root, root, atol=30)
    assert spread < 0.005


def test_frames_that_were_not_estimated_follow_those_around():
    someone, root = walking()
    someone.confidence[30:36] = 0
    found, good = with_root(someone, FOCAL)
    assert not good[30:36].any()
    steady, _ = steadied(replace(found, root=found.root + 900 * ~good[:, None]), good)
    np.testing.assert_allclose(steady.root, root, atol=30)
    alone, nothing = steadied(replace(found, root=None), good)
    assert alone.root is None
    assert nothing == 0
