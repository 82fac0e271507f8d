import csv

import numpy as np
import pytest

from glagcn.commands.recording import check_export, write_poses
from glagcn.errors import UserError
from glagcn.poses.draw.animation import Clip
from glagcn.skeletons import get_skeleton


def clip(name="humaneva15_coco17", target=True) -> Clip:
    skeleton, rng = get_skeleton(name), np.random.default_rng(0)
    poses = rng.normal(0, 500, (2, 3, skeleton.num_joints, 3)).astype(np.float32)
    pixels = rng.uniform(0, 500, (3, skeleton.num_input_joints, 2)).astype(np.float32)
    return Clip(skeleton, np.array([4, 6, 8]), pixels, (640, 480), poses[0], poses[1] if target else None)


def test_npz_has_everything_and_nothing_pickled(tmp_path):
    shown = clip()
    write_poses(tmp_path / "new/a.npz", shown, "S1/x", 12.5)
    with np.load(tmp_path / "new/a.npz", allow_pickle=False) as content:
        held = {name: content[name] for name in content.files}
    for name, value in (
        ("frames", shown.frames), ("predicted_mm", shown.predicted), ("target_mm", shown.target),
        ("pixels", shown.pixels), ("parents", shown.skeleton.parents), ("fps", 12.5),
    ):  # fmt: skip
        np.testing.assert_array_equal(held[name], value)
    assert tuple(held["joints"]) == shown.skeleton.joints
    for words in ("millimetres", "x right, y down, z forward", "640 x 480", "S1/x", "humaneva15_coco17"):
        assert words in str(held["about"])


def test_without_a_target_there_is_none(tmp_path):
    write_poses(tmp_path / "a.npz", clip(target=False), "x", 25)
    with np.load(tmp_path / "a.npz") as content:
        assert "target_mm" not in content.files
    write_poses(tmp_path / "a.csv", clip("h36m17", target=False), "x", 25)
    with (tmp_path / "a.csv").open() as file:
        assert next(file) == "frame,joint,x_mm,y_mm,z_mm,u_px,v_px\n"


@pytest.mark.parametrize("skeleton", ["h36m17", "humaneva15_coco17"])
def test_csv_has_a_row_per_frame_and_joint(tmp_path, skeleton):
    shown = clip(skeleton)
    write_poses(tmp_path / "a.csv", shown, "x", 25)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * shown.skeleton.num_joints
    for row, (k, joint) in zip(rows, np.ndindex(3, shown.skeleton.num_joints), strict=True):
        assert (row["frame"], row["joint"]) == (str([4, 6, 8][k]), shown.skeleton.joints[joint])
        found = [float(row[name]) for name in ("x_mm", "y_mm", "z_mm", "true_x_mm", "true_y_mm", "true_z_mm")]
        np.testing.assert_allclose(found, [*shown.predicted[k, joint], *shown.target[k, joint]], atol=6e-4)
        if skeleton == "humaneva15_coco17" and row["joint"] in ("pelvis", "thorax"):
            assert (row["u_px"], row["v_px"]) == ("", "")  # means of two input joints
        else:
            np.testing.assert_allclose(
                [float(row["u_px"]), float(row["v_px"])], shown.drawn_pixels[k, joint], atol=6e-4
            )


def test_other_endings_are_refused(tmp_path):
    for name in ("a.mat", "a"):
        with pytest.raises(UserError, match=r"invalid --viz-export .*must end in \.npz or \.csv"):
            check_export(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        check_export(tmp_path / "folder.csv")
