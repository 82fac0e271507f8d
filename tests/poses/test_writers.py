import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.poses.result import rigid
from glagcn.poses.writers.tables import WRITERS, write_comparison, write_people
from glagcn.skeletons import SKELETONS, get_skeleton
from tests.poses.people import person, random_poses

SKELETON = get_skeleton("h36m17")


def load(path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


def table(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(row: dict[str, str], names: str) -> list[float]:
    return [float(row[name] or "nan") for name in names.split()]


def installed(suffix: str) -> None:
    if suffix == ".c3d":
        pytest.importorskip("ezc3d")


def two(root=True):
    """Two people with gaps, and a joint that was not seen."""
    people = []
    for number, frames in ((3, [4, 5, 8]), (9, [0, 2])):
        poses = random_poses(SKELETON, len(frames), seed=number)
        pixels = np.random.default_rng(number).uniform(0, 500, (len(frames), 17, 2))
        pixels[1, 6] = np.nan
        path = np.random.default_rng(number).normal(0, 2000, (len(frames), 3)) if root else None
        people.append(person(poses, person=number, frames=np.array(frames), pixels=pixels, root=path, fps=29.97))
    return people


@pytest.mark.parametrize("root", [True, False])
def test_npz_holds_everything(tmp_path, root):
    people = two(root)
    assert write_people(tmp_path / "new/a.npz", people) == [tmp_path / "new/a.npz"]
    held = load(tmp_path / "new/a.npz")
    np.testing.assert_array_equal(held["person"], [3, 3, 3, 9, 9])
    np.testing.assert_array_equal(held["frame"], [4, 5, 8, 0, 2])
    np.testing.assert_allclose(held["time_s"], np.array([4, 5, 8, 0, 2]) / 29.97)
    for name, field in (("poses_mm", "xyz"), ("confidence", "confidence"), ("pixels", "pixels")):
        expected = np.concatenate([getattr(someone, field) for someone in people]).astype(np.float32)
        np.testing.assert_array_equal(held[name], expected)
    expected = np.concatenate([someone.root for someone in people]).astype(np.float32) if root else np.nan
    np.testing.assert_array_equal(held["root_mm"], np.broadcast_to(expected, (5, 3)))
    assert tuple(held["joints"]) == SKELETON.joints
    assert tuple(held["parents"]) == SKELETON.parents
    assert (held["fps"], str(held["skeleton"]), str(held["axes"])) == (29.97, "h36m17", "camera")
    np.testing.assert_array_equal(held["image_size"], [640, 480])
    assert "millimetres" in str(held["about"])
    assert "x right, y down, z forward" in str(held["about"])


@pytest.mark.parametrize("root", [True, False])
def test_json_holds_everything(tmp_path, root):
    people = two(root)
    write_people(tmp_path / "a.json", people)
    held = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert held["skeleton"] == {"name": "h36m17", "joints": [*SKELETON.joints], "parents": [*SKELETON.parents]}
    assert (held["fps"], held["image_size"], held["axes"]["name"]) == (29.97, [640, 480], "camera")
    assert "millimetres" in held["units"]["poses"]
    for someone, row in zip(people, held["people"], strict=True):
        assert (row["person"], row["frames"]) == (someone.person, someone.frames.tolist())
        np.testing.assert_allclose(row["times"], someone.frames / 29.97, atol=6e-7)
        np.testing.assert_allclose(row["poses"], someone.xyz, atol=6e-4)
        np.testing.assert_allclose(row["confidence"], someone.confidence, atol=6e-4)
        np.testing.assert_allclose(np.array(row["pixels"], dtype=float), someone.pixels, atol=6e-4)
        assert row["pixels"][1][6] == [None, None]
        if root:
            np.testing.assert_allclose(row["root"], someone.root, atol=6e-4)
        else:
            assert row["root"] is None


def matches(value, schema: dict) -> bool:
    """Whether a value is as a JSON schema says, of the words that docs/poses.schema.json uses."""
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}
    names = schema.get("type", [*kinds])
    fits = any(isinstance(value, kinds[name]) for name in ([names] if isinstance(names, str) else names))
    if isinstance(value, dict):
        fits &= {*schema.get("required", ())} <= {*value}
        fits &= all(matches(value[name], part) for name, part in schema.get("properties", {}).items() if name in value)
    if isinstance(value, list):
        fits &= all(matches(item, schema.get("items", {})) for item in value)
    return fits and value in schema.get("enum", [value])


@pytest.mark.parametrize("root", [True, False])
def test_json_is_as_its_schema_in_docs_says(tmp_path, root):
    schema = json.loads((Path(__file__).parents[2] / "docs/poses.schema.json").read_text())
    write_people(tmp_path / "a.json", two(root))
    content = json.loads((tmp_path / "a.json").read_text())
    assert matches(content, schema)
    assert content.keys() == schema["properties"].keys()
    assert content["people"][0].keys() == schema["properties"]["people"]["items"]["properties"].keys()
    assert not matches({**content, "fps": "25"}, schema)


@pytest.mark.parametrize("root", [True, False])
def test_csv_has_a_row_per_person_frame_and_joint(tmp_path, root):
    people = two(root)
    write_people(tmp_path / "a.csv", people)
    expected = [(someone, index, joint) for someone in people for index, joint in np.ndindex(len(someone.frames), 17)]
    rows = table(tmp_path / "a.csv")
    assert [row["parent"] for row in rows[:17]] == [SKELETON.joints[parent] for parent in SKELETON.parents]
    assert {row["parent"] for row in rows[17:]} == {""}
    for number, (row, (someone, index, joint)) in enumerate(zip(rows, expected, strict=True)):
        assert (row["person"], row["frame"]) == (str(someone.person), str(someone.frames[index]))
        assert row["joint"] == SKELETON.joints[joint]
        once = tuple(row[name] for name in ("skeleton", "axes", "fps", "image_width", "image_height"))
        assert once == (("", "", "", "", "") if number else ("h36m17", "camera", "29.97", "640", "480"))
        values = {
            "x_mm y_mm z_mm": someone.xyz[index, joint],
            "root_x_mm root_y_mm root_z_mm": someone.root[index] if root else np.full(3, np.nan),
            "u_px v_px": someone.pixels[index, joint],
            "confidence": [someone.confidence[index, joint]],
            "time_s": [someone.frames[index] / 29.97],
        }
        for names, value in values.items():
            np.testing.assert_allclose(numbers(row, names), value, atol=6e-4)


def test_a_wide_csv_has_a_row_per_person_and_frame(tmp_path):
    people = two()
    write_people(tmp_path / "a.csv", people, wide=True)
    expected = [(someone, index) for someone in people for index in range(len(someone.frames))]
    for number, (row, (someone, index)) in enumerate(zip(table(tmp_path / "a.csv"), expected, strict=True)):
        assert (row["person"], row["frame"]) == (str(someone.person), str(someone.frames[index]))
        assert float(row["time_s"]) == pytest.approx(someone.frames[index] / 29.97, abs=1e-6)
        np.testing.assert_allclose(numbers(row, "root_x_mm root_y_mm root_z_mm"), someone.root[index], atol=6e-4)
        for joint, name in enumerate(SKELETON.joints):
            parts = ("x_mm", "y_mm", "z_mm", "confidence", "u_px", "v_px")
            found = numbers(row, " ".join(f"{name}_{part}" for part in parts))
            sure, pixels = someone.confidence[index, joint], someone.pixels[index, joint]
            np.testing.assert_allclose(found, [*someone.xyz[index, joint], sure, *pixels], atol=6e-4)
        assert (row["skeleton"], row["fps"]) == (("", "") if number else ("h36m17", "29.97"))


@pytest.mark.parametrize("name", SKELETONS)
def test_rigid_keeps_directions_and_makes_lengths_constant(name):
    skeleton = get_skeleton(name)
    poses = random_poses(skeleton, 9)
    stretched = poses * np.random.default_rng(0).uniform(0.8, 1.2, (9, 1, 1))
    one = person(stretched, name, root=np.ones((9, 3)))
    fixed = rigid(one)
    bones, before = (xyz - xyz[:, skeleton.parents] for xyz in (fixed.xyz.astype(float), stretched))
    lengths, given = (np.linalg.norm(of, axis=-1, keepdims=True) for of in (bones, before))
    np.testing.assert_allclose(lengths, np.broadcast_to(np.median(given, axis=0), lengths.shape), atol=1e-3)
    kept = [joint for joint, point in enumerate(skeleton.joints) if point != "head" or name != "mpi3dhp17"]
    apart = bones / np.maximum(lengths, 1) - before / np.maximum(given, 1)
    np.testing.assert_allclose(apart[:, kept], 0, atol=1e-5)
    np.testing.assert_array_equal(fixed.root, one.root)
    if name == "mpi3dhp17":  # both hang from the neck; the bone of the BVH between them is constant too
        head = fixed.xyz[:, 0].astype(float) - fixed.xyz[:, 16]
        assert np.ptp(np.linalg.norm(head, axis=-1)) < 1e-3


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_write_that_fails_leaves_the_old_file(tmp_path, suffix, monkeypatch):
    installed(suffix)
    path = tmp_path / f"a{suffix}"
    path.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="cannot write .*No space left"):
        write_people(path, two()[:1])
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "old"


def test_nobody_is_not_written(tmp_path):
    with pytest.raises(UserError, match="no person was lifted"):
        write_people(tmp_path / "a.npz", [])
    assert list(tmp_path.iterdir()) == []


def test_one_person_may_have_no_path(tmp_path):
    one, other = two()
    nowhere = replace(other, root=None)
    for suffix in WRITERS:
        if suffix != ".c3d":
            write_people(tmp_path / f"a{suffix}", [one, nowhere])
    held = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(np.isnan(held["root_mm"]).all(axis=1), held["person"] == other.person)


def test_people_of_one_file_share_a_video(tmp_path):
    one, other = two()
    with pytest.raises(ValueError, match="the same skeleton"):
        write_people(tmp_path / "a.npz", [one, person(other.xyz, fps=25.0, root=other.root)])


def compared(name="humaneva15_coco17"):
    """One person in three frames, and the true poses of two of them."""
    skeleton = get_skeleton(name)
    frames = np.array([4, 6, 8])
    return tuple(person(random_poses(skeleton, 3, n)[n:], name, frames=frames[n:]) for n in range(2))


def test_a_comparison_as_npz_has_everything_and_nothing_pickled(tmp_path):
    poses, truth = compared()
    write_comparison(tmp_path / "new/a.npz", poses, truth, "S1/x")
    held = load(tmp_path / "new/a.npz")
    expected = {
        "frames": [4, 6, 8], "joints": poses.joints, "parents": poses.parents, "predicted_mm": poses.xyz,
        "pixels": poses.pixels.astype(np.float32), "fps": 25.0, "times": [0.16, 0.24, 0.32],
        "target_mm": np.concatenate([np.full((1, 15, 3), np.nan), truth.xyz]),
    }  # fmt: skip
    assert held.keys() == {*expected, "about"}
    for name, value in expected.items():
        np.testing.assert_array_equal(held[name], value)
    for words in ("millimetres", "x right, y down, z forward", "640 x 480", "S1/x", "humaneva15_coco17"):
        assert words in str(held["about"])
    write_comparison(tmp_path / "a.npz", poses, None, "x")
    assert "target_mm" not in load(tmp_path / "a.npz")


def test_a_comparison_as_csv_has_a_row_per_frame_and_joint(tmp_path):
    poses, truth = compared()
    write_comparison(tmp_path / "a.csv", poses, truth, "x")
    for row, (k, joint) in zip(table(tmp_path / "a.csv"), np.ndindex(3, 15), strict=True):
        assert (row["frame"], row["joint"]) == (str([4, 6, 8][k]), poses.joints[joint])
        true = truth.xyz[k - 1, joint] if k else np.full(3, np.nan)
        for names, values in (
            ("x_mm y_mm z_mm", poses.xyz[k, joint]), ("true_x_mm true_y_mm true_z_mm", true),
            ("u_px v_px", poses.pixels[k, joint]),
        ):  # fmt: skip
            np.testing.assert_allclose(numbers(row, names), values, atol=6e-4)
    write_comparison(tmp_path / "a.csv", poses, None, "x")
    assert (tmp_path / "a.csv").read_text().startswith("frame,joint,x_mm,y_mm,z_mm,u_px,v_px,time_s\n4,")
