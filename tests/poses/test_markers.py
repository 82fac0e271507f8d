"""TRC, MOT and C3D, read back by a few lines that know nothing of the writers; real readers: tests/readers."""

import sys

import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.poses.result import CAMERA, Z_UP
from glagcn.poses.writers.markers import joint_angles, marker_names
from glagcn.poses.writers.tables import write_people
from glagcn.skeletons import SKELETONS, get_skeleton
from tests.poses.people import about, from_directions, person, random_poses

SKELETON = get_skeleton("mpi3dhp17")
FRAMES = np.array([7, 8, 9, 12, 13])


def read_trc(path):
    """-> (header, names, frames, seconds [T], places [T,V,3])"""
    lines = path.read_text().split("\n")
    assert lines.pop() == ""
    header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    labels = lines[3].split("\t")
    assert labels[:2] == ["Frame#", "Time"]
    assert (labels[3::3], labels[4::3]) == ([""] * (len(labels[2:]) // 3),) * 2
    names = labels[2::3]
    assert lines[4].split("\t") == ["", "", *(f"{axis}{n + 1}" for n in range(len(names)) for axis in "XYZ")]
    assert lines[5] == ""
    rows = np.array([line.split("\t") for line in lines[6:]])
    assert (rows != "").all()
    assert (int(header["NumFrames"]), int(header["NumMarkers"])) == (len(rows), len(names))
    values = rows[:, 2:].astype(float).reshape(len(rows), len(names), 3)
    return header, names, rows[:, 0].astype(int).tolist(), rows[:, 1].astype(float), values


def someone(axes=CAMERA, **changes):
    poses = random_poses(SKELETON, 5)
    root = np.random.default_rng(2).normal(0, 3000, (5, 3))
    return person(poses, "mpi3dhp17", **{"frames": FRAMES, "root": root, "fps": 29.97, "axes": axes} | changes)


@pytest.mark.parametrize("axes", [CAMERA, Z_UP])
def test_trc(tmp_path, axes):
    one = someone(axes)
    assert write_people(tmp_path / "a b.trc", [one]) == [tmp_path / "a b.trc"]
    header, names, frames, seconds, places = read_trc(tmp_path / "a b.trc")
    assert (header["Units"], header["DataRate"], header["OrigDataStartFrame"]) == ("mm", "29.97", "7")
    assert frames == list(range(7, 14))
    np.testing.assert_allclose(seconds, np.arange(7, 14) / 29.97, atol=6e-7)
    x, y, z = np.moveaxis(one.xyz + one.root[:, None], -1, 0)
    expected = np.stack([x, -y, -z] if axes == CAMERA else [x, z, -y], axis=-1)
    np.testing.assert_allclose(places[FRAMES - 7], expected, atol=6e-4)
    assert np.isnan(places[3:5]).all()
    assert names[:3] == ["Head", "Neck", "RShoulder"]


def test_trc_keeps_the_times_of_a_variable_rate(tmp_path):
    times = np.array([0.3, 0.35, 0.41, 0.6, 0.64])
    write_people(tmp_path / "a.trc", [someone(times=times)])
    seconds = read_trc(tmp_path / "a.trc")[3]
    np.testing.assert_allclose(seconds[FRAMES - 7], times)
    assert (np.diff(seconds) > 0).all()


@pytest.mark.parametrize("name", SKELETONS)
def test_names_of_markers_are_those_of_pose2sim_and_one_word_each(name):
    names = marker_names(get_skeleton(name))
    known = "Neck Hip LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee LAnkle RAnkle"
    assert {*known.split()} <= {*names}
    assert len({*names}) == len(names)
    assert not any(" " in label for label in names)
    if name != "mpi3dhp17":
        return
    assert names[16] == "MidHead"  # "Nose" would be a place on the face


def test_a_joint_that_was_not_seen_for_half_a_second_is_missing(tmp_path):
    confidence = np.ones((40, 17), np.float32)
    confidence[10:, 3] = 0  # 25 frames a second
    confidence[:, 4] = 0
    write_people(tmp_path / "a.trc", [person(random_poses(SKELETON, 40), "mpi3dhp17", confidence=confidence)])
    missing = np.isnan(read_trc(tmp_path / "a.trc")[4]).all(axis=2)
    assert np.flatnonzero(missing[:, 3]).tolist() == list(range(22, 40))
    assert missing[:, 4].all()
    assert not missing[:, [*range(3), *range(5, 17)]].any()


def test_people_have_a_file_each(tmp_path):
    people = [someone(person=2), someone(person=5)]
    for suffix in (".trc", ".mot"):
        paths = write_people(tmp_path / f"a{suffix}", people)
        assert [path.name for path in paths] == [f"a_person2{suffix}", f"a_person5{suffix}"]


# ---- angles


def standing():
    """[V,3] directions of bones of somebody upright who looks along -z of y-up axes: right is +x, forward -z."""
    directions = {"pelvis": (0, 1, 0), "hip": (1, 0, 0), "shoulder": (1, 0, 0), "spine": (0, 1, 0), "neck": (0, 1, 0)}
    directions |= {"head": (0, 1, 0), "head_top": (0, 1, 0)}
    found = []
    for joint in SKELETON.joints:
        x, y, z = directions.get(joint.removeprefix("left_").removeprefix("right_"), (0, -1, 0))
        found.append((-x if joint.startswith("left_") else x, y, z))
    return np.array(found, float)


def angles_of(**turned):
    """The angles [1] when joints of these names, and all that follow, are turned about (axis, degrees)."""
    directions = standing()
    for name, (axis, degrees) in turned.items():
        first = SKELETON.joints.index(name)
        moved = [first]
        for joint in moved:
            moved += [child for child, parent in enumerate(SKELETON.parents) if parent == joint != child]
        directions[moved] = directions[moved] @ about(axis, np.radians([degrees]))[0].T
    poses = from_directions(SKELETON, directions[None], np.full(17, 200.0))
    lean = about(0, np.array([0.4]))[0] @ about(1, np.array([2.0]))[0]  # however the person stands
    return {name: float(value[0]) for name, value in joint_angles(SKELETON, poses @ lean.T + 500).items()}


X, Y, Z = range(3)
CASES = {  # forwards is a positive turn about x of a bone that hangs
    "nothing": ({}, {}),
    "knee": ({"right_ankle": (X, -70)}, {"knee_angle_r": 70}),
    "hip": ({"left_knee": (X, 40)}, {"hip_flexion_l": 40}),
    "hip back": ({"right_knee": (X, -20)}, {"hip_flexion_r": -20}),
    "leg outwards": ({"right_knee": (Z, 30)}, {"hip_adduction_r": -30}),
    "left leg inwards": ({"left_knee": (Z, 15)}, {"hip_adduction_l": 15}),
    "elbow": ({"left_wrist": (X, 90)}, {"elbow_flex_l": 90}),
    "arm forward": ({"right_elbow": (X, 80)}, {"arm_flex_r": 80}),
    "arm up": ({"left_elbow": (X, 170)}, {"arm_flex_l": 170}),
    "arm outwards": ({"left_elbow": (Z, -60)}, {"arm_add_l": -60}),
}


@pytest.mark.parametrize("name", CASES)
def test_angles_by_closed_forms(name):
    turned, expected = CASES[name]
    found = angles_of(**turned)
    assert found == pytest.approx({**dict.fromkeys(found, 0.0), **expected}, abs=1e-6)


@pytest.mark.parametrize(
    ("axis", "degrees", "name"), [(X, -25, "lumbar_extension"), (Z, -20, "lumbar_bending"), (Y, 35, "lumbar_rotation")]
)
def test_angles_of_the_trunk(axis, degrees, name):
    """Forward, to the right and to the left; the arms and the head turn with it."""
    found = angles_of(neck=(axis, degrees))
    sign = -1 if name == "lumbar_extension" else 1
    assert found[name] == pytest.approx(sign * abs(degrees), abs=1e-6)
    others = [value for other, value in found.items() if other != name]
    np.testing.assert_allclose(others, 0, atol=1e-6)


def test_angles_do_not_jump():
    degrees = np.linspace(0, 350, 36)
    directions = np.tile(standing(), (36, 1, 1))
    arm = [SKELETON.joints.index(f"right_{part}") for part in ("elbow", "wrist")]
    directions[:, arm] = np.einsum("tij,tvj->tvi", about(X, np.radians(degrees)), directions[:, arm])
    poses = from_directions(SKELETON, directions, np.full(17, 200.0))
    np.testing.assert_allclose(joint_angles(SKELETON, poses)["arm_flex_r"], degrees, atol=1e-6)


def read_mot(path):
    lines = path.read_text().splitlines()
    end = lines.index("endheader")
    header = dict(line.split("=") for line in lines[1:end])
    names, rows = lines[end + 1].split("\t"), np.array([line.split("\t") for line in lines[end + 2 :]], float)
    assert (int(header["nRows"]), int(header["nColumns"])) == rows.shape
    assert (rows.shape[1], header["inDegrees"]) == (len(names), "yes")
    return dict(zip(names, rows.T, strict=True))


def test_mot(tmp_path):
    one = someone()
    write_people(tmp_path / "a.mot", [one])
    found = read_mot(tmp_path / "a.mot")
    np.testing.assert_allclose(found.pop("time"), FRAMES / 29.97, atol=6e-7)
    expected = joint_angles(SKELETON, one.xyz.astype(float))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=6e-4)


def test_mot_has_no_nan_at_which_opensim_would_stop(tmp_path, caplog):
    confidence = np.ones((60, 17), np.float32)
    confidence[10:40, SKELETON.joints.index("left_wrist")] = 0
    confidence[:, SKELETON.joints.index("right_ankle")] = 0
    confidence[50:] = 0
    one = person(random_poses(SKELETON, 60), "mpi3dhp17", confidence=confidence, fps=10.0)
    write_people(tmp_path / "a.mot", [one])
    found = read_mot(tmp_path / "a.mot")
    assert np.isfinite([*found.values()]).all()
    assert "knee_angle_r" not in found
    np.testing.assert_allclose(found["time"], np.arange(55) / 10)  # known for half a second more
    np.testing.assert_allclose(np.diff(found["elbow_flex_l"][15:34], 2), 0, atol=2e-3)
    unseen = person(one.xyz, "mpi3dhp17", confidence=np.zeros_like(confidence), person=4, fps=10.0)
    with pytest.raises(UserError, match=r"b\.mot: no joint angle is known"):
        write_people(tmp_path / "b.mot", [unseen])
    # Somebody of whom nothing but a face is seen takes nothing from the others.
    assert write_people(tmp_path / "b.mot", [one, unseen]) == [tmp_path / "b_person0.mot"]
    assert "b_person4.mot is not written: no joint angle of person 4" in caplog.text
    assert not (tmp_path / "b.mot").exists()


# ---- C3D


def test_c3d_without_ezc3d_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ezc3d", None)
    with pytest.raises(UserError, match=r"needs ezc3d, which is not installed; pip install 'glagcn\[c3d\]'"):
        write_people(tmp_path / "a.c3d", [someone()])
    assert not [*tmp_path.iterdir()]


def test_c3d(tmp_path):
    ezc3d = pytest.importorskip("ezc3d")
    one = someone()
    assert write_people(tmp_path / "a.c3d", [one]) == [tmp_path / "a.c3d"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.c3d"]
    found = ezc3d.c3d(str(tmp_path / "a.c3d"))
    point = found["parameters"]["POINT"]
    assert point["LABELS"]["value"] == marker_names(SKELETON)
    assert (point["UNITS"]["value"], point["SCALE"]["value"][0]) == (["mm"], -1)
    assert point["RATE"]["value"] == pytest.approx([29.97])
    places = found["data"]["points"][:3].transpose(2, 1, 0)
    assert places.shape == (14, 17, 3)
    expected = (one.xyz + one.root[:, None]) * [1, -1, -1]
    np.testing.assert_allclose(places[FRAMES], expected, atol=1e-2)
    absent = np.setdiff1d(np.arange(14), FRAMES)
    assert np.isnan(places[absent]).all()
    residuals = found["data"]["meta_points"]["residuals"][0]
    assert (residuals[:, absent] == -1).all()
    assert (residuals[:, FRAMES] == 0).all()


def test_c3d_holds_no_more_frames_than_its_header_counts(tmp_path):
    pytest.importorskip("ezc3d")
    with pytest.raises(UserError, match="at most 65535 frames"):
        write_people(tmp_path / "a.c3d", [someone(frames=FRAMES + 65_530)])
    assert not [*tmp_path.iterdir()]
