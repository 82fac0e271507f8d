"""Sides that a detector exchanges for a while are put right where that is certain, and else left as they are."""

from functools import cache

import numpy as np
import pytest

import glagcn
from glagcn.data.mocap.motion import demo_source
from glagcn.poses.checks import are_parts, check_movement
from glagcn.poses.gaps import mark_missing
from glagcn.poses.joints import CONVENTIONS
from glagcn.poses.sides import mirrored, sides_put_right
from tests.checkpoints.exported_models import a_model

JOINTS = CONVENTIONS["mpi3dhp17"].points
OTHER = mirrored(JOINTS)


@cache
def people() -> list[np.ndarray]:
    """The six test people of the demo, who turn about, crouch and lie: [150,17,3] at 30 frames a second."""
    pixels = [sequence.pixels.astype(np.float32) for sequence in demo_source().read("test")]
    return [np.dstack([each, np.full(each.shape[:2], 0.9, np.float32)]) for each in pixels]


def exchanged(keypoints: np.ndarray, *stretches: tuple[int, int]) -> np.ndarray:
    wrong = keypoints.copy()
    for begin, end in stretches:
        wrong[begin:end] = keypoints[begin:end][:, OTHER]
    return wrong


def test_stretches_between_right_frames_are_put_right_and_frames_of_the_change_are_missing():
    given = people()[1]
    wrong = exchanged(given, (30, 52), (60, 61), (70, 80))
    wrong[30] = (given[30] + given[30][OTHER]) / 2  # neither
    put, frames = sides_put_right(wrong, JOINTS, 30)
    assert frames.tolist() == [*range(31, 52), 60, *range(70, 80)]
    np.testing.assert_array_equal(put[30], 0)
    rest = np.arange(len(given)) != 30
    np.testing.assert_array_equal(put[rest], given[rest])


@pytest.mark.parametrize("stretches", [[(110, 150)], [(0, 20)], [(20, 100)]], ids=["end", "begin", "most"])
def test_what_is_not_certain_stays(stretches):
    wrong = exchanged(people()[1], *stretches)
    put, frames = sides_put_right(wrong, JOINTS, 30)
    assert put is wrong
    assert not len(frames)


@pytest.mark.parametrize("fps", [10, 15, 30])
def test_people_who_turn_and_who_are_missing_stay(fps):
    for person in people():
        given = person[:: 30 // fps].copy()
        given[len(given) // 2 :: 3] = 0
        given[:, 4] = 0
        assert sides_put_right(given, JOINTS, fps)[0] is given


def test_a_person_who_turns_round_between_two_frames_stays():
    """Seen twice a second, somebody may turn round and back."""
    given = people()[1][::15]
    wrong = exchanged(given, (3, 4))
    assert sides_put_right(wrong, JOINTS, 2)[0] is wrong


def test_times_tell_how_far_frames_are_apart():
    wrong = exchanged(people()[1], (40, 60))
    assert len(sides_put_right(wrong, JOINTS, 30, np.arange(150.0))[1]) == 20
    assert not len(sides_put_right(wrong, JOINTS, 30, np.arange(150) * 4.0)[1])


def test_predict_names_the_frames_and_lifts_the_person_as_without_the_exchange(caplog):
    given, model = people()[1], a_model()
    size, frames = (2048, 2048), np.arange(35, 60, 5)
    lifted = glagcn.predict(model, exchanged(given, (40, 55)), size, fps=30, frames=frames)
    assert "pose_2d: left and right change places for a while" in caplog.text
    assert "put right in frames 40 to 54" in caplog.text
    np.testing.assert_array_equal(lifted, glagcn.predict(model, given, size, fps=30, frames=frames))
    caplog.clear()
    glagcn.predict(model, exchanged(given, (110, 150)), size, fps=30, frames=frames)
    assert "left and right change places 1 times from one frame to the next (frame 110)" in caplog.text


@pytest.mark.parametrize("size", [1, 2, 7, 149, 150])
def test_parts_of_a_long_video_join_without_a_seam(monkeypatch, size):
    wrong = exchanged(people()[1], (30, 52), (60, 61), (70, 80))
    wrong[100:104] = 0
    whole, frames = sides_put_right(wrong, JOINTS, 60)
    found, marked, pixels = check_movement([wrong], JOINTS, [0]), mark_missing(wrong), are_parts(wrong, None)
    monkeypatch.setattr("glagcn.poses.gaps.PART_FRAMES", size)
    put, again = sides_put_right(wrong, JOINTS, 60)
    np.testing.assert_array_equal(put, whole)
    np.testing.assert_array_equal(again, frames)
    assert len(frames) == 33
    assert check_movement([wrong], JOINTS, [0]) == found
    assert found
    np.testing.assert_array_equal(mark_missing(wrong), marked)
    assert are_parts(wrong, None) is pixels is False
    assert are_parts(wrong * [1e-3, 1e-3, 1], None)
