import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.poses.gaps import Counts, fill_gaps, gap_frames, like_standing, mark_missing
from glagcn.poses.joints import CONVENTIONS, STANDING


def moving(frames: int) -> np.ndarray:
    """[T,4,3] of a box that moves to the right."""
    corners = np.array([[0, 0], [50, 0], [0, 50], [50, 50]])
    places = np.full((frames, 4, 3), 0.9, np.float32)
    places[..., :2] = corners + np.array([[3 * t, 100.0] for t in range(frames)])[:, None]
    return places


def test_gaps_of_a_joint_are_interpolated_held_or_put_in_the_middle():
    whole = moving(10)
    keypoints = whole.copy()
    keypoints[2:4, 0] = 0  # short
    keypoints[3:8, 1] = 0  # long
    keypoints[:2, 2] = keypoints[8:, 2] = 0  # ends
    keypoints[:, 3] = 0  # never
    counts = Counts()
    filled = fill_gaps(keypoints, 2, counts)
    np.testing.assert_allclose(filled[:, 0, :2], whole[:, 0, :2], atol=1e-5)
    np.testing.assert_array_equal(filled[3:8, 1, :2], whole[[2, 2, 2, 8, 8], 1, :2])
    np.testing.assert_array_equal(filled[[0, 1, 8, 9], 2, :2], whole[[2, 2, 7, 7], 2, :2])
    np.testing.assert_allclose(filled[:, 3, :2], filled[:, :3, :2].mean(axis=1), atol=1e-4)
    np.testing.assert_array_equal(filled[..., 2], keypoints[..., 2])
    assert (counts.missing, counts.filled, counts.held, counts.unseen) == (21, 2, 9, 10)
    assert counts.words() == (
        "21 missing joints: 2 interpolated, 9 held at their nearest place, 10 never seen (joint 3)"
    )
    with pytest.raises(UserError, match="every joint is missing"):
        fill_gaps(np.zeros((3, 2, 3)), 2)


@pytest.mark.parametrize("facing", [1, -1])
@pytest.mark.parametrize("name", ["mpi3dhp17", "coco17", "h36m17"])
def test_joints_that_nobody_ever_saw_hang_below_those_of_somebody_who_stands(name, facing):
    """Facing the camera, and turning the back; in the second frame they are larger."""
    points = CONVENTIONS[name].points
    body = np.array([STANDING[point][:2] for point in points]) * (facing, -1)
    sizes = np.array([[100.0], [150.0]])[..., None]
    keypoints = np.concatenate([body * sizes + 7 * sizes, np.ones((2, len(points), 1))], axis=-1)
    for parts in (("knee", "ankle"), ("hip", "knee", "ankle", "pelvis", "spine"), ("left_shoulder", "wrist")):
        given = keypoints.copy()
        given[:, [point.endswith(parts) for point in points]] = 0
        filled = fill_gaps(given, 2, points=points)
        np.testing.assert_allclose(filled[..., :2], keypoints[..., :2], atol=1e-6)
        np.testing.assert_array_equal(filled[..., 2], given[..., 2])


def test_one_joint_alone_and_unknown_names_leave_the_others_at_its_place():
    one = np.array([[[5.0, 6, 1], [0, 0, 0], [0, 0, 0]]])
    never = np.array([False, True, True])
    for points in ((), ("left_wrist", "left_knee", "tail"), ("tail", "nose", "left_knee")):
        np.testing.assert_allclose(like_standing(one, never, points), [[[5, 6], [5, 6]]])


def test_what_is_all_there_stays_as_it_is():
    counts = Counts()
    assert fill_gaps(moving(3), 2, counts).tolist() == moving(3).tolist()
    assert (counts, counts.words()) == (Counts(), "")


def test_half_a_second_in_frames():
    assert (gap_frames(None), gap_frames(25), gap_frames(50), gap_frames(1)) == (12, 12, 25, 1)


def test_a_joint_is_missing_without_a_place_or_confidence_and_far_outside_the_image():
    given = [(0, 0, 1), (-1, -1, 1), (np.nan, 5, 1), (5, 5, np.inf), (5, 5, 0.04), (2e7, 5, 1), (0, 5, 1), (-90, 90, 1)]
    seen = mark_missing(np.array(given))[:, 2] > 0
    assert seen.tolist() == [False] * 6 + [True] * 2
    assert (mark_missing(np.array(given), (80, 80))[:, 2] > 0).tolist() == [False] * 6 + [True, False]
    assert mark_missing(np.array([[5, 5, 0.2]]), least_confidence=0.3).tolist() == [[0, 0, 0]]
