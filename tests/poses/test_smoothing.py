import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.poses.root_path import smoothed
from glagcn.skeletons import get_skeleton
from tests.poses.people import person, random_poses

FPS = 50.0


def swinging(hertz, frames, root=False):
    """Someone whose joints all swing by 100 mm, or whose root does."""
    wave = 100 * np.cos(2 * np.pi * hertz * frames / FPS)
    poses = np.zeros((len(frames), 17, 3)) + (0 if root else wave[:, None, None])
    return person(poses, frames=frames, fps=FPS, root=np.tile(wave[:, None], 3) if root else None), wave


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize(("hertz", "share"), [(0.5, 1.0), (6.0, np.sqrt(0.5)), (20.0, 0.0)])
def test_the_cutoff_halves_the_power_without_delay(hertz, share, root):
    someone, wave = swinging(hertz, np.arange(400), root)
    found = smoothed(someone, 6.0)
    values = found.root if root else found.xyz[:, 3]
    middle = slice(100, 300)  # away from the ends
    np.testing.assert_allclose(values[middle, 1], share * wave[middle], atol=1.0)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_short_tracks_are_smoothed_as_far_as_they_reach(count):
    """Standing still and moving evenly are smooth already; one frame is all there is."""
    still = random_poses(get_skeleton("h36m17"), 1)
    path = np.arange(count)[:, None] * [10.0, 0, 5] + [0, 0, 3000]
    someone = person(np.repeat(still, count, axis=0), fps=FPS, root=path)
    found = smoothed(someone, 2.0)
    np.testing.assert_allclose(found.xyz, someone.xyz, atol=1e-3)
    np.testing.assert_allclose(found.root, path, atol=1e-6)
    assert found.xyz.dtype == np.float32


def test_missing_frames_pass_as_time():
    """With every third frame missing, a slow swing stays what it is."""
    frames = np.delete(np.arange(400), np.arange(1, 400, 3))
    someone, wave = swinging(1.0, frames)
    found = smoothed(someone, 8.0)
    np.testing.assert_array_equal(found.frames, frames)
    np.testing.assert_allclose(found.xyz[50:-50, 0, 0], wave[50:-50], atol=2.0)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, 0.05, 25.0, 80.0, float("nan")])
def test_impossible_cutoffs_are_refused(cutoff):
    someone, _ = swinging(1.0, np.arange(4))
    with pytest.raises(UserError, match=r"invalid --smooth .*below 25, half"):
        smoothed(someone, cutoff)
