import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from glagcn.errors import UserError
from glagcn.poses.result import CAMERA, Z_UP
from glagcn.poses.writers.bvh import BEGIN, bvh_text, rest_direction
from glagcn.poses.writers.tables import write_people
from glagcn.skeletons import SKELETONS, get_skeleton
from tests.poses.people import about, from_directions, order, person, random_poses, read_bvh

WITHIN_CM = 1e-3
Y_DOWN = np.diag([1.0, -1, -1])  # camera axes from those of BVH, and back


def t_pose(skeleton, frames=1):
    """In the axes of BVH."""
    directions = np.array([rest_direction(joint) for joint in skeleton.joints])
    return np.tile(directions, (frames, 1, 1))


def body_poses(skeleton, frames, seed=0, skew=0.3):
    """Poses whose limbs point anywhere; joints with several children turn as a whole.

    skew  by how much their bones are not as at rest.
    """
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(frames, skeleton.num_joints, 3))
    rest = t_pose(skeleton)[0] + skew * rng.normal(size=(skeleton.num_joints, 3))
    for joint in order(skeleton):
        children = [child for child, parent in enumerate(skeleton.parents) if parent == joint != child]
        if len(children) > 1:
            directions[:, children] = rest[children] @ Rotation.random(frames, rng).as_matrix()
    return from_directions(skeleton, directions, rng.uniform(80, 450, skeleton.num_joints))


def joints_cm(text, skeleton):
    _, places, _ = read_bvh(text)
    return np.stack([places[joint] for joint in skeleton.joints], axis=1)


def text_of(written):
    return bvh_text(written, int(written.frames[-1]))


def motion(written):
    """[T,channels] the numbers of the file."""
    rows = text_of(written).split("MOTION\n")[1].splitlines()[2:]
    return np.array([row.split() for row in rows], dtype=float)


def assert_reads_back(poses, name, root=None, free=False):
    """Poses in camera axes, and the same in z-up axes, with or without a path.

    free  the bones of a joint with several children vary: each begins beside the joint, and may be off by twice this.
    """
    skeleton, slack = get_skeleton(name), np.zeros(poses.shape[1])
    for joint in order(skeleton)[1:] if free else ():
        parent = skeleton.parents[joint]
        several = skeleton.parents.count(parent) - (parent == skeleton.root) > 1
        length = np.median(np.linalg.norm(poses[:, joint] - poses[:, parent], axis=-1)) / 10
        slack[joint] = slack[parent] + 2 * BEGIN * length * several
    if free and "head_top" in skeleton.joints:  # its bone begins at the head, not at the neck
        slack[skeleton.joints.index("head_top")] = np.inf
    for axes, up in ((CAMERA, np.eye(3)), (Z_UP, np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))):
        written = person(poses @ up, name, root=None if root is None else root @ up, axes=axes)
        expected = poses + (0 if root is None else root[:, None])
        found = joints_cm(text_of(written), written.skeleton)
        assert (np.abs(found - expected @ Y_DOWN / 10) <= slack[:, None] + WITHIN_CM).all()


@pytest.mark.parametrize("name", SKELETONS)
def test_another_reader_finds_the_poses(name):
    skeleton = get_skeleton(name)
    assert_reads_back(random_poses(skeleton, 40), name, free=True)
    poses = body_poses(skeleton, 40)
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
    assert_reads_back(from_directions(skeleton, directions, lengths) @ Y_DOWN, name, free=True)


def test_a_trunk_whose_bones_move_against_each_other_costs_no_millimetre():
    skeleton, rng = get_skeleton("mpi3dhp17"), np.random.default_rng(0)
    poses = body_poses(skeleton, 200, skew=0.3)
    head = [skeleton.joints.index(name) for name in ("head", "head_top")]
    moving = [joint for joint, parent in enumerate(skeleton.parents) if parent in (1, 14) and joint not in head]
    bones = poses - poses[:, skeleton.parents]
    bones[:, moving] += (
        0.1 * np.linalg.norm(bones[:, moving], axis=-1)[..., None] * rng.normal(size=(200, len(moving), 3))
    )
    bones[:, skeleton.root] = 1
    moved = from_directions(skeleton, bones, np.linalg.norm(bones[0], axis=-1))
    found = joints_cm(text_of(person(moved, "mpi3dhp17")), skeleton) @ Y_DOWN * 10
    apart = np.linalg.norm(found - moved, axis=-1)[:, [joint for joint in range(17) if joint not in head]]
    assert apart.mean() < 1
    assert apart.max() < 10


def test_bones_without_length_are_written():
    poses = body_poses(get_skeleton("h36m17"), 5)
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
    poses = body_poses(skeleton, 3, skew=0)
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


def offsets(text):
    """{joint: [3] cm} of the hierarchy."""
    lines = [line.split() for line in text.split("MOTION")[0].splitlines()]
    pairs = zip(lines, lines[2:], strict=False)
    return {joint[1]: np.array(offset[1:], float) for joint, offset in pairs if joint[0] in ("ROOT", "JOINT")}


@pytest.mark.parametrize("name", SKELETONS)
def test_no_bone_is_so_short_that_blender_reports_it(name):
    """Which it draws from a joint to the mean of its children, and below a millimetre gives another length."""
    text = text_of(person(body_poses(get_skeleton(name), 3, seed=5), name))
    places, parents = offsets(text), read_bvh(text)[2]
    for joint in parents:
        below = [places[child] for child, parent in parents.items() if parent == joint]
        assert not below or np.linalg.norm(np.mean(below, axis=0)) > 0.1


def test_one_head_chain():
    parents = read_bvh(text_of(person(body_poses(get_skeleton("mpi3dhp17"), 2), "mpi3dhp17")))[2]
    assert (parents["head_top"], parents["head"], parents["neck_head"]) == ("head", "neck_head", "neck")


@pytest.mark.parametrize("name", SKELETONS)
def test_names_of_mixamo(name, tmp_path):
    one = person(body_poses(get_skeleton(name), 2), name)
    (path,) = write_people(tmp_path / "a.bvh", [one], names="mixamo")
    found = read_bvh(path.read_text())
    trunk = "Spine" if "spine" not in one.joints else "Spine1"
    chain = {"Hips": "", "Spine": "Hips", "Spine2": trunk, "Neck": "Spine2", "Head": "Neck"}
    for side in ("Left", "Right"):
        pairs = ("Arm", "Shoulder"), ("ForeArm", "Arm"), ("Hand", "ForeArm"), ("Leg", "UpLeg"), ("Foot", "Leg")
        chain |= {f"{side}{bone}": f"{side}{parent}" for bone, parent in pairs}
        chain[f"{side}Shoulder"] = "Spine2"
    assert chain.items() <= found[2].items()
    ours = read_bvh(text_of(one))[1]
    np.testing.assert_array_equal([*found[1].values()], [*ours.values()])
    with pytest.raises(UserError, match="unknown names 'unreal'; must be one of glagcn, mixamo"):
        write_people(tmp_path / "b.bvh", [one], names="unreal")


def test_the_frame_time_has_nine_digits():
    assert "\nFrame Time: 0.033366667\n" in text_of(person(random_poses(get_skeleton("h36m17"), 2), fps=30000 / 1001))


def test_angles_go_the_short_way_round():
    """Someone who turns on the spot twice: no angle of the pelvis jumps."""
    skeleton = get_skeleton("h36m17")
    poses = from_directions(skeleton, t_pose(skeleton, 80), np.full(17, 200.0))
    poses = poses @ about(1, np.linspace(0, 4 * np.pi, 80)).transpose(0, 2, 1) @ Y_DOWN
    angles = motion(person(poses))[:, 3:6]
    assert np.abs(np.diff(angles, axis=0)).max() < 10
    assert np.ptp(angles[:, 2]) == pytest.approx(720, abs=0.01)


def test_people_have_a_file_each_with_the_frames_of_the_video(tmp_path):
    poses = body_poses(get_skeleton("h36m17"), 4)
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
