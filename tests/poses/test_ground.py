import numpy as np
import pytest

from glagcn.data.mocap.motion import joints_of
from glagcn.poses.ground import ANKLE_HEIGHT_MM, CAMERA_UP, Ground, find_ground, on_ground
from glagcn.poses.result import Z_UP
from glagcn.poses.root_path import smoothed, with_root
from glagcn.poses.writers.bvh import bvh_text
from glagcn.skeletons import get_skeleton
from tests.poses.people import about, person, project, read_bvh

CAMERA_HEIGHT_MM = 1900.0
SKELETON = get_skeleton("mpi3dhp17")


def walkers(pitch, roll, noise=0.0, frames=500):
    """People who walk about, seen by a tilted camera -> (people, up in camera axes, ankles' height in mm)."""
    rng = np.random.default_rng(11)
    tilt = about(0, np.radians([pitch]))[0] @ about(2, np.radians([roll]))[0]
    people, clearance = [], []
    for number, trial in enumerate(("60_01", "135_file06")):  # salsa, karate
        joints = 1000 * joints_of(trial, SKELETON.name)[:frames]  # y up, floor at 0
        level = (joints - [1500.0 * number, CAMERA_HEIGHT_MM, 0]) * [-1, -1, 1] + [0, 0, 5000]
        seen = level @ tilt + rng.normal(0, noise, level.shape)
        root = seen[:, SKELETON.root]
        people.append(person(seen - root[:, None], SKELETON.name, root=root))
        clearance.append(np.median(joints[:, [10, 13], 1].min(axis=1)))
    return people, CAMERA_UP @ tilt, np.mean(clearance)


def degrees_apart(one, other):
    return np.degrees(np.arccos(np.clip(one @ other, -1, 1)))


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (25, 0), (-15, 8), (40, -10)])
def test_people_who_walk_about_tell_the_floor(pitch, roll):
    people, up, clearance = walkers(pitch, roll)
    floor = find_ground(people)
    assert floor.doubt is None
    assert degrees_apart(floor.up, up) < 1.5  # heels rise
    assert floor.height == pytest.approx(-CAMERA_HEIGHT_MM + clearance - ANKLE_HEIGHT_MM, abs=25)


def test_noise_and_lifted_feet_do_little():
    people, up, _ = walkers(20, 5, noise=15)
    poses = people[0].xyz.copy()
    poses[:100] += 400 * up.astype(np.float32)  # onto a table
    people[0] = person(poses, SKELETON.name, root=people[0].root)
    floor = find_ground(people)
    assert floor.doubt is None
    assert degrees_apart(floor.up, up) < 2


def test_coordinates_have_the_floor_at_zero():
    people, _up, _ = walkers(30, 10)
    floor = find_ground(people)
    moved = on_ground(people[0], floor)
    assert moved.axes == Z_UP
    places = moved.xyz + moved.root[:, None]
    ankles = places[:, [10, 13], 2].min(axis=1)
    assert np.median(ankles) == pytest.approx(ANKLE_HEIGHT_MM, abs=25)
    assert (places[:, SKELETON.joints.index("neck"), 2] > ankles).all()
    assert (places[..., 1] > 1000).all()  # in front of the camera
    # A turn and a shift: lengths stay, and left stays left.
    np.testing.assert_allclose(floor.rotation @ floor.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(floor.rotation) == pytest.approx(1)
    np.testing.assert_allclose(floor.rotation @ floor.up, [0, 0, 1], atol=1e-12)
    assert floor.rotation[0, 0] > 0


@pytest.mark.parametrize("pitch", [-10, 0, 20, 40])
def test_where_the_feet_tell_nothing_people_who_stand_tell_the_pitch(pitch):
    people, up, _ = walkers(pitch, 0)
    one = people[0]
    still = person(one.xyz, SKELETON.name, root=one.root[:1].repeat(len(one.xyz), axis=0))
    rng = np.random.default_rng(3)
    floating = person(one.xyz, SKELETON.name, root=one.root + rng.normal(0, 400, one.root.shape))
    nowhere = person(one.xyz, SKELETON.name)
    for someone, words in ((still, "strip"), (floating, "from a plane"), (nowhere, "no person has a root path")):
        floor = find_ground([someone])
        assert words in floor.doubt
        assert floor.pitch == pytest.approx(-pitch, abs=5)  # a positive pitch of `walkers` looks up
        assert degrees_apart(floor.up, up) < 5
        if someone.root is not None:
            ankles = on_ground(someone, floor).xyz[:, [10, 13], 2] + on_ground(someone, floor).root[:, None, 2]
            assert np.percentile(ankles.min(axis=1), 5) == pytest.approx(ANKLE_HEIGHT_MM, abs=1e-2)


def test_a_level_camera_is_taken_where_nobody_stands():
    """Somebody who lies tells no pitch, nor does somebody who bends."""
    people, _, _ = walkers(20, 0)
    lying = person(people[0].xyz[:50, :, [1, 0, 2]], SKELETON.name)
    bent = people[0].xyz[:50].copy()
    above = [place for place, joint in enumerate(SKELETON.joints) if joint.endswith(("shoulder", "elbow", "wrist"))]
    bent[:, above] = bent[:, above][..., [0, 2, 1]]
    for someone in (lying, person(bent, SKELETON.name)):
        floor = find_ground([someone])
        np.testing.assert_array_equal(floor.up, CAMERA_UP)
        assert floor.pitch is None


def test_ankles_that_nobody_saw_tell_no_floor():
    """Legs that are cut off by the image are guesses: the camera is not pitched by them."""
    people, up, _ = walkers(20, 0)
    joints = [SKELETON.joints.index(name) for name in ("left_ankle", "right_ankle")]
    one = people[0]
    one.xyz[:, joints] += np.random.default_rng(2).normal(0, 300, (len(one.xyz), 1, 1)).astype(np.float32)
    one.confidence[:, joints] = 0
    floor = find_ground([one])
    assert floor.doubt == "no ankle is seen"
    assert floor.pitch is None
    one = walkers(20, 0)[0][0]
    one.xyz[:, joints[0]] += 5000 * -CAMERA_UP.astype(np.float32)
    one.confidence[:, joints[0]] = 0  # the other leg is seen
    floor = find_ground([one])
    assert degrees_apart(floor.up, up) < 8
    assert floor.height == pytest.approx(-CAMERA_HEIGHT_MM, abs=400)


def test_a_wall_is_no_floor():
    people, _, _ = walkers(70, 0)
    assert "steeper" in find_ground(people).doubt


def test_without_a_path_people_have_no_place():
    people, _, _ = walkers(0, 0, frames=5)
    nowhere = person(people[0].xyz, SKELETON.name)
    floor = find_ground([nowhere])
    assert floor.doubt == "no person has a root path"
    moved = on_ground(nowhere, Ground(CAMERA_UP, 0.0, floor.doubt))
    assert moved.root is None
    np.testing.assert_allclose(moved.xyz, nowhere.xyz[..., [0, 2, 1]] * [1, 1, -1])


def test_from_2d_to_a_file_step_by_step():
    """Root, smoothing, floor and BVH in a row: another reader finds the walkers where they were, up to the camera's
    heading and what smoothing takes."""
    people, up, clearance = walkers(20, 5)
    size, focal, lifted = (1280, 720), 1000.0, []
    for someone in people:
        pixels = project(someone.xyz + someone.root[:, None], focal, size)
        unplaced = person(someone.xyz, SKELETON.name, pixels=pixels, image_size=size)
        lifted.append(smoothed(with_root(unplaced, focal)[0], 6.0))
    floor = find_ground(lifted)
    for someone, found in zip(people, lifted, strict=True):
        _, places, _ = read_bvh(bvh_text(on_ground(found, floor), len(found.frames) - 1))
        expected = (someone.xyz + someone.root[:, None]) @ up + CAMERA_HEIGHT_MM  # heights
        expected += ANKLE_HEIGHT_MM - clearance
        heights = np.stack([10 * places[joint][:, 1] for joint in SKELETON.joints], axis=1)
        assert np.abs(heights - expected).mean() < 25
        steps = [np.linalg.norm(np.diff(root, axis=0), axis=1).sum() for root in (places["pelvis"] * 10, someone.root)]
        assert steps[0] == pytest.approx(steps[1], rel=0.05)
