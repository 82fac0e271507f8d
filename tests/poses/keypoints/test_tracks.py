import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.poses.keypoints.read import KeypointFile
from glagcn.poses.keypoints.tracks import likely_same, select, tracks


def moving(frames, left: float, speed: float, size: float = 50.0, joints: int = 4) -> np.ndarray:
    """[T,J,3] of somebody in a box that moves to the right."""
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])[:joints] * size
    places = np.zeros((len(frames), joints, 3), np.float32)
    places[..., :2] = corners + np.array([[left + speed * t, 100.0] for t in frames])[:, None]
    places[..., 2] = 0.9
    return places


def detections(*people, ids=None) -> KeypointFile:
    """Of (frames, keypoints) of each person, in the order of the frames."""
    rows = sorted(
        (t, who, pose)
        for who, (frames, poses) in enumerate(people)
        for t, pose in zip(frames, poses.tolist(), strict=True)
    )
    persons = [-1 if ids is None else ids[who] for _, who, _ in rows]
    poses = np.array([pose for *_, pose in rows], np.float32)
    return KeypointFile(None, np.array([t for t, *_ in rows]), poses, np.array(persons))


def person(frames, *motion):
    return frames, moving(frames, *motion)


def test_two_who_cross_stay_themselves_when_they_are_far_apart_in_height():
    frames = range(40)
    a, b = moving(frames, 0, 5), moving(frames, 200, -5)
    b[..., 1] += 60
    found = tracks(detections((frames, a), (frames, b)), fps=25)
    assert [(track.person, track.start) for track in found] == [(0, 0), (1, 0)]
    np.testing.assert_array_equal(found[0].keypoints, a)
    np.testing.assert_array_equal(found[1].keypoints, b)


def test_a_gap_of_half_a_second_is_bridged_and_a_longer_one_splits():
    bridged = [*range(5), *range(17, 20)]  # 12 frames missing, 0.5 s at 25
    whole = moving(range(20), 0, 2)
    found = tracks(detections((bridged, whole[bridged])), fps=25)
    assert [(track.start, len(track.keypoints)) for track in found] == [(0, 20)]
    np.testing.assert_array_equal(found[0].keypoints[bridged], whole[bridged])
    assert (found[0].keypoints[5:17] == 0).all()
    longer = [*range(5), *range(18, 20)]
    found = tracks(detections((longer, whole[longer])), fps=25)
    assert [(track.start, len(track.keypoints)) for track in found] == [(0, 5), (18, 2)]
    assert len(tracks(detections((longer, whole[longer])), fps=50)) == 1


def test_ids_are_followed_also_where_people_jump():
    frames = range(6)
    a, b = moving(frames, 0, 0), moving(frames, 500, 0)
    swapped = np.where((np.arange(6) % 2 == 0)[:, None, None], a, b)
    other = np.where((np.arange(6) % 2 == 0)[:, None, None], b, a)
    found = tracks(detections((frames, swapped), (frames, other), ids=[7, 3]))
    assert [track.person for track in found] == [3, 7]
    np.testing.assert_array_equal(found[1].keypoints, swapped)


def test_who_has_no_id_at_first_takes_the_one_that_he_gets():
    frames = range(40)
    a, b = moving(frames, 0, 5), moving(frames, 200, -5)  # they cross
    file = detections((frames, a), (frames, b), ids=[7, 3])
    file.persons[:6] = -1
    file.persons[61] = -1  # of the first, once more
    found = tracks(file)
    assert [(track.person, track.start, len(track.keypoints)) for track in found] == [(3, 0, 40), (7, 0, 40)]
    np.testing.assert_array_equal(found[1].keypoints, a)


def test_somebody_whose_id_changes_is_named_and_can_be_joined():
    file = detections(person(range(20), 0, 1), person(range(23, 40), 23, 1), person(range(40), 400, 0), ids=[1, 7, 4])
    found = tracks(file, 25)
    assert (likely_same(found, select(found, 1), 25), likely_same(found, select(found, 7), 25)) == ([7], [1])
    assert likely_same(found, select(found, 4), 25) == []
    joined = tracks(file, 25, same=[7, 1])
    assert [(track.person, track.start, len(track.keypoints)) for track in joined] == [(4, 0, 40), (7, 0, 40)]
    with pytest.raises(UserError, match="persons 1, 4 are not one: frame 0 has 2 of them"):
        tracks(file, 25, same=[1, 4])
    with pytest.raises(UserError, match="there is no person 2; expected"):
        tracks(file, 25, same=[1, 2])


def test_who_comes_later_or_elsewhere_is_another():
    found = tracks(detections(person(range(10), 0, 1), person(range(4, 10), 400, 1)))
    assert [(track.person, track.start, len(track.keypoints)) for track in found] == [(0, 0, 10), (1, 4, 6)]


def test_people_are_chosen_by_size_time_or_id():
    small, large = person(range(10), 0, 0, 50), person(range(4, 10), 400, 0, 80)
    found = tracks(detections(small, large, ids=[5, 9]))
    assert [[t.person for t in select(found, who)] for who in ("largest", "longest", 5, "9", "all")] == [
        [9], [5], [5], [9], [5, 9]
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"no person 6; expected largest, longest, all or one of the ids 5, 9"):
        select(found, 6)


def test_a_false_detection_in_one_frame_is_not_the_largest_person():
    found = tracks(detections(person(range(10), 0, 0, 50), person([4], 400, 0, 150), ids=[5, 9]))
    assert [track.person for track in select(found)] == [5]


def test_one_person_alone_is_the_same_after_a_long_gap():
    frames = [0, 1, 2, 100, 101]
    found = tracks(detections((frames, moving(frames, 0, 0))))
    assert [(t.person, t.start) for t in select(found)] == [(0, 0), (0, 100)]
