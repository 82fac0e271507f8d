import numpy as np
import pytest

from glagcn.poses.result import filled
from glagcn.skeletons import get_skeleton
from tests.poses.people import person, random_poses


def test_missing_frames_lie_between_their_neighbours():
    poses = random_poses(get_skeleton("h36m17"), 3)
    root = np.array([[0, 0, 3000], [100, 0, 3000], [400, 60, 3000.0]])
    gaps = person(poses, frames=np.array([4, 5, 8]), root=root)
    whole = filled(gaps, 3, 9)
    np.testing.assert_array_equal(whole.frames, np.arange(3, 10))
    np.testing.assert_allclose(whole.root[:, 0], [0, 0, 100, 200, 300, 400, 400])
    np.testing.assert_allclose(whole.xyz[[1, 2, 5]], gaps.xyz, rtol=1e-6)
    np.testing.assert_allclose(whole.xyz[3], (2 * poses[1] + poses[2]) / 3, rtol=1e-4, atol=1e-3)
    there = [1, 2, 5]
    np.testing.assert_array_equal(whole.confidence[there], gaps.confidence)
    np.testing.assert_array_equal(whole.pixels[there], gaps.pixels)
    assert (np.delete(whole.confidence, there, axis=0) == 0).all()
    assert np.isnan(np.delete(whole.pixels, there, axis=0)).all()


def test_a_part_can_be_taken():
    poses = random_poses(get_skeleton("h36m17"), 5)
    part = filled(person(poses), 1, 2)
    np.testing.assert_array_equal(part.xyz, poses[1:3].astype(np.float32))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frames": np.array([0, 2, 2])}, "ascend"),
        ({"frames": np.arange(2)}, "xyz"),
        ({"root": np.zeros((3, 2))}, "root"),
        ({"root": np.full((3, 3), np.nan)}, "finite"),
        ({"pixels": np.zeros((3, 16, 2))}, "pixels"),
        ({"poses": np.zeros((0, 17, 3))}, "at least one"),
    ],
)
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        person(**{"poses": random_poses(get_skeleton("h36m17"), 3), **changes})
