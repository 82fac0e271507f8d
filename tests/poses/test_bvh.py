import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from glagcn.poses.result import CAMERA, Z_UP
from glagcn.poses.writers.bvh import bvh_text, rest_direction
from glagcn.poses.writers.tables import write_people
from glagcn.skeletons import SKELETONS, get_skeleton
from tests.poses.people import about, from_directions, person, random_poses, read_bvh

WITHIN_CM = 1e-3
Y_DOWN = np.diag([1.0, -1, -1])  # camera axes from those of BVH, and back


def t_pose(skeleton, frames=1):
    """In the axes of BVH."""
    directions = np.array([rest_direction(joint) for joint in skeleton.joints])
    return np.tile(directions, (frames, 1, 1))


def joints_cm(text, skeleton):
    _, places, _ = read_bvh(text)
    return np.stack([places[joint] for joint in skeleton.joints], axis=1)


def text_of(written):
    return bvh_text(written, int(written.frames[-1]))


def motion(written):
    """[T,channels] the numbers of the file."""
    rows = text_of(written).split("MOTION\n")[1].splitlines()[2:]
    return np.array([row.split() for row in rows], dtype=float)


def assert_reads_back(poses, name, root=None):
    """Poses in camera axes, and the same in z-up axes, with or without a path."""
    for axes, up in ((CAMERA, np.eye(3)), (Z_UP, np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))):
        written = person(poses @ up, name, root=None if root is None else root @ up, axes=axes)
        expected = poses + (0 if root is None else root[:, None])
        found = joints_cm(text_of(written), written.skeleton)
        np.testing.assert_allclose(found, expected @ Y_DOWN / 10, atol=WITHIN_CM)


@pytest.mark.parametrize("name", SKELETONS)
def test_another_reader_finds_the_poses(name):
    skeleton = get_skeleton(name)
    poses = random_poses(skeleton, 40)
    assert_reads_back(poses, name)
    assert_reads_back(poses, name, root=np.random.default_rng(2).normal(0, 3000, (40, 3)))


@pytest.mark.parametrize("name", SKELETONS)
def test_awkward_poses(name):
    """At rest, upside down, lying (where Euler angles lock), one bone folded back, every bone so, and all in a line."""
    skeleton = get_skeleton(name)
    rest, lengths = t_pose(skeleton), np.random.default_rng(3).uniform(80, 450, skeleton.num_joints)
    half, quarter = (np.full(1, angle) for angle in (np.pi, np.pi / 2))
    turned = [rest @ about(axis, angle) for axis in range(3) for angle in (half, quarter, -quarter)]
    lines = [np.tile(sign * direction, (*rest.shape[:2], 1)) for direction in np.eye(3) for sign in (1, -1)]
    folded = [rest * (1 - 2 * np.eye(skeleton.num_joints)[joint][:, None]) for joint in range(skeleton.num_joints)]
    directions = np.concatenate([rest, -rest, *turned, *folded, *lines])
    assert_reads_back(from_directions(skeleton, directions, lengths) @ Y_DOWN, name)


def test_bones_without_length_are_written():
    poses = random_poses(get_skeleton("h36m17"), 5)
    poses[:, 10] = poses[:, 9]  # the head lies in the neck
    assert_reads_back(poses, "h36m17")
    assert_reads_back(np.zeros((2, 17, 3)), "h36m17")


@pytest.mark.parametrize("name", SKELETONS)
def test_a_body_that_turns_as_a_whole_turns_at_the_root(name):
    skeleton = get_skeleton(name)
    poses = from_directions(skeleton, t_pose(skeleton, 20), np.full(skeleton.num_joints, 200.0))
    whole = Rotation.from_quat(np.random.default_rng(0).normal(size=(20, 4))).as_matrix()
    whole[0] = np.eye(3)
    numbers = motion(person(poses @ whole.transpose(0, 2, 1) @ Y_DOWN, name))
    np.testing.assert_allclose(Rotation.from_euler("ZXY", numbers[:, 3:6], degrees=True).as_matrix(), whole, atol=1e-4)
    np.testing.assert_allclose(numbers[:, 6:], 0, atol=0.01)


def test_what_the_bones_leave_open_follows_the_parent():
    """Shoulders and neck on one line say nothing of the turn about it."""
    skeleton = get_skeleton("h36m17")
    directions = t_pose(skeleton, 20)
    directions[:, skeleton.joints.index("neck")] = [1, 0, 0]
    whole = Rotation.from_quat(np.random.default_rng(0).normal(size=(20, 4))).as_matrix()
    poses = from_directions(skeleton, directions, np.full(17, 200.0)) @ whole.transpose(0, 2, 1)
    written = person(poses @ Y_DOWN)
    node = list(read_bvh(text_of(written))[2]).index("thorax")
    best = -np.degrees(np.arctan(1 / 2))  # what points left, twice, and up, once, comes to point left
    found = motion(written)[:, 3 + 3 * node : 6 + 3 * node]
    np.testing.assert_allclose(found, np.tile([best, 0, 0], (20, 1)), atol=0.3)


def test_lengths_that_vary_become_their_median():
    skeleton = get_skeleton("mpi3dhp17")
    poses = random_poses(skeleton, 3)
    written = person(poses * np.array([0.8, 1, 1.3])[:, None, None], "mpi3dhp17")
    np.testing.assert_allclose(joints_cm(text_of(written), skeleton), poses @ Y_DOWN / 10, atol=WITHIN_CM)


def test_lengths_come_from_the_persons_own_frames():
    """Neither the frames before a person's first, nor interpolated ones, change the median."""
    skeleton = get_skeleton("h36m17")
    poses = random_poses(skeleton, 3)
    poses *= np.array([0.8, 1, 1.3])[:, None, None]
    late = person(poses, frames=np.array([60, 61, 90]))
    _, places, parents = read_bvh(bvh_text(late, 100))
    expected = read_bvh(text_of(person(poses)))[1]
    for joint, parent in parents.items():
        if parent:
            lengths = [np.linalg.norm(found[joint] - found[parent], axis=1)[0] for found in (places, expected)]
            assert lengths[0] == pytest.approx(lengths[1], abs=1e-3)


def test_the_hierarchy_is_the_skeletons():
    skeleton = get_skeleton("h36m17")
    _, _, parents = read_bvh(text_of(person(random_poses(skeleton, 2))))
    for joint, parent in enumerate(skeleton.parents):
        name, above = skeleton.joints[joint], skeleton.joints[parent]
        several = skeleton.parents.count(parent) - (parent == skeleton.root) > 1
        expected = "" if joint == parent else f"{above}_{name}" if several else above
        assert parents[name] == expected


def test_angles_go_the_short_way_round():
    """Someone who turns on the spot twice: no angle of the pelvis jumps."""
    skeleton = get_skeleton("h36m17")
    poses = from_directions(skeleton, t_pose(skeleton, 80), np.full(17, 200.0))
    poses = poses @ about(1, np.linspace(0, 4 * np.pi, 80)).transpose(0, 2, 1) @ Y_DOWN
    angles = motion(person(poses))[:, 3:6]
    assert np.abs(np.diff(angles, axis=0)).max() < 10
    assert np.ptp(angles[:, 2]) == pytest.approx(720, abs=0.01)


def test_people_have_a_file_each_with_the_frames_of_the_video(tmp_path):
    poses = random_poses(get_skeleton("h36m17"), 4)
    early = person(poses, person=2, frames=np.array([10, 11, 13, 14]), fps=50.0)
    late = person(poses, person=7, frames=np.arange(12, 16), fps=50.0)
    paths = write_people(tmp_path / "new/clip.bvh", [early, late])
    assert [path.name for path in paths] == ["clip_person2.bvh", "clip_person7.bvh"]
    for path, rows in zip(paths, ([0] * 11 + [1, None, 2, 3, 3], [0] * 13 + [1, 2, 3]), strict=True):
        text = path.read_text()
        assert read_bvh(text)[0] == pytest.approx(1 / 50)
        found = joints_cm(text, early.skeleton)
        assert len(found) == 16
        for row, source in enumerate(rows):
            if source is not None:
                np.testing.assert_allclose(found[row], poses[source] @ Y_DOWN / 10, atol=WITHIN_CM)
    assert write_people(tmp_path / "one.bvh", [early]) == [tmp_path / "one.bvh"]
