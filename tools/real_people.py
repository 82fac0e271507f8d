"""How far poses lifted from real detections are from measured ones.

    python -m tools.real_people FILE.npz... [--model centred] [--focal true|guess]

A file is one sequence of one camera:

| array | |
|---|---|
| `keypoints` [T,J,2] or [T,J,3] | pixels, and a confidence |
| `joints` | a joint order of `glagcn lift --joints`, such as "mediapipe33" |
| `image_size` [2], `fps` | width and height in pixels, frames per second |
| `truth_mm` [T,K,3], `truth_joints` [K] | measured joints in the axes of the camera (x right, y down, z away), mm; NaN where unknown; with both hips |
| `intrinsics` [3,3] | of the camera, if known: `--focal true` lifts with its focal length |
| `peer_mm` [T,K,3] | poses of another program for the same joints, if there are any |

The root is the middle of the hips, of measured and of lifted poses.  Frames count in which all joints are known, also
those of the peer.  Prints errors in mm over all sequences: MPJPE, P-MPJPE and N-MPJPE, those of each joint, of people
at angles off the axis of the camera and of sizes in the picture; how much poses turn with the angle to the side
(degrees of yaw per degree); jitter, the mean length of second differences, beside that of the truth; and how much the
lengths of bones change.
"""  # noqa: E501

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

import glagcn
from glagcn.errors import UserError
from glagcn.evaluate.metrics import joint_errors, procrustes_errors, scaled_errors
from glagcn.model.interface import Model
from glagcn.poses.joints import get_convention
from glagcn.tables import Table

ANGLES = ((0, 5), (5, 10), (10, 20), (20, 90))  # degrees off the axis of the camera
SIZES = ((0, 0.1), (0.1, 0.2), (0.2, 0.35), (0.35, 9))  # the longer side of the box around the joints, in widths
BONES = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
NEEDED = ("keypoints", "joints", "image_size", "fps", "truth_mm", "truth_joints")
PERSON_MM = (300.0, 3000.0)  # the longest side of the box around the measured joints, in the median frame
ALIKE = 0.5  # least correlation of measured x and y with those of the keypoints


@dataclass
class Sequence:
    """A file: measured poses [T,K,3] in mm, the T frames that count of all, and what belongs to them.

    place  [T,3] the measured middle of the hips;  size  [T] of the person in the picture, in widths.
    """

    joints: list[str]
    truth: np.ndarray
    frames: np.ndarray
    place: np.ndarray
    size: np.ndarray
    fps: float

    @property
    def sideways(self) -> np.ndarray:
        """Degrees [T] from the axis of the camera to the middle of the hips, to the right."""
        return np.degrees(np.arctan2(self.place[:, 0], self.place[:, 2]))

    @property
    def angle(self) -> np.ndarray:
        """Degrees [T] between the axis of the camera and the ray to the middle of the hips."""
        return np.degrees(np.arctan2(np.linalg.norm(self.place[:, :2], axis=1), self.place[:, 2]))

    def about_hips(self, poses: np.ndarray) -> np.ndarray:
        """The frames that count of poses [all,K,3], relative to the middle of their hips."""
        hips = [self.joints.index(f"{side}_hip") for side in ("left", "right")]
        poses = poses[self.frames].astype(np.float64)
        return poses - poses[:, hips].mean(axis=1, keepdims=True)

    def yaw(self, poses: np.ndarray) -> np.ndarray:
        """Degrees [T] by which the best turn of a pose to the truth turns it about the vertical."""
        pairs = zip(poses, self.truth, strict=True)
        return np.degrees([Rotation.align_vectors(b, a)[0].as_rotvec()[1] for a, b in pairs])

    def accelerations(self, poses: np.ndarray) -> np.ndarray:
        """Lengths of the second differences of joints, m / s^2, of frames that follow each other."""
        follow = np.diff(self.frames, 2) == 0
        follow &= np.diff(self.frames)[: len(follow)] == 1
        return np.linalg.norm(np.diff(poses, 2, axis=0)[follow], axis=-1).ravel() * self.fps**2 / 1000

    def bones(self, poses: np.ndarray) -> list[float]:
        """Standard deviation of the length of each bone of the limbs that is there, as a part of its mean."""
        changes = []
        for side in ("left", "right"):
            for ends in BONES:
                if {*(names := [f"{side}_{part}" for part in ends])} <= {*self.joints}:
                    begin, end = (poses[:, self.joints.index(name)] for name in names)
                    lengths = np.linalg.norm(begin - end, axis=-1)
                    changes.append(float(lengths.std() / lengths.mean()))
        return changes


def read(path: Path, model: Model, focal: str) -> tuple[Sequence, np.ndarray, np.ndarray | None]:
    """The sequence of a file, lifted poses [T,K,3] and those of the peer, or None.  Raises UserError that names it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error}); expected an .npz without pickled objects") from error
    if lacking := [name for name in NEEDED if name not in arrays]:
        raise UserError(f"{path} lacks {', '.join(lacking)}; expected {', '.join(NEEDED)} (see --help)")
    if focal == "true" and "intrinsics" not in arrays:
        raise UserError(f"{path} has no intrinsics, which --focal true needs; add them, or take --focal guess")
    try:
        sequence, peer = _checked(arrays, model)
        lens = float(arrays["intrinsics"][[0, 1], [0, 1]].mean()) if focal == "true" else None
        known = {"joints": str(arrays["joints"]), "fps": sequence.fps, "focal": lens}
        poses = glagcn.predict(model, arrays["keypoints"], arrays["image_size"], **known)  # type: ignore[arg-type]
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return sequence, poses[:, [model.skeleton.joints.index(joint) for joint in sequence.joints]], peer


def _checked(arrays: dict[str, np.ndarray], model: Model) -> tuple[Sequence, np.ndarray | None]:
    """The sequence of a file's arrays, and the peer's poses.  Raises UserError for what does not fit."""
    keypoints, truth, size = (arrays[name] for name in ("keypoints", "truth_mm", "image_size"))
    joints, order, fps = (
        arrays["truth_joints"].astype(str).tolist(),
        get_convention(str(arrays["joints"])),
        arrays["fps"],
    )
    if fps.size != 1 or not 0 < float(fps) < 10_000 or size.shape != (2,):
        raise UserError(f"fps {fps} and image_size {size}; expected a rate, and width and height in pixels")
    if keypoints.ndim != 3 or keypoints.shape[1:] not in {(len(order.joints), 2), (len(order.joints), 3)}:
        raise UserError(
            f"keypoints {list(keypoints.shape)}; expected [T, {len(order.joints)}, 2 or 3], as {order.name} has"
        )
    expected = (len(keypoints), len(joints), 3)
    for name in {"truth_mm", "peer_mm"} & {*arrays}:
        if arrays[name].shape != expected or arrays[name].dtype.kind not in "fiu":
            raise UserError(
                f"{name} {list(arrays[name].shape)}; expected {list(expected)}: {len(keypoints)} frames of keypoints, "
                f"{len(joints)} truth_joints, x, y and z"
            )
    other = [joint for joint in joints if joint not in model.skeleton.joints]
    if other or len({*joints}) < len(joints) or not {"left_hip", "right_hip"} <= {*joints}:
        raise UserError(
            f"truth_joints {', '.join(other or joints)}; expected some of {', '.join(model.skeleton.joints)}, each "
            "once, both hips among them"
        )
    peer = arrays.get("peer_mm")
    frames = np.flatnonzero(np.isfinite(truth if peer is None else np.concatenate([truth, peer], 1)).all(axis=(1, 2)))
    if not len(frames):
        never = [joint for place, joint in enumerate(joints) if not np.isfinite(truth[:, place]).all(axis=-1).any()]
        raise UserError(f"no frame in which all joints are known (never: {', '.join(never) or 'none'}); leave some out")
    seen = np.isfinite(keypoints).all(axis=-1) & ~np.isin(keypoints[..., :2], (0, -1)).all(axis=-1)
    if keypoints.shape[-1] == 3:
        seen &= keypoints[..., 2] > 0
    pixels = np.where(seen[..., None], keypoints[..., :2], np.nan)[frames].astype(np.float64)
    known = np.isfinite(pixels).any(axis=(1, 2))
    frames, pixels = frames[known], pixels[known]
    if not len(frames):
        raise UserError("no frame in which the measured joints and a keypoint are known")
    _check_truth(truth[frames].astype(np.float64), joints, pixels, order.points)
    box = np.nanmax(pixels, axis=1) - np.nanmin(pixels, axis=1)
    hips = [joints.index(f"{side}_hip") for side in ("left", "right")]
    place = truth[frames][:, hips].mean(axis=1).astype(np.float64)
    sequence = Sequence(joints, truth, frames, place, box.max(axis=-1) / float(size[0]), float(fps))
    sequence.truth = sequence.about_hips(truth)
    return sequence, peer


def _check_truth(truth: np.ndarray, joints: list[str], pixels: np.ndarray, points: tuple[str, ...]) -> None:
    """Raise UserError if the measured poses [T,K,3] are in another unit or axes than the keypoints [T,J,2]."""
    extent = float(np.median(np.ptp(truth, axis=1).max(axis=-1)))
    if not PERSON_MM[0] < extent < PERSON_MM[1]:
        unit = next((f"; in {word}?" for word, mm in (("metres", 1000), ("centimetres", 10), ("inches", 25.4))
                     if PERSON_MM[0] < extent * mm < PERSON_MM[1]), "")  # fmt: skip
        raise UserError(f"truth_mm: the joints of a frame span {extent:.4g}; expected millimetres{unit}")
    if np.median(truth[..., 2]) <= 0:
        raise UserError("truth_mm: z is negative, behind the camera; expected x right, y down, z away from it")
    both = [(place, points.index(joint)) for place, joint in enumerate(joints) if joint in points]
    if len(both) < 3:
        return
    measured, seen = (part[:, list(rows)] for part, rows in zip((truth, pixels), zip(*both, strict=True), strict=True))
    measured = np.where(np.isfinite(seen), measured[..., :2] / measured[..., 2:], np.nan)
    measured, seen = (part - np.nanmean(part, axis=1, keepdims=True) for part in (measured, seen))
    for axis, name in enumerate("xy"):
        known = np.isfinite(seen[..., axis])
        alike = np.corrcoef(measured[..., axis][known], seen[..., axis][known])[0, 1]
        if alike < ALIKE:
            raise UserError(
                f"truth_mm: {name} of the joints does not follow that of the keypoints (correlation {alike:.2f}); "
                "expected the same frames and joints, in the axes of this camera (x right, y down, z away)"
            )


def report(name: str, sequences: list[Sequence], lifted: list[np.ndarray]) -> None:
    """Print the tables of one program, whose poses [T,K,3] about the hips are `lifted`."""
    poses, truth = np.concatenate(lifted), np.concatenate([s.truth for s in sequences])
    errors, aligned = joint_errors(poses, truth), procrustes_errors(poses, truth)
    angle, sideways, size = (
        np.concatenate([getattr(s, part) for s in sequences]) for part in ("angle", "sideways", "size")
    )
    pairs = list(zip(sequences, lifted, strict=True))
    yaw = np.concatenate([s.yaw(own) for s, own in pairs])
    slope = f"{np.polyfit(sideways, yaw, 1)[0]:.2f}" if np.ptp(sideways) > 20 else "-"
    jitter, still = (
        np.concatenate(each)
        for each in zip(*((s.accelerations(own), s.accelerations(s.truth)) for s, own in pairs), strict=True)
    )
    shaking = f"{jitter.mean():.1f} m/s2 (truth {still.mean():.1f})" if len(jitter) else "-"
    changes = [change for s, own in pairs for change in s.bones(own)]
    print(
        f"\n{name}: {len(poses):,} frames, MPJPE {errors.mean():.1f} mm, P-MPJPE {aligned.mean():.1f} mm, "
        f"N-MPJPE {scaled_errors(poses, truth).mean():.1f} mm, jitter {shaking}, "
        f"bones {f'{np.mean(changes):.1%}' if changes else '-'}, yaw per degree off the axis {slope}"
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
    try:
        model = glagcn.load_model(flags.model)
        found = [read(path, model, flags.focal) for path in flags.files]
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    for path, (sequence, _, _) in zip(flags.files, found, strict=True):
        if sequence.joints != (first := found[0][0].joints):
            raise SystemExit(f"error: {path} has other truth_joints than {flags.files[0]}; expected {', '.join(first)}")
    report(flags.model, [sequence for sequence, _, _ in found], [own.about_hips(poses) for own, poses, _ in found])
    peers = [(sequence, sequence.about_hips(peer)) for sequence, _, peer in found if peer is not None]
    if peers:
        report(
            f"peer, {len(peers)} of {len(found)} files" if len(peers) < len(found) else "peer",
            *map(list, zip(*peers, strict=True)),
        )


if __name__ == "__main__":
    main()
