"""Recorded people before drawn cameras: `--dataset mocap` and the demo."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glagcn.config.recipes import PRESETS
from glagcn.data.cache import open_cache
from glagcn.data.datasets import get_dataset
from glagcn.data.mocap import motion
from glagcn.data.mocap.motion import (
    JOINTS,
    SIZES,
    TEST_PEOPLE,
    Lens,
    demo_source,
    joints_of,
    mocap_source,
    people_source,
    set_up,
    trials,
)
from glagcn.skeletons import get_skeleton
from tests.prepared import prepared

REPOSITORY = Path(__file__).parents[2]
WALK = "02_01"
LIMB_ENDS = ("elbow", "wrist", "knee", "ankle")
PHONE = Lens(1080, 1920, np.array([1500.0, 1510.0]), np.array([545.0, 950.0]), held=True)
CAMCORDER = Lens(1920, 1080, np.array([1700.0, 1700.0]), np.array([960.0, 540.0]), held=False)


@pytest.fixture(scope="module")
def demo_sequences():
    return {split: list(demo_source().read(split)) for split in ("train", "test")}


def place(skeleton, name):
    return get_skeleton(skeleton).joints.index(name)


def filmed(lens, world, azimuth=0.0, seed=0):
    return set_up(lens, np.random.default_rng(seed), world, azimuth, place("mpi3dhp17", "pelvis"))


# --- the recorded motion ---


@pytest.mark.parametrize("name", JOINTS)
def test_a_person_who_walks(name):
    """Upright, of natural size, with feet that point where they go, in every joint set."""
    skeleton, walk = get_skeleton(name), joints_of(WALK, name)
    bones = np.linalg.norm(walk - walk[:, list(skeleton.parents)], axis=-1)
    assert bones.std(axis=0).max() < 0.001
    mean = dict(zip(skeleton.joints, bones.mean(axis=0), strict=True))
    np.testing.assert_allclose(
        [mean["left_knee"], mean["right_knee"], mean["left_elbow"]], [0.43, 0.43, 0.275], atol=0.01
    )
    height = dict(zip(skeleton.joints, walk[..., 1].mean(axis=0), strict=True))
    assert max(height, key=height.get) in ("head_top", "head")
    assert 0.85 < height["pelvis"] < 0.95
    assert 0.05 < walk[..., 1].min() < 0.12  # an ankle is no sole
    left = walk[:, place(name, "left_hip")] - walk[:, place(name, "right_hip")]
    ahead = walk[-1, skeleton.root] - walk[0, skeleton.root]
    assert np.linalg.norm(ahead) > 3
    assert (np.cross(left, [0, 1, 0]) @ ahead > 0).all()  # x left, y up, z ahead


@pytest.mark.parametrize("name", JOINTS)
def test_every_joint_has_its_own_side(name):
    skeleton, table = get_skeleton(name), JOINTS[name]
    for left, right in zip(skeleton.left, skeleton.right, strict=True):
        swapped = tuple(joint.replace("l_", "r_", 1) for joint in table[skeleton.joints[left]])
        assert table[skeleton.joints[right]] == swapped


def test_every_second_frame_is_taken():
    with np.load(motion.MOTION, allow_pickle=False) as file:
        recorded = np.cumsum(file[f"clip_{WALK}"].astype(int), axis=0) * 0.00025
        neck = file["joints"].tolist().index("neck_base")
    np.testing.assert_allclose(joints_of(WALK, "humaneva15")[:, place("humaneva15", "thorax")], recorded[::2, neck])


# --- cameras ---


@pytest.mark.parametrize("lens", [PHONE, CAMCORDER], ids=["held", "tripod"])
@pytest.mark.parametrize("seed", range(2))
def test_pixels_follow_from_the_camera_of_each_frame(lens, seed):
    world = joints_of("49_06", "mpi3dhp17")
    camera = filmed(lens, world, azimuth=1.0, seed=seed)
    pixels, millimetres = camera.view(world)
    assert len(camera.rotation) == (len(world) if lens.held else 1)
    for frame in (0, len(world) // 2, len(world) - 1):
        row = min(frame, len(camera.rotation) - 1)
        rotation, position = camera.rotation[row], -camera.rotation[row].T @ camera.translation[row]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) > 0
        for point, pixel, seen in zip(world[frame], pixels[frame], millimetres[frame], strict=True):
            expected = rotation @ (point - position)
            np.testing.assert_allclose(seen, 1000 * expected, atol=1e-6)
            np.testing.assert_allclose(pixel, lens.centre + lens.focal * expected[:2] / expected[2], atol=1e-6)
    assert (pixels > 0).all()
    assert (pixels < [lens.width, lens.height]).all()


def test_a_tripod_stands_where_it_should_and_people_are_upright_in_the_picture():
    world = joints_of(WALK, "mpi3dhp17")
    camera = filmed(CAMCORDER, world, azimuth=np.pi / 2)
    away = -camera.rotation[0].T @ camera.translation[0] - (world.min(axis=(0, 1)) + world.max(axis=(0, 1))) / 2
    np.testing.assert_allclose(np.arctan2(away[0], away[2]), np.pi / 2, atol=1e-9)
    head, ankle = (camera.view(world)[0][:, place("mpi3dhp17", name), 1] for name in ("head_top", "left_ankle"))
    assert (head < ankle - 50).all()


def test_a_held_phone_shakes_and_follows():
    """Never still, never faster than a hand can; who walks across the picture of a tripod stays in the phone's."""
    world = joints_of(WALK, "mpi3dhp17")
    held, fixed = (filmed(lens, world, azimuth=np.pi / 2) for lens in (PHONE, CAMCORDER))
    position = -np.einsum("tji,tj->ti", held.rotation, held.translation)
    steps = np.linalg.norm(np.diff(position, axis=0), axis=-1) * motion.FPS
    assert 0.005 < steps.min() < steps.max() < 6  # metres per second
    root = place("mpi3dhp17", "pelvis")
    share = [np.ptp(c.view(world)[0][:, root, 0]) / lens.width for c, lens in ((held, PHONE), (fixed, CAMCORDER))]
    assert share[0] < share[1]


# --- the data sets ---


def test_a_cache_of_another_version_is_a_warning(demo_root):
    cache = open_cache(demo_root / "demo_gt.h5")
    demo = get_dataset("demo")
    assert demo.warning(cache) is None
    for provenance in ({"kind": "synthetic", "version": 1}, {"kind": "mocap", "version": 0}):
        assert "another version of the program" in demo.warning(replace(cache, provenance=provenance))


def test_determined_by_the_seed():
    first, again, other = (next(mocap_source("gt", seed).read("test")) for seed in (3, 3, 4))
    assert first.info == again.info
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert not np.allclose(first.millimetres, other.millimetres)


def test_the_same_data_in_every_release(demo_sequences):
    """A change of people or cameras changes every result: do it knowingly, and raise the version."""
    provenance = demo_source().provenance()
    assert (provenance["kind"], provenance["version"], provenance["seed"]) == ("mocap", 1, 0)
    assert [file["path"] for file in provenance["files"]] == ["cmu_motion.npz"]
    np.testing.assert_allclose(demo_sequences["train"][0].millimetres[0, 0], [-124.56, -604.29, 2345.23], atol=0.01)
    np.testing.assert_allclose(demo_sequences["test"][5].pixels[-1, 13], [506.47, 1556.95], atol=0.01)


def test_the_demo_is_small_and_people_are_in_the_picture(demo_sequences):
    train, test = demo_sequences["train"], demo_sequences["test"]
    assert [s.info for s in train] == demo_source().infos("train")
    assert [s.info for s in test] == demo_source().infos("test")
    assert (len(train), sum(s.info.length for s in train), train[7].info.name) == (64, 16_000, "S1/Seq2/cam3")
    assert [(s.info.name, s.info.length) for s in test] == [(f"TS{number}", 150) for number in range(1, 7)]
    assert {(s.info.width, s.info.height) for s in train} == set(SIZES)
    for sequence in (*train, *test):
        size = [sequence.info.width, sequence.info.height]
        assert ((sequence.pixels > 0) & (sequence.pixels < size)).mean() > 0.99
        assert 1000 < sequence.millimetres[..., 2].min() < sequence.millimetres[..., 2].max() < 25_000
    assert {number for s in test for number in s.activity.tolist()} == {1, 2, 3, 4, 6, 7}


def test_people_are_apart():
    source = mocap_source()
    people = {split: {info.subject for info in source.infos(split)} for split in ("train", "test")}
    assert people["test"] == {f"S{person}" for person in TEST_PEOPLE}
    assert not people["train"] & people["test"]
    assert sum(len(names) for names in people.values()) == 14
    held = PRESETS["mocap"].options["validation"]
    assert set(held) <= people["train"]
    recorded = {s: {take.trial.partition("_")[0] for take in demo_source().takes[s]} for s in ("train", "test")}
    assert len(recorded["train"]) == 8
    assert recorded["test"] <= set(TEST_PEOPLE)
    assert {trial.activity for trial in trials().values()} == {1, 2, 3, 4, 6, 7}


# --- mixed motion ---


@pytest.fixture(scope="module")
def people():
    return people_source()


def bones(joints):
    """The lengths [T,V] of the bones of mpi3dhp17, and the trunk [T] in parts of the left leg."""
    skeleton = get_skeleton("mpi3dhp17")
    at = {name: joints[:, number] for number, name in enumerate(skeleton.joints)}
    leg = sum(
        np.linalg.norm(at[f"left_{a}"] - at[f"left_{b}"], axis=-1) for a, b in (("hip", "knee"), ("knee", "ankle"))
    )
    trunk = np.linalg.norm((at["left_shoulder"] + at["right_shoulder"]) / 2 - at["pelvis"], axis=-1)
    return np.linalg.norm(joints - joints[:, list(skeleton.parents)], axis=-1), trunk / leg


def test_people_are_tested_as_those_of_mocap_are(people):
    for ours, mocap in zip(people.read("test"), mocap_source().read("test"), strict=True):
        np.testing.assert_array_equal(ours.pixels, mocap.pixels)


def test_mixed_people_have_bones_of_constant_length_and_proportions_of_adults(people):
    ratios, arms = [], []
    for take in [take for take in people.takes["train"] if take.upper][::5]:
        joints = people._world(take)
        lengths, trunk = bones(joints)
        assert np.isfinite(joints).all()
        limbs = [number for number, joint in enumerate(get_skeleton("mpi3dhp17").joints) if joint.endswith(LIMB_ENDS)]
        assert lengths[:, limbs].std(axis=0).max() < 0.001, take
        np.testing.assert_allclose(
            joints[:, place("mpi3dhp17", "pelvis")],
            (joints[:, place("mpi3dhp17", "left_hip")] + joints[:, place("mpi3dhp17", "right_hip")]) / 2,
            atol=1e-3,
        )
        ratios.append(trunk.mean())
        upper, fore, thigh, shin = (lengths[0, place("mpi3dhp17", f"left_{joint}")] for joint in LIMB_ENDS)
        arms.append([upper / (thigh + shin), fore / (thigh + shin)])
    assert abs(np.median(ratios) - 0.61) < 0.02
    assert 0.045 < np.std(ratios) < 0.085
    np.testing.assert_allclose(np.mean(arms, axis=0), [0.36, 0.32], atol=0.01)


def test_a_mixed_take_has_the_legs_of_one_trial_and_the_arms_of_another(people):
    """Angles of knees and elbows are those of the two trials, whatever the proportions, where nobody crouches."""

    def bend(joints, limb):
        a, b, c = (joints[:, place("mpi3dhp17", f"left_{joint}")] for joint in limb)
        along, back = a - b, c - b
        return np.degrees(
            np.arccos((along * back).sum(-1) / np.linalg.norm(along, axis=-1) / np.linalg.norm(back, axis=-1))
        )

    def follows(part, whole):
        begins = range(len(whole) - len(part) + 1)
        return any(np.abs(part - whole[begin : begin + len(part)]).max() < 0.5 for begin in begins)

    takes = [take for take in people.takes["train"] if take.upper][:40]
    standing = 0
    for take in takes:
        joints, lower, upper = (*(people._world(take),), *(joints_of(t, "mpi3dhp17") for t in (take.trial, take.upper)))
        elbow, knee = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
        assert follows(bend(joints, elbow), bend(upper, elbow)), take
        standing += follows(bend(joints, knee), bend(lower, knee))
    assert 0.4 < standing / len(takes) < 0.9


def test_nobody_of_the_tests_or_the_validation_is_mixed_into_the_training(people):
    (validation,) = (person.removeprefix("S") for person in PRESETS["people"].options["validation"])
    for take in people.takes["train"]:
        persons = {trials()[trial].person for trial in (take.trial, take.upper) if trial}
        assert not persons & set(TEST_PEOPLE)
        assert (validation in persons) == (persons == {validation})
        assert take.name.startswith(f"S{trials()[take.trial].person}/")


def test_other_joints_are_trained_and_scored_by_action(monkeypatch, train, tmp_path):
    kept = {name: trials()[name] for name in (WALK, "35_17", "08_01")}
    monkeypatch.setattr("glagcn.data.mocap.motion.trials", lambda: kept)
    cache = open_cache(prepared("mocap", tmp_path, keypoints="h36m17"))
    assert (cache.skeleton, len(cache.train.sequences), len(cache.test.sequences)) == ("h36m17", 16, 2)
    assert cache.test.sequences[0].name == "S08/StandingWalking 01/cam0"
    flags = "--channel 4 --frames 9 --sequence_layers 0 --max_steps 2 -b 16 --workers 1 --validation_frames 20"
    ended = train(f"-d mocap -k h36m17 --root_path {tmp_path} -c {tmp_path} --run r {flags}")
    assert ended.code == 0, ended.err
    assert list(json.loads((tmp_path / "r/result.json").read_text())["actions"]) == ["StandingWalking"]


def test_an_installed_wheel_has_the_motion(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    done = subprocess.run([*command, str(REPOSITORY)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        held = file.read("glagcn/data/mocap/cmu_motion.npz")
        assert b"NSF EIA-0196217" in file.read("glagcn/data/mocap/README.md")
    assert held == motion.MOTION.read_bytes()
