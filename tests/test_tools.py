"""The tools for maintainers: that of real people on a recorded sequence, with a peer whose errors are known."""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from glagcn.data.mocap.motion import demo_source
from glagcn.poses.joints import CONVENTIONS
from tools import real_people

LIMBS = [f"{side}_{part}" for side in ("left", "right") for part in
         ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]  # fmt: skip
HIPS = [LIMBS.index("left_hip"), LIMBS.index("right_hip")]


@cache
def recorded():
    return next(iter(demo_source().read("test")))


def arrays(**changes) -> dict:
    """A file of 40 frames; the truth is not known in frame 20."""
    sequence = recorded()
    truth = sequence.millimetres[:40, [CONVENTIONS["mpi3dhp17"].points.index(name) for name in LIMBS]].astype(float)
    truth[20, 3] = np.nan
    size = sequence.info.width, sequence.info.height
    common = {"keypoints": sequence.pixels[:40], "joints": "mpi3dhp17", "image_size": size, "fps": 30.0}
    return {**common, "truth_mm": truth, "truth_joints": LIMBS, **changes}


def run(monkeypatch, folder: Path, content: dict, *flags: str) -> None:
    np.savez(folder / "a.npz", **content)
    monkeypatch.setattr(sys, "argv", ["real_people", str(folder / "a.npz"), *flags])
    real_people.main()


@pytest.mark.usefixtures("shipped")
def test_the_errors_of_real_people(tmp_path, monkeypatch, capsys):
    """A peer whose poses are turned by 10 degrees and moved: P-MPJPE is 0 where MPJPE is not."""
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    content = arrays()
    about = content["truth_mm"] - content["truth_mm"][:, HIPS].mean(axis=1, keepdims=True)
    run(monkeypatch, tmp_path, {**content, "peer_mm": about @ turn.T + [0, 0, 100]})
    ours, peer = (line for line in capsys.readouterr().out.splitlines() if "MPJPE" in line and "frames," in line)
    known = np.arange(40) != 20
    expected = np.linalg.norm(about - about @ turn.T, axis=-1)[known].mean()
    assert f"peer: 39 frames, MPJPE {expected:.1f} mm, P-MPJPE 0.0 mm" in peer  # a peer's poses are about its own hips
    assert ours.startswith("centred: 39 frames")
    # Second differences of frames that follow each other, not of those around the gap.
    second = np.linalg.norm(np.diff(about, 2, axis=0), axis=-1).mean(axis=-1) * 900 / 1000
    assert f"(truth {second[np.isfinite(second)].mean():.1f})" in peer


@pytest.mark.usefixtures("shipped")
def test_one_frame_and_a_few_joints_are_enough(tmp_path, monkeypatch, capsys):
    content = arrays()
    few = {"truth_mm": content["truth_mm"][:1, [*HIPS, 0]], "truth_joints": ["left_hip", "right_hip", LIMBS[0]]}
    run(monkeypatch, tmp_path, {**content, **few, "keypoints": content["keypoints"][:1]})
    assert "1 frames, MPJPE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("fps"), "lacks fps; expected keypoints, joints"),
        (lambda c: c.update(joints="coco"), "unknown joints 'coco'"),
        (lambda c: c.update(joints="mediapipe33"), r"keypoints \[40, 17, 2\]; expected \[T, 33, 2 or 3\]"),
        (lambda c: c.update(fps=[30, 30]), "expected a rate"),
        (lambda c: c.update(truth_mm=c["truth_mm"][:30]), r"truth_mm \[30, 12, 3\]; expected \[40, 12, 3\]"),
        (lambda c: c.update(peer_mm=c["truth_mm"][:, :5]), r"peer_mm \[40, 5, 3\]; expected \[40, 12, 3\]"),
        (lambda c: c.update(truth_joints=["LKnee", *LIMBS[1:]]), "truth_joints LKnee; expected some of head_top"),
        (lambda c: c.update(truth_joints=["head", *LIMBS[:-1]], truth_mm=c["truth_mm"][:, ::-1]), "does not follow"),
        (lambda c: c.update(truth_mm=c["truth_mm"] / 1000), "span 1.2.*expected millimetres; in metres"),
        (lambda c: c.update(truth_mm=c["truth_mm"] * [1, -1, 1]), "y of the joints does not follow"),
        (lambda c: c.update(truth_mm=c["truth_mm"] * [1, 1, -1]), "z is negative"),
        (lambda c: c.update(truth_mm=c["truth_mm"] * np.nan), "no frame in which all joints are known"),
        (lambda c: c.update(keypoints=c["keypoints"] * 0), "a keypoint are known"),
        (lambda c: c.update(joints=np.array([{}])), "cannot be read.*pickle"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("shipped")
def test_a_wrong_file_gets_one_message(tmp_path, monkeypatch, change, words):
    content = arrays()
    change(content)
    with pytest.raises(SystemExit, match=f"error: .*a.npz.*{words}"):
        run(monkeypatch, tmp_path, content)


@pytest.mark.usefixtures("shipped")
def test_the_true_focal_length_needs_intrinsics(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="has no intrinsics, which --focal true needs"):
        run(monkeypatch, tmp_path, arrays(), "--focal", "true")
