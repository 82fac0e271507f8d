"""What is said of poses that no filmed person has, and that nothing is said of people, however they are filmed."""

import logging
import re
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import glagcn
from glagcn.checkpoints.load import load_model
from glagcn.data.mocap.motion import demo_source, draw_lens, joints_of, mocap_source, set_up
from glagcn.errors import UserError
from glagcn.evaluate.metrics import mpjpe
from glagcn.poses.checks import (
    STANDING,
    TrackChecker,
    check_axes,
    check_track,
    confidence_scale,
    fit_orders,
)
from glagcn.poses.gaps import fill_gaps, mark_missing
from glagcn.poses.joints import CONVENTIONS
from glagcn.poses.lift import lift_frames, lift_people
from glagcn.poses.recording import read_recording
from glagcn.skeletons import get_skeleton
from tests.checkpoints.exported_models import a_model
from tests.poses.keypoints import written
from tests.poses.keypoints.test_formats import LAYOUTS
from tests.poses.keypoints.written import SIZE

JOINTS = CONVENTIONS["mpi3dhp17"].points
PLACE = {joint: place for place, joint in enumerate(JOINTS)}
KNOWN = {name: convention.points for name, convention in CONVENTIONS.items()}
ORDERS = {name: KNOWN[name] for name in ("openpose_body25b", "openpose_mpi15", "coco_neck18", "kinect25")}
HIPS = PLACE["pelvis"]


@cache
def filmed() -> list:
    """The six people of the demo's test set, and two who turn cartwheels, 10 frames a second for 5 seconds.

    [(name, pixels [T,17,2], millimetres [T,17,3], image size)]
    """
    people = []
    for sequence in demo_source().read("test"):
        info, pixels, millimetres = sequence.info, sequence.pixels[::3], sequence.millimetres[::3]
        people.append((info.name, pixels.astype(float), millimetres.astype(float), (info.width, info.height)))
    for number, trial in enumerate(("49_08", "88_11")):
        people.append((trial, *before_camera(joints_of(trial, "mpi3dhp17")[:150:3], number)))
    return people


def before_camera(world: np.ndarray, seed: int) -> tuple:
    """World joints [T,17,3] before a camera that is drawn: pixels, millimetres and image size."""
    rng = np.random.default_rng(seed)
    lens = draw_lens(rng)
    root = get_skeleton("mpi3dhp17").root
    return *set_up(lens, rng, world, rng.uniform(0, 2 * np.pi), root).view(world), (lens.width, lens.height)


def check(pixels, size, joints=JOINTS, seen=None, **more):
    there = np.ones(pixels.shape[:2], bool) if seen is None else seen
    return check_track(pixels, there, joints, size, **more)


def metres_about_hips(p):
    return (p - p[:, HIPS : HIPS + 1]) / np.ptp(p[..., 1], axis=1).mean() * 1.7


# name: what becomes of pixels [T,17,2] and the image size [2]; the kind of finding expected; words of cause and remedy.
TRANSFORMS = {
    "y upwards": (lambda p, s: (p * (1, -1) + (0, s[1]), s), "y_up", "y seems to count upwards", " - y"),
    "y negative": (lambda p, s: (p * (1, -1), s), "y_up", "y seems to count upwards", ": -y"),
    "images upside down": (lambda p, s: (s - p, s), "y_up", "upside down", " - x"),
    "(y, x)": (lambda p, s: (p[..., ::-1], s), "axes_exchanged", "(y, x)", "[1, 0]"),
    "images on their right side": (
        lambda p, s: (np.stack([s[1] - p[..., 1], p[..., 0]], -1), s[::-1]),
        "on_its_side", "images seem to be on their side", "upright images",
    ),
    "images on their left side": (
        lambda p, s: (np.stack([p[..., 1], s[0] - p[..., 0]], -1), s[::-1]),
        "axes_exchanged", "on their side", "upright images",
    ),
    "origin in the centre": (lambda p, s: (p - s / 2, s), "origin_in_centre", "middle of the image", "x + "),
    "origin in the centre, y upwards": (
        lambda p, s: ((p - s / 2) * (1, -1), s),
        "origin_in_centre", "middle of the image", "- y",
    ),
    "parts of the image": (lambda p, s: (p / s, s), "parts", "0 to 1", "give pixels"),
    "-1 to 1": (lambda p, s: (p / s * 2 - 1, s), "parts", "-1 to 1", "keypoint_scale 4"),
    "VideoPose3D's scale": (lambda p, s: ((p * 2 - s) / s[0], s), "parts", "-1 to 1", "VideoPose3D"),
    "percent": (lambda p, s: (p / s * 100, s), "smaller_image", "parts of a hundred", "--image_size"),
    "world landmarks": (lambda p, s: (metres_about_hips(p), s), "about_hips", "pose_world_landmarks", "pose_landmarks"),
    "world landmarks times the size": (lambda p, s: (metres_about_hips(p) * s, s), "about_hips", "at (0, 0)", "pixels"),
    "a 3D pose in mm": (lambda p, s: (metres_about_hips(p) * 1000, s), "about_hips", "3D pose", "pixels"),
    "a film 2 times larger": (lambda p, s: (p * 2, s), "larger_image", "larger image", "--image_size W,H"),
    "a small proxy": (lambda p, s: (p * 10, s), "larger_image", "larger image", "such as "),
    "640x360 for 1920x1080": (lambda p, s: (p / 3, s), "smaller_image", "smaller image", "--image_size W,H"),
    "half the film": (lambda p, s: (p / 2, s), "smaller_image", "smaller image", "--image_size W,H"),
    "beside the image": (lambda p, s: (p - (2 * s[0], 0), s), "outside", "outside the image", "upper left corner"),
}  # fmt: skip


def exchanged(*parts: str) -> list[int]:
    """The joints with left and right exchanged in these parts of their names."""
    other = {"left": "right", "right": "left"}
    sides = [re.sub("left|right", lambda side: other[side[0]], joint) for joint in JOINTS]
    kept = [parts and not joint.endswith(parts) for joint in JOINTS]
    return [PLACE[joint if keep else side] for keep, joint, side in zip(kept, JOINTS, sides, strict=True)]


def missing_at(place, share=0.2):
    """Some joints are missing, and lie at a place that stands for that."""
    return lambda k, s: (np.where(np.random.default_rng(5).random((*k.shape[:2], 1)) < share, (*place(s), 0.9), k), s)


def third(values):
    """The third value is that of a function of random numbers from 0 to 1 [T,V]."""
    return lambda k, s: (np.dstack([k[..., :2], values(np.random.default_rng(0).random(k.shape[:2]))]), s)


def changed(k, frames, joints, values):
    k = k.copy()
    k[frames, joints] = values
    return k


def cropped(k, unit=False):
    low, high = k[..., :2].min(axis=1, keepdims=True), k[..., :2].max(axis=1, keepdims=True)
    k = k.copy()
    k[..., :2] = (k[..., :2] - low) / (high - low) if unit else k[..., :2] - low + 20
    return k


by_name = lambda count: np.array(sorted(range(count), key=str))  # noqa: E731
LEGS = [PLACE[joint] for joint in JOINTS if "knee" in joint or "ankle" in joint]
# name: what becomes of keypoints [T,17,3] and the image size [2], or which frames are given; words that are said, or ""
# where it is read rightly.  Every line is lifted by `predict`, from a file and by `Lifter`.
GIVEN = {
    **{name: ((lambda k, s, f=f: (np.dstack([f(k[..., :2], s)[0], k[..., 2]]), f(k[..., :2], s)[1])), cause)
       for name, (f, _, cause, _) in TRANSFORMS.items() if name != "parts of the image"},
    "parts of the image": (lambda k, s: (k / (*s, 1), s), ""),
    "parts of the image, y upwards": (
        lambda k, s: (k / (*s, 1) * (1, -1, 1) + (0, 1, 0), s), "y seems to count upwards",
    ),
    "(confidence, x, y)": (lambda k, s: (k[..., [2, 0, 1]], s), "a depth (z) or a coordinate"),
    "confidences of 0 to 100": (third(lambda r: np.where(r < 0.1, 2, 90)), "the confidences reach 90"),
    "confidences of 0 to 255": (third(lambda r: np.round(255 * r)), "the confidences reach"),
    "scores of SimCC": (third(lambda r: 0.6 + 8 * r), "the confidences reach 8"),
    "logits as confidence": (third(lambda r: 3 + 4 * np.log(r / (1 - r))), "which are not negative"),
    "z in metres as confidence": (third(lambda r: r - 0.5), "a depth (z)"),
    "z in mm as confidence": (third(lambda r: 3000 + 400 * r), "a depth (z)"),
    "1 for a hidden joint": (third(lambda r: (r < 0.1) * 1.0), "1 minus that"),
    "confidences of nothing but 0": (third(lambda r: 0 * r), "missing"),
    "missing joints at (9999, 9999)": (missing_at(lambda s: (9999, 9999)), "taken for missing"),
    "missing joints at a corner": (missing_at(lambda s: s), "taken for missing"),
    "missing joints at (0.5, 0.5)": (missing_at(lambda s: (0.5, 0.5)), "taken for missing"),
    "missing joints in the middle": (missing_at(lambda s: s / 2), "taken for missing"),
    "missing joints as NaN": (missing_at(lambda s: (np.nan, np.nan)), ""),
    "joints shifted by one": (lambda k, s: (np.roll(k, 1, axis=1), s), "shifted by one place"),
    "joints in reverse order": (lambda k, s: (k[:, ::-1], s), "in reverse order"),
    "joints sorted by name": (lambda k, s: (k[:, np.argsort(JOINTS)], s), "another order"),
    "arms of the other side": (lambda k, s: (k[:, exchanged("shoulder", "elbow", "wrist")], s), "opposite to those of"),
    "legs of the other side": (lambda k, s: (k[:, exchanged("hip", "knee", "ankle")], s), "opposite to those of the"),
    "sides exchanged for a while": (
        lambda k, s: (np.concatenate([k[:40], k[40:90][:, exchanged()], k[90:]]), s), "left and right change places",
    ),
    "a wrist in the corner": (lambda k, s: (changed(k, slice(None), 4, (3, 3, 0.9)), s), "right_wrist is at (3, 3)"),
    "a wrist that stands": (lambda k, s: (changed(k, slice(None), 4, k[0, 4]), s), "right_wrist is at"),
    "legs that are never seen": (lambda k, s: (changed(k, slice(None), LEGS, 0), s), "never seen (right_knee"),
    "a crop around each pose": (lambda k, s: (cropped(k), s), "crop around each of them"),
    "parts of the box of each pose": (lambda k, s: (cropped(k, unit=True), s), "crop around each of them"),
    "a camera tilted by 35 degrees": (
        lambda k, s: (np.dstack([(k[..., :2] - s / 2) @ ((0.819, 0.574), (-0.574, 0.819)) + s / 2, k[..., 2]]), s),
        "leans to the",
    ),
    "pixels as 8 bit numbers": (
        lambda k, s: (np.dstack([k[..., :2].astype(np.uint8), k[..., 2]]), s), "not those of a body",
    ),
    "frames sorted by name": (by_name, "out of order"),
    "frames shuffled": (lambda count: np.random.default_rng(1).permutation(count), "out of order"),
    "frames in reverse": (lambda count: np.arange(count)[::-1], ""),
    "every frame twice": (lambda count: np.arange(count) // 2, ""),
    "one picture": (lambda count: np.zeros(count, int), ""),
    "two people in turn": (
        lambda k, s: (k + (np.arange(len(k)) % 2)[:, None, None] * (0.2 * s[0], 0, 0), s), "several people",
    ),
}  # fmt: skip

# Read as it is meant, but with less to tell a pose from: joints that nobody saw, and a film in which nothing moves.
LESS_KNOWN = {"missing joints as NaN": 1.2, "one picture": 1.4}

# What somebody else, another camera or another film would give as well: nothing is said.
UNNOTICED = {
    "x mirrored": lambda k, s: (k * (-1, 1, 1) + (s[0], 0, 0), s),
    "left and right exchanged throughout": lambda k, s: (k[:, exchanged()], s),
    "a film 1.5 times larger": lambda k, s: (k * (1.5, 1.5, 1), s),
    "a film 1.5 times smaller": lambda k, s: (k / (1.5, 1.5, 1), s),
    "a crop of the film": lambda k, s: (k - (*(k[..., :2].min(axis=(0, 1)) - 20), 0), s),
    "width and height exchanged, everybody inside": lambda k, s: (k, s[::-1]),
    "pixels that are 1.33 times as high as wide": lambda k, s: (k * (0.75, 1, 1), s),
    "a camera tilted by 20 degrees": lambda k, s: (
        np.dstack([(k[..., :2] - s / 2) @ ((0.94, 0.342), (-0.342, 0.94)) + s / 2, k[..., 2]]), s
    ),
    "hips always in the middle of the image": lambda k, s: (
        k + np.append(s / 2, 0) - k[:, HIPS : HIPS + 1] * (1, 1, 0), s
    ),
    "noise of 5 % of the size of the pose": lambda k, s: (
        k + np.random.default_rng(2).normal(0, 0.05 * np.ptp(k[..., 1], axis=1).mean(), k.shape) * (1, 1, 0), s
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("person", range(8))
def test_a_transform_is_named_with_its_cause_and_remedy(name, person):
    transform, kind, cause, remedy = TRANSFORMS[name]
    _, pixels, _, size = filmed()[person]
    found = check(*transform(pixels, np.array(size, float)))
    assert kind in [each.kind for each in found]
    each = next(each for each in found if each.kind == kind)
    assert cause in each.text
    assert remedy in each.remedy
    assert any(digit in each.text for digit in "0123456789")
    if kind in ("parts", "about_hips", "origin_in_centre", "outside") or name in ("y negative", "a small proxy"):
        assert each.severity == "refuse"


def test_width_and_height_exchanged():
    _, pixels, _, _ = filmed()[0]
    wide = (pixels - pixels.min(axis=(0, 1))) / np.ptp(pixels, axis=(0, 1)) * (1000, 600) + (500, 50)
    (found,) = check(wide, (1080, 1920))
    assert found.kind == "size_exchanged"
    assert "--image_size 1920,1080" in found.remedy
    assert not check(wide, (1920, 1080))


# --- other orders of the joints ---


def in_order(millimetres, pixels, points):
    """The pixels [T,J,2] of points in common words, of people in mpi3dhp17: heads, hands and feet grow on them."""
    at = {joint: millimetres[:, place] for joint, place in PLACE.items()}
    unit = lambda v: v / np.linalg.norm(v, axis=-1, keepdims=True)  # noqa: E731
    left, up = unit(at["left_hip"] - at["right_hip"]), unit(at["head_top"] - at["neck"])
    ahead = unit(np.cross(left, unit(at["neck"] - at["pelvis"])))
    across, front = {"left": left, "right": -left}, unit(np.cross(np.cross(up, ahead), up))
    places = []
    for point in points:
        side = "left" if "left" in point else "right"
        arm = unit(at[f"{side}_wrist"] - at[f"{side}_elbow"])
        shin = unit(at[f"{side}_ankle"] - at[f"{side}_knee"])
        part = point.replace(f"{side}_", "").replace(f"_{side}", "")
        grown = {
            "nose": ("head", 110 * front), "mouth": ("head", 95 * front - 40 * up + 20 * across[side]),
            "ear": ("head", 75 * across[side]), "upper_neck": ("neck", 70 * up),
            "chest": ("spine", 50 * up),
            "thumb": (f"{side}_wrist", 70 * arm + 40 * ahead), "hand_tip": (f"{side}_wrist", 170 * arm),
            "heel": (f"{side}_ankle", 60 * shin - 50 * ahead),
            "small_toe": (f"{side}_ankle", 70 * shin + 140 * ahead + 60 * across[side]),
        } | dict.fromkeys(("eye", "eye_inner", "eye_outer"), ("head", 90 * front + 40 * up + 30 * across[side])
        ) | dict.fromkeys(("hand", "index", "pinky"), (f"{side}_wrist", 90 * arm)
        ) | dict.fromkeys(("foot", "big_toe", "foot_index"), (f"{side}_ankle", 70 * shin + 150 * ahead))  # fmt: skip
        base, shift = grown.get(part, (point, 0))
        places.append(at[base] + shift)
    world, seen = np.stack(places, axis=1), []
    for axis in (0, 1):  # the camera, from the joints that are there
        slope = millimetres[..., axis] / millimetres[..., 2]
        focal, centre = np.polyfit(slope.ravel(), pixels[..., axis].ravel(), 1)
        seen.append(focal * world[..., axis] / world[..., 2] + centre)
    return np.stack(seen, axis=-1)


BODIES = [name for name, points in KNOWN.items() if set(points) <= set(STANDING)]
PAIRS = [(a, b) for a in BODIES for b in BODIES if a != b and len(KNOWN[a]) == len(KNOWN[b])]


def test_the_new_orders_have_as_many_joints_as_their_names_say_once_each_and_sides_in_pairs():
    lengths = {"openpose_body25b": 25, "openpose_mpi15": 15, "coco_neck18": 18, "kinect25": 25}
    assert {name: len(points) for name, points in ORDERS.items()} == lengths
    for points in ORDERS.values():
        assert len(set(points)) == len(points)
        left = {point[5:] for point in points if point.startswith("left_")}
        assert left == {point[6:] for point in points if point.startswith("right_")}
    assert ORDERS["kinect25"][20] == "neck"
    assert ORDERS["kinect25"][15] == "left_foot"
    assert ORDERS["openpose_body25b"][24] == "right_heel"
    assert ORDERS["openpose_mpi15"][10] == "right_ankle"


def test_every_pair_of_orders_with_as_many_joints_is_tried():
    assert {frozenset(pair) for pair in PAIRS} == {
        frozenset(pair)
        for pair in (
            ("coco17", "h36m17"), ("coco17", "mpi3dhp17"), ("h36m17", "mpi3dhp17"), ("openpose_coco18", "coco_neck18"),
            ("openpose_body25", "openpose_body25b"), ("openpose_body25", "kinect25"), ("openpose_body25b", "kinect25"),
            ("humaneva15", "openpose_mpi15"),
        )
    }  # fmt: skip


@pytest.mark.parametrize(("true", "assumed"), PAIRS)
def test_another_order_is_named(true, assumed):
    for _, pixels, millimetres, size in filmed()[::2]:
        poses = in_order(millimetres, pixels, KNOWN[true])
        (found,) = check(poses, size, KNOWN[assumed])
        assert (found.kind, found.severity) == ("joint_order", "refuse")
        assert f"look like {true}, and are taken for {assumed}" in found.text
        assert f"--joints {true}" in found.remedy
        assert check(poses, size, KNOWN[assumed], stated=True)[0].severity == "warn"


@pytest.mark.parametrize("name", BODIES)
def test_nothing_is_said_of_people_in_their_own_order_also_with_noise_and_gaps(name):
    rng = np.random.default_rng(3)
    for _, pixels, millimetres, size in filmed():
        poses = in_order(millimetres, pixels, KNOWN[name])
        poses += rng.normal(0, 0.03 * np.ptp(pixels[..., 1], axis=1).mean(), poses.shape)
        assert check(poses, size, KNOWN[name]) == []
        assert check(poses, size, KNOWN[name], rng.random(poses.shape[:2]) > 0.2) == []
        assert check(poses[:1], size, KNOWN[name]) == []


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("stated", [True, False])
def test_of_people_who_are_lifted_from_a_file_of_any_layout_nothing_is_said(tmp_path, caplog, layout, stated):
    _, _, convention, _ = LAYOUTS[layout]
    name = convention or "coco17"
    for who, pixels, millimetres, size in filmed()[::3]:
        poses = in_order(millimetres, pixels, KNOWN[name] if name in BODIES else KNOWN["coco17"])
        scale = min(np.array(SIZE) / size)
        places = poses * scale + (np.array(SIZE) - np.array(size) * scale) / 2
        if name not in BODIES:  # of the whole body: faces and hands grow on it
            places = places[:, np.r_[:17, [15, 15, 15, 16, 16, 16], np.zeros(68, int), [9] * 21, [10] * 21]]
        folder = tmp_path / who
        folder.mkdir()
        keypoints = np.dstack([places, np.full(places.shape[:2], 0.9)])[:, None].round(4)
        path = getattr(written, layout)(folder, keypoints)
        recording = read_recording(path, joints=name if stated else None, usual_joints=name, image_size=SIZE, fps=10)
        lift_people(a_model(), recording, False, np.arange(1))
        assert caplog.messages == [], who


@pytest.mark.parametrize("name", BODIES)
def test_shuffled_joints_are_no_body_also_where_one_order_alone_has_so_many(name):
    points, some = KNOWN[name], 0
    for seed, (_, pixels, millimetres, size) in enumerate(filmed()):
        order = np.random.default_rng(seed).permutation(len(points))
        (found,) = check(in_order(millimetres, pixels, points)[:, order], size, points)
        assert found.kind in ("no_body", "joint_order")
        if found.kind == "no_body":
            assert found.severity == "warn"
            assert f"not those of a body as {name} (correlation" in found.text
            assert f"--joints {name}" in found.remedy
            some += 1
    assert some


@pytest.mark.parametrize(
    ("rearrange", "cause"),
    [
        (lambda p: p.swapaxes(1, 2).reshape(p.shape), "the x of all joints seem to come first"),
        (lambda p: np.roll(p, 1, axis=1), "shifted by one place:"),
        (lambda p: np.roll(p, -1, axis=1), "shifted by one place, backwards"),
    ],
)
@pytest.mark.parametrize("name", ["coco17", "openpose_body25"])
def test_joints_that_were_mixed_up_in_making_the_array(rearrange, cause, name):
    for _, pixels, millimetres, size in filmed():
        (found,) = check(rearrange(in_order(millimetres, pixels, KNOWN[name])), size, KNOWN[name])
        assert (found.kind, found.severity) == ("joint_order", "refuse")
        assert cause in found.text
        assert "[T, joints, 2]" in found.remedy


@pytest.mark.parametrize("flat", [(0, 0), (1, 0), (0, 1)])
def test_points_and_lines_are_no_body(flat):
    for _, pixels, _, size in filmed():
        (found,) = check(pixels * flat + (100, 100), size)
        assert (found.kind, found.severity) == ("no_body", "refuse")
        assert "on a line along x or y" in found.text


def test_fit_names_the_best_order_first():
    _, pixels, millimetres, _ = filmed()[0]
    poses = in_order(millimetres, pixels, ORDERS["kinect25"])
    fits = fit_orders(poses, np.ones(poses.shape[:2], bool), KNOWN)
    assert next(iter(fits)) == "kinect25"
    assert len(fits) == 3
    assert fit_orders(poses, np.zeros(poses.shape[:2], bool), KNOWN) == {}


# --- people, however they are filmed ---


def test_nothing_is_said_of_the_test_people_of_mocap_nor_of_their_seconds():
    for sequence in mocap_source().read("test"):
        pixels, size = sequence.pixels.astype(float), (sequence.info.width, sequence.info.height)
        for part in (pixels[::2], pixels[:60], pixels[-30:]):
            assert check(part, size) == [], sequence.info.name


def raised(world):
    """The same people with both arms stretched beyond their heads."""
    world = world.copy()
    up = world[:, PLACE["neck"]] - world[:, HIPS]
    up /= np.linalg.norm(up, axis=-1, keepdims=True)
    for side in ("left", "right"):
        shoulder, elbow, wrist = (PLACE[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist"))
        world[:, elbow], world[:, wrist] = world[:, shoulder] + 0.28 * up, world[:, shoulder] + 0.54 * up
    return world


RECORDED = ("14_05", "10_01", "94_04", "02_05", "13_30", "60_01")


@pytest.mark.parametrize("trial", RECORDED)
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_said_of_handstands(trial, seed):
    turned = raised(joints_of(trial, "mpi3dhp17")) * (-1, -1, 1)
    pixels, _, size = before_camera(turned - (0, turned[..., 1].min(), 0), seed)
    assert check(pixels, size) == []


@pytest.mark.parametrize("trial", RECORDED)
@pytest.mark.parametrize("seed", range(3))
def test_of_people_who_lie_nothing_is_said_but_that(trial, seed):
    world = joints_of(trial, "mpi3dhp17")
    world = world - 0.9 * world[:, HIPS : HIPS + 1]
    lying = np.stack([world[..., 0], world[..., 2] + 0.2, -world[..., 1]], axis=-1)
    pixels, _, size = before_camera(lying, seed)
    for found in check(pixels, size):
        assert found.severity == "warn"
        assert "of the feet in" in found.text or "below the feet in" in found.text
        assert "nothing is wrong where the person" in found.remedy


def zoomed(pixels, size):
    """The upper body fills the image, and the camera follows it."""
    neck, trunk = pixels[:, PLACE["neck"], None], pixels[:, PLACE["neck"]] - pixels[:, HIPS]
    scale = min(0.45 * size[1], 0.5 * size[0]) / np.median(np.linalg.norm(trunk, axis=-1))
    return (pixels - neck) * scale + np.array(size) * (0.5, 0.6)


def moved(pixels, axis, place):
    """The hips at a place along an axis."""
    shift = np.zeros(2)
    shift[axis] = place - np.median(pixels[:, HIPS, axis])
    return pixels + shift


RARE = {
    "a close-up with guessed legs": zoomed,
    "half out at the left": lambda p, s: moved(p, 0, 0),
    "half out at the right": lambda p, s: moved(p, 0, s[0]),
    "the head out": lambda p, s: moved(p, 1, 0.1 * s[1]),
    "far away": lambda p, s: (p - p.mean(axis=(0, 1))) * 0.1 + np.array(s) * (0.2, 0.6),
    "small": lambda p, s: (p - p.mean(axis=(0, 1))) * 0.3 + np.array(s) / 2,
    "one frame": lambda p, s: p[:1],
}


@pytest.mark.parametrize("name", RARE)
def test_nothing_is_said_of_rare_views(name):
    for who, pixels, _, size in filmed():
        assert check(RARE[name](pixels, size), size) == [], who


def test_a_close_up_in_which_only_the_upper_body_is_seen():
    for _, pixels, _, size in filmed()[:6]:  # without legs, the bends of 88_11 are of somebody who lies
        near = zoomed(pixels, size)
        assert check(near, size, seen=((near >= 0) & (near <= size)).all(axis=-1)) == []


def test_people_cut_at_the_lower_edge_get_a_warning_at_most():
    for _, pixels, _, size in filmed():
        for found in check(moved(pixels, 1, size[1]), size):
            assert (found.kind, found.severity) == ("size_exchanged", "warn")
            assert "cut by an edge" in found.text


def test_missing_joints_and_empty_tracks():
    _, pixels, _, size = filmed()[0]
    nobody = np.zeros(pixels.shape[:2])
    assert check(pixels, size, seen=nobody) == []
    assert check(np.zeros((0, 17, 2)), size) == []
    gaps = pixels.copy()
    gaps[::3] = np.nan
    assert check(gaps, size) == []
    assert [each.kind for each in check(np.where(np.isnan(gaps), np.nan, gaps / size), size)] == ["parts"]


# --- the third channel ---


@pytest.mark.parametrize(
    ("values", "scale", "words"),
    [
        (np.linspace(0, 1, 100), 1, None),
        (np.linspace(0, 1.2, 100), 1, None),  # heat map peaks
        ([0.3, 0.2, 0, -1, np.nan], 1, None),
        ([], 1, None),
        (np.zeros(17), 1, None),
        (np.r_[np.linspace(-0.01, 0, 30), np.linspace(0, 0.9, 70)], 1, None),
        (np.linspace(0.6, 8, 1000), 7.93, "reach 7.93"),  # SimCC
        (np.r_[np.full(20, 2), np.full(80, 90)], 90, "below 4.5 are missing"),
        (np.linspace(1, 255, 1000), 252, "or below --min_confidence C"),
        (np.array([0, 1, 2] * 10), 2, "flags such as COCO's"),
    ],
)
def test_the_scale_of_confidences(values, scale, words):
    found, text = confidence_scale(np.array(values), "k.json")
    assert found == pytest.approx(scale, rel=0.01)
    assert (text is None) if words is None else (words in text and "k.json" in text)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.linspace(-0.4, 0.3, 33), "from -0.4 to 0.3"),  # MediaPipe's z
        (np.linspace(-400, 300, 33), "a depth (z)"),  # the same in pixels
        (np.linspace(2100, 2900, 25), "at most 1"),  # Kinect's mm
        (np.linspace(-9, -0.1, 50), "logarithm"),
    ],
)
def test_what_is_no_confidence_is_refused_and_left_out_where_a_depth_is_known(values, words):
    with pytest.raises(UserError, match="k.npy: the third value") as refused:
        confidence_scale(values, "k.npy")
    assert words in str(refused.value)
    assert "leave it out" in str(refused.value)
    scale, text = confidence_scale(values, "k.npy", has_depth=True)
    assert scale is None
    assert "left out" in text


# --- axes of arrays, and streams ---


@pytest.mark.parametrize(("people", "frames", "fine"), [(1, 1, True), (2, 1, True), (3, 40, True), (20, 500, True),
                                                       (40, 3, False), (21, 500, False), (3, 2, False)])  # fmt: skip
def test_more_people_than_frames(people, frames, fine):
    found = check_axes(people, frames)
    assert (found is None) == fine
    if found:
        assert found.severity == "refuse"
        assert f"{people} people in {frames} frames" in found.text
        assert "[frames, people, joints" in found.remedy


def test_a_stream_is_checked_over_its_first_second_and_once_a_minute_and_says_a_thing_once():
    _, pixels, _, size = filmed()[0]
    stream = TrackChecker(JOINTS, size, fps=10)
    wrong = pixels * (1, -1) + (0, size[1])
    said = [stream.push(wrong[t % 50], np.ones(17)) for t in range(1300)]
    assert [t for t, found in enumerate(said) if found] == [9]
    assert said[9][0].kind == "y_up"

    stream = TrackChecker(JOINTS, size, fps=10)
    said = [stream.push((pixels if t < 300 else wrong)[t % 50], np.ones(17)) for t in range(1300)]
    assert [t for t, found in enumerate(said) if found] == [609]

    stream = TrackChecker(JOINTS, size, fps=30)
    assert stream.push(wrong[0], np.ones(17)) == []
    assert stream.finish()[0].kind == "y_up"
    assert stream.finish() == []


# --- all ways in ---


@cache
def demo_people() -> list[tuple]:
    """Keypoints [150,17,3], millimetres about the root and image size of the demo's test people."""
    people = []
    for each in demo_source().read("test"):
        keypoints = np.dstack([each.pixels.astype(float), np.full(each.pixels.shape[:2], 0.9)])
        millimetres = each.millimetres - each.millimetres[:, HIPS : HIPS + 1]
        people.append((keypoints, millimetres, np.array((each.info.width, each.info.height), float)))
    return people


MOVES_ABOUT = 2  # of the people


def given(name: str, person: int = MOVES_ABOUT) -> tuple:
    """The keypoints and image size that a line of GIVEN makes, and the millimetres of its frames."""
    keypoints, millimetres, size = demo_people()[person]
    change = GIVEN[name][0] if name in GIVEN else UNNOTICED.get(name, lambda k, s: (k, s))
    if change.__code__.co_argcount == 1:
        frames = change(len(keypoints))
        return keypoints[frames], size, millimetres[frames]
    return *change(keypoints, size), millimetres


ROWS = np.arange(5, 150, 20)


centred = cache(lambda: load_model("centred"))


def by_predict(keypoints, size):
    return glagcn.predict(centred(), keypoints, size, fps=30, frames=ROWS)


def by_file(keypoints, size, folder):
    np.savez(folder / "k.npz", keypoints=keypoints, fps=30)
    size = tuple(int(side) for side in size)
    recording = read_recording(folder / "k.npz", usual_joints="mpi3dhp17", image_size=size, person="longest")
    lift_people(a_model(), recording, False, ROWS)


def by_stream(keypoints, size):
    lifter = glagcn.Lifter(a_model(), size, fps=90)  # so that it is checked in whole: the first second
    for frame in keypoints[:90]:
        lifter.push(frame)


@cache
def error_of_the_person() -> float:
    keypoints, size, truth = given("")
    return mpjpe(by_predict(keypoints, size), truth[ROWS])


NOT_OF_A_SECOND = ("a camera tilted by 35 degrees", "legs that are never seen")


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.filterwarnings("ignore:.*invalid value:RuntimeWarning")
def test_whatever_is_given_is_read_rightly_or_something_is_said(tmp_path, caplog, name):
    keypoints, size, truth = given(name)
    for way in (by_predict, by_file, by_stream):
        caplog.clear()
        poses, said = None, ""
        try:
            poses = way(keypoints, size, *([tmp_path] if way is by_file else []))
        except UserError as refused:
            said = str(refused)
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        said = " ".join([said, *(each for each in warnings if "interpolated" not in each)])
        assert GIVEN[name][1] in said or (way is by_stream and name in NOT_OF_A_SECOND), way
        if way is by_predict and not said.strip():
            assert mpjpe(poses, truth[ROWS]) < LESS_KNOWN.get(name, 1.05) * error_of_the_person()


# --- the table of docs/lift.md ---


def table() -> list[str]:
    """A row for each line of GIVEN: name, the error in mm of the demo's people without the check, and what is said."""
    model, rows = centred(), []
    for name, (_, words) in {"nothing": (None, ""), **GIVEN, **dict.fromkeys(UNNOTICED, (None, None))}.items():
        errors, said = [], set()
        for person in range(len(demo_people())):
            keypoints, size, truth = given(name, person)
            filled = fill_gaps(mark_missing(keypoints), 15) if name not in NOT_LIFTED else keypoints
            lifted = np.concatenate([*lift_frames(model, filled, size, None, True, torch.from_numpy(ROWS))])
            errors.append(mpjpe(lifted, truth[ROWS]))
            with all_warnings() as warned:
                try:
                    by_predict(keypoints, size)
                except UserError:
                    said.add("refused")
            said |= {"warning" for each in warned if words and words in each}
        how = " or ".join(sorted(said)) or ("nothing" if words is None else "is read")
        shown = "" if name in NOT_LIFTED else f"{np.mean(errors):.0f}"
        rows.append(f"| {name} | {shown} | {how}{': ' if words else ''}{words or ''} |")
    return rows


NOT_LIFTED = ("confidences of nothing but 0",)


@contextmanager
def all_warnings():
    """The messages of warnings."""
    found, handler = [], logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())
    logging.getLogger("glagcn").addHandler(handler)
    yield found
    logging.getLogger("glagcn").removeHandler(handler)


def test_every_transform_is_in_the_table_of_the_docs():
    docs = (Path(__file__).parents[2] / "docs/lift.md").read_text()
    for name, (_, words) in {**GIVEN, **dict.fromkeys(UNNOTICED, ("", ""))}.items():
        assert re.search(rf"^\| {re.escape(name)} \| \d* \|.*{re.escape(words)}", docs, re.MULTILINE), name


if __name__ == "__main__":
    print("\n".join(table()))
