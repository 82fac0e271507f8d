import numpy as np
import pytest

from glagcn.data.sources.demo import motion
from glagcn.data.sources.demo.motion import (
    ACTIVITIES,
    AT_EASE,
    CLEARANCE,
    LIMITS,
    SIDED,
    draw_motion,
    draw_person,
    pose,
)
from glagcn.data.sources.demo.source import DemoSource
from glagcn.skeleton import get_skeleton

SKELETON = get_skeleton("mpi3dhp17")
JOINT = {name: number for number, name in enumerate(SKELETON.joints)}
BONES = [(child, parent) for child, parent in enumerate(SKELETON.parents) if child != parent]


@pytest.fixture(scope="module")
def train():
    return list(DemoSource().read("train"))


@pytest.fixture(scope="module")
def test():
    return list(DemoSource().read("test"))


def between(poses, start, end):
    return poses[:, JOINT[end]] - poses[:, JOINT[start]]


def bend(poses, start, middle, end):
    """The angle in degrees by which a limb departs from straight."""
    first, second = between(poses, start, middle), between(poses, middle, end)
    cosine = (first * second).sum(-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def still(**degrees):
    """One frame of a person who stands straight, but for the given angles."""
    names = [name for name in LIMITS if name not in SIDED]
    names += [f"{side}_{name}" for side in ("left", "right") for name in SIDED]
    angles = {name: np.radians([degrees.get(name, 0.0)]) for name in (*names, "yaw")}
    return pose(draw_person(np.random.default_rng(0)), angles)[0]


# --- what a source promises ---


@pytest.mark.parametrize("split", ["train", "test"])
def test_determined_by_the_seed(split):
    for first, again in zip(DemoSource(3).read(split), DemoSource(3).read(split), strict=True):
        assert first.info == again.info
        for name in ("pixels", "millimetres", "valid"):
            np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    other = next(DemoSource(4).read(split))
    assert not np.allclose(other.millimetres, next(DemoSource(3).read(split)).millimetres)


def test_the_same_data_in_every_release(train, test):
    """A change of the generator changes every demo result: do it knowingly, and raise the version in provenance."""
    assert DemoSource().provenance() == {"kind": "synthetic", "version": 1, "seed": 0}
    np.testing.assert_allclose(train[0].millimetres[0, 0], [648.62, -880.44, 3322.17], atol=0.01)
    np.testing.assert_allclose(test[5].pixels[-1, 13], [1169.9, 839.39], atol=0.01)


@pytest.mark.parametrize("split", ["train", "test"])
def test_sequences_are_as_announced(split, train, test):
    sequences = {"train": train, "test": test}[split]
    assert [sequence.info for sequence in sequences] == DemoSource().infos(split)
    assert len({sequence.info.name for sequence in sequences}) == len(sequences)
    for sequence in sequences:
        frames = sequence.info.length
        assert (sequence.pixels.shape, sequence.pixels.dtype) == ((frames, 17, 2), np.float32)
        assert (sequence.millimetres.shape, sequence.millimetres.dtype) == ((frames, 17, 3), np.float32)
        assert (sequence.valid.shape, sequence.valid.dtype) == ((frames,), bool)


def test_size_and_names(train, test):
    assert len(train) == 8 * 2 * 4
    assert sum(sequence.info.length for sequence in train) == 16_000
    assert train[7].info.name == "S1/Seq2/cam3"
    assert [sequence.info.name for sequence in test] == [f"TS{number}" for number in range(1, 7)]
    assert {(s.info.width, s.info.height) for s in train} == {(2048, 2048)}
    assert [(s.info.width, s.info.height) for s in test] == [(2048, 2048)] * 4 + [(1920, 1080)] * 2


def test_every_report_has_something_to_show(train, test):
    assert all(sequence.valid.all() and sequence.activity is None for sequence in train)
    for sequence in test:
        assert 0.7 < sequence.valid.mean() < 1
        assert sequence.activity.dtype == np.uint8
    assert set(np.concatenate([sequence.activity[sequence.valid] for sequence in test])) == set(range(1, 8))


# --- cameras ---


def test_pixels_are_the_projection(train, test):
    """A pinhole u = f X / Z + c, fitted to each sequence, leaves nothing over."""
    for sequence in (*train, *test):
        assert sequence.millimetres[..., 2].min() > 1000
        for axis in (0, 1):
            slope = (sequence.millimetres[..., axis] / sequence.millimetres[..., 2]).ravel().astype(np.float64)
            pinhole = np.stack([slope, np.ones_like(slope)], axis=1)
            pixels = sequence.pixels[..., axis].ravel()
            (focal, centre), *_ = np.linalg.lstsq(pinhole, pixels, rcond=None)
            assert 1400 < focal < 1800
            assert abs(centre - (sequence.info.width, sequence.info.height)[axis] / 2) < 25
            np.testing.assert_allclose(pinhole @ [focal, centre], pixels, atol=0.005)


def test_people_are_in_the_picture(train, test):
    for sequence in (*train, *test):
        inside = (sequence.pixels > 0) & (sequence.pixels < [sequence.info.width, sequence.info.height])
        assert inside.mean() > 0.99


def test_people_stand_upright(test):
    standing = np.concatenate([s.pixels[s.activity == 1] for s in test])
    assert (standing[:, JOINT["head_top"], 1] < standing[:, JOINT["left_ankle"], 1] - 100).all()


def test_training_cameras_differ_and_test_people_are_others(train, test):
    people = {
        tuple(
            np.linalg.norm(between(s.millimetres, *bone)[0]).round(1)
            for bone in (("pelvis", "spine"), ("neck", "head"))
        )
        for s in (*train[::8], *test)
    }
    assert len(people) == 8 + 6
    assert len({float(s.millimetres[0, 14, 2]) for s in train[:4]}) == 4


# --- bodies and movement ---


def test_bones_keep_their_length_and_both_sides_are_alike(train, test):
    mirror = SKELETON.mirror
    for sequence in (*train, *test):
        poses = sequence.millimetres.astype(np.float64)
        lengths = {child: np.linalg.norm(poses[:, child] - poses[:, parent], axis=-1) for child, parent in BONES}
        for child, length in lengths.items():
            np.testing.assert_allclose(length, length[0], atol=0.01)
            np.testing.assert_allclose(length[0], lengths[mirror[child]][0], atol=0.01)


def test_people_have_human_proportions():
    people = [draw_person(np.random.default_rng(seed)) for seed in range(50)]
    for person in people:
        assert 1.55 <= person.stature <= 1.92
        assert 0.38 < -person.offsets["knee"][1] / person.stature * 1.8 < 0.48
    assert np.std([person.offsets["elbow"][1] / person.stature for person in people]) > 0.003


@pytest.mark.parametrize("side", ["left", "right"])
def test_knees_and_elbows_stay_within_their_limits(side, train, test):
    for sequence in (*train, *test):
        poses = sequence.millimetres.astype(np.float64)
        knee = bend(poses, f"{side}_hip", f"{side}_knee", f"{side}_ankle")
        elbow = bend(poses, f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        assert LIMITS["knee"][0] - 0.1 < knee.min() <= knee.max() < LIMITS["knee"][1] + 0.1
        assert LIMITS["elbow"][0] - 0.1 < elbow.min() <= elbow.max() < LIMITS["elbow"][1] + 0.1


def test_no_activity_can_break_a_joint(monkeypatch):
    wild = (dict.fromkeys(("knee", "elbow", "leg_swing"), (0, 400)),) * len(ACTIVITIES)
    monkeypatch.setattr(motion, "ACTIVITIES", wild)
    joints, _ = draw_motion(np.random.default_rng(0), draw_person(np.random.default_rng(0)), 0, 300)
    knee = bend(joints, "left_hip", "left_knee", "left_ankle")
    elbow = bend(joints, "right_shoulder", "right_elbow", "right_wrist")
    np.testing.assert_allclose([knee.min(), knee.max()], LIMITS["knee"], atol=1e-6)
    np.testing.assert_allclose([elbow.min(), elbow.max()], LIMITS["elbow"], atol=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_knees_bend_backward(side, train, test):
    for sequence in (*train, *test):
        poses = sequence.millimetres.astype(np.float64)
        axis = np.cross(between(poses, f"{side}_hip", f"{side}_knee"), between(poses, f"{side}_knee", f"{side}_ankle"))
        assert ((axis * between(poses, "right_hip", "left_hip")).sum(-1) > 0).all()


def test_nobody_moves_faster_than_people_do(train, test):
    for sequence in (*train, *test):
        metres = np.diff(sequence.millimetres.astype(np.float64), axis=0) / 1000
        assert np.linalg.norm(metres, axis=-1).max() * sequence.info.fps < 7
        assert np.linalg.norm(metres, axis=-1).mean() * sequence.info.fps > 0.1


@pytest.mark.parametrize("number", range(4))
def test_the_lowest_joint_is_on_the_floor(number):
    rng = np.random.default_rng(number)
    person = draw_person(rng)
    joints, activity = draw_motion(rng, person, number, 200)
    np.testing.assert_allclose(joints[..., 1].min(axis=1), CLEARANCE * person.stature, atol=1e-12)
    upright = joints[(activity == 1) | (activity == 7)]
    if len(upright):
        lowest = upright[..., 1].argmin(axis=1)
        assert set(lowest) <= {JOINT["left_ankle"], JOINT["right_ankle"]}
    assert np.abs(joints[..., [0, 2]]).max() < 2.5


def test_forward_kinematics_of_known_poses():
    """x left, y up, z forward; the lengths cancel."""
    rest = still()
    assert rest[JOINT["head_top"], 1] == rest[:, 1].max()
    np.testing.assert_allclose(rest[SKELETON.mirror] * [-1, 1, 1], rest, atol=1e-12)

    bent = still(left_elbow=90, right_knee=90)
    forearm = bent[JOINT["left_wrist"]] - bent[JOINT["left_elbow"]]
    shin = bent[JOINT["right_ankle"]] - bent[JOINT["right_knee"]]
    np.testing.assert_allclose(forearm / np.linalg.norm(forearm), [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(shin / np.linalg.norm(shin), [0, 0, -1], atol=1e-12)

    raised = still(left_arm_raise=90, right_arm_swing=90, right_leg_spread=30)
    left, right = (raised[JOINT[f"{side}_elbow"]] - raised[JOINT[f"{side}_shoulder"]] for side in ("left", "right"))
    np.testing.assert_allclose(left / np.linalg.norm(left), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(right / np.linalg.norm(right), [0, 0, 1], atol=1e-12)
    assert raised[JOINT["right_knee"], 0] < raised[JOINT["right_hip"], 0]

    turned = still(yaw=90, lean=90)  # forward is to the left of where it was, and the head is ahead
    spine = turned[JOINT["spine"]] - turned[JOINT["pelvis"]]
    np.testing.assert_allclose(spine / np.linalg.norm(spine), [1, 0, 0], atol=1e-12)


def test_the_activities_name_known_angles():
    assert len(ACTIVITIES) == 7
    assert set(AT_EASE) == set(LIMITS) | {"crouch", "gait"}
    assert {name for changes in ACTIVITIES for name in changes} <= set(AT_EASE)


def test_there_is_something_to_learn(train, test):
    """As hard for the mean pose as real data are, and a single frame already says much."""

    def inputs(sequence):
        pixels = sequence.pixels / sequence.info.width * 2 - [1, sequence.info.height / sequence.info.width]
        return np.concatenate([pixels.reshape(-1, 34), np.ones((sequence.info.length, 1))], axis=1)

    def relative(sequence):
        return (sequence.millimetres - sequence.millimetres[:, 14:15]).reshape(-1, 51).astype(np.float64)

    def error(predicted, target):
        return np.linalg.norm((predicted - target).reshape(-1, 17, 3), axis=-1).mean()

    known, target = (np.concatenate([relative(s)[s.valid] for s in split]) for split in (train, test))
    seen, asked = (np.concatenate([inputs(s)[s.valid] for s in split]) for split in (train, test))
    mean_pose = error(known.mean(axis=0), target)
    linear = error(asked @ np.linalg.lstsq(seen, known, rcond=None)[0], target)
    assert 150 < mean_pose < 300
    assert 0.2 * mean_pose < linear < 0.7 * mean_pose
