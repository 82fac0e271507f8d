import re

import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.poses.joints import CONVENTIONS, INPUTS, conventions_of, get_convention, input_convention
from glagcn.skeletons import COCO_TO_HUMANEVA, SKELETONS, Skeleton, get_skeleton, tree_links
from tests.data.tiny_videopose3d import TO_H36M


def upright(convention) -> np.ndarray:
    """[1,J,3] of somebody whose named points lie at known heights, all seen."""
    height = {"pelvis": 0.0, "left_hip": 0.0, "right_hip": 0.0, "neck": 4.0, "left_shoulder": 4.0,
              "right_shoulder": 4.0, "spine": 2.0, "nose": 8.0, "head": 8.0, "head_top": 11.0}  # fmt: skip
    points = [(0.0, height.get(point, 100.0 + j), 0.9) for j, point in enumerate(convention.points)]
    return np.array([points])


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_convention_has_as_many_joints_as_its_name_says_once_each_and_sides_in_pairs(name):
    convention = get_convention(name)
    count = int(re.findall(r"\d+", name)[-1])
    assert len(convention.joints) == len(set(convention.points)) == count
    for points in (convention.joints, convention.points):
        left = {point.removeprefix("left_") for point in points if point.startswith("left_")}
        assert left == {point.removeprefix("right_") for point in points if point.startswith("right_")}


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("coco17", {0: "nose", 5: "left_shoulder", 6: "right_shoulder", 9: "left_wrist", 16: "right_ankle"}),
        ("coco_wholebody133", {17: "left_big_toe", 22: "right_heel", 23: "face_0", 91: "left_hand_0"}),
        ("halpe26", {17: "head", 18: "neck", 19: "hip", 20: "left_big_toe", 21: "right_big_toe", 25: "right_heel"}),
        ("halpe136", {25: "right_heel", 26: "face_0", 94: "left_hand_0", 135: "right_hand_20"}),
        ("openpose_body25", {1: "neck", 2: "right_shoulder", 8: "mid_hip", 14: "left_ankle", 15: "right_eye",
                             18: "left_ear", 19: "left_big_toe", 24: "right_heel"}),
        ("openpose_body25b", {16: "right_ankle", 17: "upper_neck", 18: "head_top", 24: "right_heel"}),
        ("openpose_mpi15", {0: "head", 1: "neck", 2: "right_shoulder", 8: "right_hip", 13: "left_ankle", 14: "chest"}),
        ("coco_neck18", {0: "nose", 16: "right_ankle", 17: "neck"}),
        ("kinect25", {0: "spine_base", 3: "head", 7: "left_hand", 12: "left_hip", 20: "spine_shoulder"}),
        ("openpose_coco18", {1: "neck", 8: "right_hip", 13: "left_ankle", 14: "right_eye", 17: "left_ear"}),
        ("mediapipe33", {2: "left_eye", 5: "right_eye", 7: "left_ear", 11: "left_shoulder", 16: "right_wrist",
                         23: "left_hip", 28: "right_ankle", 32: "right_foot_index"}),
    ],
)  # fmt: skip
def test_published_orders(name, places):
    assert {place: CONVENTIONS[name].joints[place] for place in places} == places


@pytest.mark.parametrize("skeleton", SKELETONS)
@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_convention_gives_the_joints_that_every_skeleton_reads(name, skeleton):
    convention, skeleton = CONVENTIONS[name], get_skeleton(skeleton)
    joints = convention.map_to(skeleton)
    assert len(joints.weights) == skeleton.num_input_joints
    np.testing.assert_allclose([sum(row.values()) for row in joints.weights], 1)
    mapped = joints.apply(upright(convention))[0]
    target = upright(input_convention(skeleton))[0]
    known = target[:, 1] < 100
    np.testing.assert_allclose(mapped[known, 1], target[known, 1], atol=0.3)  # head_top of the nose: 11.0


def test_the_same_words_for_other_points_are_told_apart():
    joints = CONVENTIONS["mpi3dhp17"].map_to(get_skeleton("h36m17"))
    assert joints.approximated == ()
    assert [list(row) for row in joints.weights] == [[j] for j in TO_H36M]


def test_what_is_approximated_is_named_in_the_skeletons_words():
    coco17 = CONVENTIONS["coco17"]
    assert coco17.map_to(get_skeleton("h36m17")).approximated == ("pelvis", "spine", "thorax", "neck", "head")
    assert CONVENTIONS["halpe26"].map_to(get_skeleton("mpi3dhp17")).approximated == ("spine", "head")


def test_coco_for_humaneva_is_the_published_map():
    joints = CONVENTIONS["coco17"].map_to(get_skeleton("humaneva15"))
    assert tuple(tuple(row) for row in joints.weights) == COCO_TO_HUMANEVA
    joints = CONVENTIONS["coco17"].map_to(get_skeleton("humaneva15_coco17"))  # fed with COCO as it is
    assert ([list(row) for row in joints.weights], joints.approximated) == ([[j] for j in range(17)], ())


def test_every_skeleton_fed_with_other_joints_says_which():
    for skeleton in SKELETONS.values():
        assert len(input_convention(skeleton).joints) == skeleton.num_input_joints
        assert skeleton.joint_map is None or skeleton.name in INPUTS


def test_a_skeleton_that_is_not_known_is_mapped_by_its_own_names():
    parents = (0, 0, 1)
    skeleton = Skeleton("new3", ("pelvis", "neck", "head"), parents, (), (), tree_links(parents))
    assert CONVENTIONS["coco17"].map_to(skeleton).approximated == ("pelvis", "neck", "head")
    tail = Skeleton("tail3", ("pelvis", "neck", "tail"), parents, (), (), tree_links(parents))
    with pytest.raises(UserError, match=r"joints coco17 .* nothing to make the tail of tail3 of"):
        CONVENTIONS["coco17"].map_to(tail)


def test_a_joint_is_as_sure_as_its_least_sure_source_and_missing_with_it():
    joints = CONVENTIONS["coco17"].map_to(get_skeleton("mpi3dhp17"))
    keypoints = np.ones((2, 17, 3))
    keypoints[0, 11] = 10, 20, 0.4  # left hip
    keypoints[0, 12] = 30, 40, 0.8  # right hip
    keypoints[1, 11] = np.nan, 7, 0.0
    mapped = joints.apply(keypoints)
    pelvis, left_hip, left_knee = 14, 11, 12
    assert mapped[0, pelvis].tolist() == [20, 30, 0.4]
    assert mapped[1, pelvis].tolist() == mapped[1, left_hip].tolist() == [0, 0, 0]
    assert mapped[1, left_knee].tolist() == [1, 1, 1]


def test_names_that_are_not_known_are_refused_with_the_choices():
    with pytest.raises(UserError, match="unknown joints 'coco'; must be one of coco17, "):
        get_convention("coco")
    assert [c.name for c in conventions_of(17)] == ["coco17", "h36m17", "mpi3dhp17"]
