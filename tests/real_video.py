"""A real video with a real detector, beside the truth: a part of .ci/nightly.

python -m tests.real_video [FOLDER]     # keeps what it makes in FOLDER

The demo of Pose2Sim (the package pose2sim, BSD-3-Clause) has a person who balances on one leg, filmed by four cameras,
with their calibration.  A new environment with MediaPipe lifts all four videos with `glagcn lift`.  The truth is what
its 2D joints are in space: each is triangulated from the three cameras that agree best.  A model file for the other
interface of MediaPipe is made of the networks in its package.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from glagcn.poses.joints import CONVENTIONS

POSE2SIM, MEDIAPIPE = "pose2sim==0.10.49", "mediapipe==0.10.21"
DEMO = "Pose2Sim/Demo_SinglePerson"
CAMERAS, FRAMES = 4, 100
LIMBS = [
    f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right")
]
# mm, the mean of the three best cameras: in the second one MediaPipe exchanges left and right for many frames.
WORST_MPJPE, WORST_P_MPJPE = 130.0, 90.0
# The centre of the joints of an upper and a lower leg, mm: of an adult
LEGS = {("hip", "knee"): (300, 520), ("knee", "ankle"): (300, 520)}
MAKE_TASK = """
import sys, zipfile
from pathlib import Path
import mediapipe
from mediapipe.tasks.python.metadata.metadata_writers.metadata_writer import MetadataWriter
parts = {"pose_detector": ("pose_detection/pose_detection", 127.5, 127.5),
         "pose_landmarks_detector": ("pose_landmark/pose_landmark_full", 0.0, 255.0)}
with zipfile.ZipFile(sys.argv[1], "w") as task:
    for name, (network, mean, deviation) in parts.items():
        content = (Path(mediapipe.__file__).parent / f"modules/{network}.tflite").read_bytes()
        content = MetadataWriter.create(bytearray(content)).add_image_input([mean], [deviation]).populate()[0]
        task.writestr(f"{name}.tflite", bytes(content))
"""


def main(folder: Path) -> None:
    """Install, lift, and compare.  Raises AssertionError."""
    python = Path(os.environ.get("DETECT_PYTHON") or installed(folder))
    films, cameras = demo(python, folder)
    environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "MPLBACKEND": "agg"}

    def glagcn(*arguments: str | Path) -> str:
        command = [python, "-m", "glagcn", *map(str, arguments)]
        return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    pixels, lifted = [], []
    for number, film in enumerate(films, start=1):
        out = folder / f"cam{number}.npz"
        said = glagcn("lift", film, "--out", out, "--focal", round(cameras[number - 1][0][0, 0]), "--keep-keypoints")
        kept = out.with_suffix(".keypoints.npz")
        assert "detecting with mediapipe 0.10.21" in said, said
        glagcn("lift", kept, "--out", folder / "again.npz", "--focal", round(cameras[number - 1][0][0, 0]))
        one, again = dict(np.load(out)), dict(np.load(folder / "again.npz"))
        assert all(np.array_equal(one[key], again[key]) or key == "pixels" for key in one), (
            "other poses of kept keypoints"
        )
        assert one["frame"].tolist() == list(range(FRAMES)), "frames are missing"
        np.testing.assert_allclose(one["time_s"], np.arange(FRAMES) / 60, atol=1e-3)
        with np.load(kept) as found:
            assert len(found["keypoints"]) == FRAMES
            names = CONVENTIONS["mediapipe33"].joints
            pixels.append(found["keypoints"][:, [names.index(joint) for joint in LIMBS], :2])
        names = [str(name) for name in one["joints"]]
        lifted.append(one["poses_mm"][:, [names.index(joint) for joint in LIMBS]])
        check_legs(lifted[-1], film.name)
    world, residual = triangulated(np.stack(pixels), cameras)
    print(f"the truth: {np.median(residual):.1f} pixels from the joints in the median")
    assert np.median(residual) < 20, "the cameras do not agree"
    figures = []
    for number, (poses, (_, rotation, centre)) in enumerate(zip(lifted, cameras, strict=True), start=1):
        figures.append(errors(poses, (world - centre) @ rotation.T))
        print("camera {}: MPJPE {:.1f}, P-MPJPE {:.1f} mm".format(number, *figures[-1]))
    mean = np.mean(sorted(figures)[:3], axis=0)
    print("mean of the three best: MPJPE {:.1f}, P-MPJPE {:.1f} mm".format(*mean))
    assert mean[0] < WORST_MPJPE
    assert mean[1] < WORST_P_MPJPE
    task = folder / "pose_landmarker_full.task"
    subprocess.run([python, "-c", MAKE_TASK, task], check=True, capture_output=True)
    glagcn("lift", films[0], "--detector-model", task, "--out", folder / "task.npz", "--out", folder / "task.mp4")
    poses, names = np.load(folder / "task.npz"), [str(name) for name in one["joints"]]
    apart = poses["poses_mm"][:, [names.index(joint) for joint in LIMBS]] - lifted[0]
    print(f"with a model file: {np.linalg.norm(apart, axis=-1).mean():.1f} mm from the poses without")
    assert np.linalg.norm(apart, axis=-1).mean() < 40
    print("a real video with MediaPipe: passed")


def installed(folder: Path) -> Path:
    """The Python of a new environment with this checkout's requirements and MediaPipe."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        f"{Path.cwd()}[detect]",
        MEDIAPIPE,
    ]
    subprocess.run(install, check=True)
    return python


def demo(python: Path, folder: Path) -> tuple[list[Path], list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """The four videos, and for each camera its matrix, the rotation from the world's axes and its place in mm."""
    subprocess.run([python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, POSE2SIM], check=True)
    with zipfile.ZipFile(next(folder.glob("pose2sim-*.whl"))) as wheel:
        films = [Path(wheel.extract(f"{DEMO}/videos/cam0{n}.mp4", folder)) for n in range(1, CAMERAS + 1)]
        calibration = ElementTree.fromstring(wheel.read(f"{DEMO}/calibration/Calib.qca.txt"))
    cameras = []
    for camera in calibration.iter("camera"):
        lens, pose = camera.find("intrinsic").attrib, camera.find("transform").attrib
        f_x, f_y, c_x, c_y = (
            float(lens[name]) / 64 for name in ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV")
        )  # in 64ths of a pixel
        axes = np.array([[float(pose[f"r{row}{column}"]) for column in (1, 2, 3)] for row in (1, 2, 3)])
        rotation = np.diag([1, -1, -1]) @ axes  # y down, z forward
        place = np.array([float(pose[axis]) for axis in "xyz"])
        cameras.append((np.array([[f_x, 0, c_x], [0, f_y, c_y], [0, 0, 1]]), rotation, place))
    return films, cameras


def triangulated(pixels: np.ndarray, cameras: list) -> tuple[np.ndarray, np.ndarray]:
    """[T,J,3] mm of pixels [C,T,J,2], and [T,J] how far the farthest of the three best cameras sees it, in pixels."""
    best = np.full(pixels.shape[1:3], np.inf)
    world = np.zeros((*pixels.shape[1:3], 3))
    matrices = [lens @ np.c_[rotation, -rotation @ place] for lens, rotation, place in cameras]
    for chosen in combinations(range(len(cameras)), 3):
        rows = np.concatenate([
            pixels[c][..., axis, None] * matrices[c][2] - matrices[c][axis] for c in chosen for axis in (0, 1)
        ], axis=-1).reshape(*pixels.shape[1:3], 6, 4)  # fmt: skip
        point = np.linalg.svd(rows)[2][..., -1, :]
        seen = [point @ matrices[c].T for c in chosen]
        away = [np.linalg.norm(s[..., :2] / s[..., 2:] - pixels[c], axis=-1) for s, c in zip(seen, chosen, strict=True)]
        worst = np.max(away, axis=0)
        world = np.where((worst < best)[..., None], point[..., :3] / point[..., 3:], world)
        best = np.minimum(best, worst)
    return world, best


def errors(poses: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """MPJPE about the middle of the hips, and P-MPJPE, both in the unit of the poses."""
    hips = [LIMBS.index("left_hip"), LIMBS.index("right_hip")]
    poses, truth = (points - points[:, hips].mean(axis=1, keepdims=True) for points in (poses, truth))
    aligned = []
    for a, b in zip(poses, truth, strict=True):
        a0, b0 = a - a.mean(axis=0), b - b.mean(axis=0)
        u, s, vt = np.linalg.svd(a0.T @ b0)
        sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
        aligned.append(np.linalg.norm((s * sign).sum() / (a0**2).sum() * a0 @ (u * sign) @ vt - b0, axis=1).mean())
    return float(np.linalg.norm(poses - truth, axis=-1).mean()), float(np.mean(aligned))


def check_legs(poses: np.ndarray, name: str) -> None:
    """The legs are those of an adult."""
    for side in ("left", "right"):
        for (upper, lower), (shortest, longest) in LEGS.items():
            bone = poses[:, LIMBS.index(f"{side}_{upper}")] - poses[:, LIMBS.index(f"{side}_{lower}")]
            length = np.median(np.linalg.norm(bone, axis=-1))
            assert shortest < length < longest, f"{name}: {side} {upper} to {lower} is {length:.0f} mm"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as name:
            main(Path(name))
