"""The tools for maintainers: that of real people on a made-up sequence whose errors are known."""

import sys

import numpy as np

import glagcn
from glagcn.poses.joints import CONVENTIONS
from tests.commands.filmed import SIZE, keypoints
from tools import real_people


def test_the_errors_of_real_people(shipped, tmp_path, monkeypatch, capsys):
    """The measured joints are the lifted ones, turned by 10 degrees or moved: P-MPJPE is 0 where MPJPE is not."""
    model, pixels = glagcn.load_model("centred"), keypoints(30)[:, 0]
    names = [f"{side}_{part}" for side in ("left", "right") for part in
             ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]  # fmt: skip
    lifted = glagcn.predict(model, pixels, SIZE, joints="coco17", fps=25).astype(np.float64)
    lifted = lifted[:, [model.skeleton.joints.index(name) for name in names]] * 20  # a tiny model gives tiny people
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    about = lifted - lifted[:, [3, 9]].mean(axis=1, keepdims=True)
    common = {"keypoints": pixels, "joints": "coco17", "image_size": SIZE, "fps": 25.0, "truth_joints": names}
    np.savez(
        tmp_path / "a.npz", **common, truth_mm=about @ turn.T + [0, 0, 4000], peer_mm=about + np.array([0, 0, 100])
    )
    assert len(CONVENTIONS["coco17"].joints) == pixels.shape[1]
    monkeypatch.setattr(sys, "argv", ["real_people", str(tmp_path / "a.npz")])
    real_people.main()
    ours, peer = (line for line in capsys.readouterr().out.splitlines() if "MPJPE" in line and "frames," in line)
    expected = np.linalg.norm(about - about @ turn.T, axis=-1).mean()
    assert f"30 frames, MPJPE {expected:.1f} mm, P-MPJPE 0.0 mm" in peer  # a peer's poses are about its own hips
    assert ours.startswith("centred: 30 frames")
