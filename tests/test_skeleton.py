import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.skeletons import SKELETONS, Skeleton, get_skeleton


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
class TestEverySkeleton:
    def test_is_a_tree_over_its_joints(self, skeleton):
        assert len(skeleton.parents) == skeleton.num_joints
        for joint in range(skeleton.num_joints):
            for _ in range(skeleton.num_joints):
                joint = skeleton.parents[joint]
            assert joint == skeleton.root

    def test_mirror_swaps_names_and_is_its_own_inverse(self, skeleton):
        swapped = [skeleton.joints[j] for j in skeleton.mirror]
        exchange = {"left": "right", "right": "left"}
        assert swapped == ["_".join(exchange.get(w, w) for w in name.split("_")) for name in skeleton.joints]
        assert [skeleton.mirror[j] for j in skeleton.mirror] == list(range(skeleton.num_joints))

    def test_adjacency_columns_sum_to_one_or_zero(self, skeleton):
        identity, inward, outward = skeleton.adjacency()
        np.testing.assert_array_equal(identity, np.eye(skeleton.num_joints))
        for graph in (inward, outward):
            assert np.isin(graph.sum(axis=0).round(6), (0, 1)).all()
        assert ((inward > 0) == (outward.T > 0)).all()


def test_a_child_receives_its_parent_inward():
    skeleton = get_skeleton("mpi3dhp17")
    _, inward, outward = skeleton.adjacency()
    pelvis, spine = skeleton.joints.index("pelvis"), skeleton.joints.index("spine")
    assert inward[pelvis, spine] == 1  # the only parent of the spine
    assert outward[spine, pelvis] == pytest.approx(1 / 3)  # the pelvis has three children
    assert skeleton.root == pelvis


def test_links_follow_the_parents_except_in_published_humaneva():
    for name in ("mpi3dhp17", "h36m17", "humaneva15_tree"):
        skeleton = get_skeleton(name)
        assert dict(skeleton.links) == {c: p for c, p in enumerate(skeleton.parents) if c != p}
    coco = get_skeleton("humaneva15_coco17")
    assert set(get_skeleton("humaneva15").links) - set(coco.links) == {(0, 8), (1, 5)}
    assert (coco.num_joints, coco.num_input_joints) == (15, 17)


def test_unknown_skeleton_lists_the_choices():
    with pytest.raises(UserError, match="'coco17'.*mpi3dhp17"):
        get_skeleton("coco17")


def test_a_joint_between_two_inputs_leaves_them_to_their_own_joints():
    skeleton = Skeleton(
        "test", ("left", "right", "middle"), (2, 2, 2), left=(0,), right=(1,), links=((0, 2), (1, 2)),
        joint_map=((0,), (1,), (0, 1)),
    )  # fmt: skip
    assert skeleton.input_mirror == [1, 0]
