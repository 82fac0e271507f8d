"""How far poses lifted from real detections are from measured ones.

    python -m tools.real_people FILE.npz... [--model centred] [--focal true|guess]

A file is one sequence of one camera:

| array | |
|---|---|
| `keypoints` [T,J,2] or [T,J,3] | pixels, and a confidence |
| `joints` | a joint order of `glagcn lift --joints`, such as "mediapipe33" |
| `image_size` [2], `fps` | width and height in pixels, frames per second |
| `truth_mm` [T,K,3], `truth_joints` [K] | measured joints in the axes of the camera (x right, y down, z away), mm; NaN where unknown; with both hips and both shoulders |
| `intrinsics` [3,3] | of the camera, if known: `--focal true` lifts with its focal length |
| `peer_mm` [T,K,3] | poses of another program for the same joints, if there are any |

The root is the middle of the hips, of measured and of lifted poses.  Prints errors in mm over all sequences: MPJPE,
P-MPJPE and N-MPJPE, those of each joint, of people at angles off the axis of the camera and of sizes in the picture;
how much poses turn with that angle (degrees of yaw per degree); jitter, the mean length of second differences, beside
that of the truth; and how much the lengths of bones change.
"""  # noqa: E501

import argparse
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

import glagcn
from glagcn.evaluate.metrics import joint_errors, procrustes_errors, scaled_errors
from glagcn.tables import Table

ANGLES = ((0, 5), (5, 10), (10, 20), (20, 90))  # degrees off the axis of the camera
SIZES = ((0, 0.1), (0.1, 0.2), (0.2, 0.35), (0.35, 9))  # the longer side of the box around the joints, in widths
BONES = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))


class Sequence:
    """The lifted or otherwise known poses [T,K,3] of a file beside the measured ones, about the middle of the hips."""

    def __init__(self, file: "np.lib.npyio.NpzFile", poses: np.ndarray) -> None:
        self.joints = [str(name) for name in file["truth_joints"]]
        truth = file["truth_mm"].astype(np.float64)
        known = np.isfinite(truth).all(axis=(1, 2)) & np.isfinite(poses).all(axis=(1, 2))
        hips = [self.joints.index(f"{side}_hip") for side in ("left", "right")]
        self.place = truth[known][:, hips].mean(axis=1)
        self.truth, self.poses = (
            part[known] - part[known][:, hips].mean(axis=1, keepdims=True) for part in (truth, poses)
        )
        pixels = file["keypoints"][..., :2].astype(np.float64)[known]
        pixels[(pixels == 0).all(axis=-1)] = np.nan
        box = np.nanmax(pixels, axis=1) - np.nanmin(pixels, axis=1)
        self.size = box.max(axis=-1) / file["image_size"][0]
        self.fps = float(file["fps"])

    @property
    def angle(self) -> np.ndarray:
        """Degrees [T] from the axis of the camera to the middle of the hips, to the right."""
        return np.degrees(np.arctan2(self.place[:, 0], self.place[:, 2]))

    def yaw(self) -> np.ndarray:
        """Degrees [T] by which the best turn of a pose to the truth turns it about the vertical."""
        pairs = zip(self.poses, self.truth, strict=True)
        return np.degrees([Rotation.align_vectors(b, a)[0].as_rotvec()[1] for a, b in pairs])

    def jitter(self, poses: np.ndarray) -> float:
        """Mean length of the second differences of joints, m / s^2."""
        return float(np.linalg.norm(np.diff(poses, 2, axis=0), axis=-1).mean() * self.fps**2 / 1000)

    def bones(self) -> float:
        """Standard deviation of the lengths of the limbs' bones, as a part of their means."""
        changes = []
        for side in ("left", "right"):
            for ends in BONES:
                begin, end = (self.joints.index(f"{side}_{part}") for part in ends)
                lengths = np.linalg.norm(self.poses[:, begin] - self.poses[:, end], axis=-1)
                changes.append(lengths.std() / lengths.mean())
        return float(np.mean(changes))


def report(name: str, sequences: list[Sequence]) -> None:
    """Print the tables of one program."""
    poses, truth = (np.concatenate([getattr(s, part) for s in sequences]) for part in ("poses", "truth"))
    errors, aligned = joint_errors(poses, truth), procrustes_errors(poses, truth)
    angle, size = (np.concatenate([getattr(s, part) for s in sequences]) for part in ("angle", "size"))
    yaw = np.concatenate([s.yaw() for s in sequences])
    slope = f"{np.polyfit(angle, yaw, 1)[0]:.2f}" if np.ptp(angle) > 20 else "-"
    jitter, still = (np.mean([s.jitter(getattr(s, part)) for s in sequences]) for part in ("poses", "truth"))
    bones = np.mean([s.bones() for s in sequences])
    print(
        f"\n{name}: {len(poses):,} frames, MPJPE {errors.mean():.1f} mm, P-MPJPE {aligned.mean():.1f} mm, "
        f"N-MPJPE {scaled_errors(poses, truth).mean():.1f} mm, jitter {jitter:.1f} m/s2 (truth {still:.1f}), "
        f"bones {bones:.1%}, yaw per degree off the axis {slope}"
    )
    table = Table("", "frames", "MPJPE", "P-MPJPE")
    groups = [
        (f"{low} to {high} degrees off the axis", (abs(angle) >= low) & (abs(angle) < high)) for low, high in ANGLES
    ]
    groups += [(f"{low:g} to {high:g} of the width", (size >= low) & (size < high)) for low, high in SIZES]
    for title, rows in groups:
        if rows.any():
            table.add(title, int(rows.sum()), f"{errors[rows].mean():.1f}", f"{aligned[rows].mean():.1f}")
    for number, joint in enumerate(sequences[0].joints):
        table.add(joint, len(errors), f"{errors[:, number].mean():.1f}", "")
    print(table.text())


def main() -> None:
    """Lift the files and print the tables, then those of the peer's poses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.npz")
    parser.add_argument("--model", default="centred", help="a checkpoint, or the name of a model of the program")
    parser.add_argument("--focal", choices=("true", "guess"), default="guess", help="focal length (default: guess)")
    flags = parser.parse_args()
    model = glagcn.load_model(flags.model)
    ours, peers = [], []
    for path in flags.files:
        with np.load(path) as file:
            focal = float(file["intrinsics"][[0, 1], [0, 1]].mean()) if flags.focal == "true" else None
            joints = [model.skeleton.joints.index(str(name)) for name in file["truth_joints"]]
            known = {"joints": str(file["joints"]), "fps": float(file["fps"]), "focal": focal}
            poses = glagcn.predict(model, file["keypoints"], file["image_size"], **known)
            ours.append(Sequence(file, poses[:, joints].astype(np.float64)))
            if "peer_mm" in file:
                peers.append(Sequence(file, file["peer_mm"].astype(np.float64)))
    report(flags.model, ours)
    if peers:
        report("peer", peers)


if __name__ == "__main__":
    main()
