"""Small files in VideoPose3D's formats of Human3.6M and HumanEva-I, for tests: recorded people, real cameras.

    write_h36m(root)                           data_3d_h36m.npz, data_2d_h36m_gt.npz, data_2d_h36m_cpn_ft_h36m_dbb.npz
    write_humaneva(root)                       data_3d_humaneva15.npz, data_2d_humaneva15_{gt,detectron_pt_coco}.npz
    h36m_content(), humaneva_content()         the same as nested dicts, to be changed
    save(root, dataset, content)               writes such dicts, as np.savez_compressed does

The nesting is exact: positions_3d {subject: {action: [T,V,3] float32, metres, world}}, positions_2d {subject: {action:
[one [T',V,2] float32 per camera, pixels]}}, metadata.  People walk and move within a metre of the middle of the
capture space.  Everything is determined by the arguments.
"""

import zlib
from pathlib import Path

import numpy as np

from glagcn.data.mocap.motion import joints_of
from glagcn.data.videopose3d.cameras import cameras_of, project, to_camera

H36M_SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
H36M_ACTIONS = ("Directions 1", "Walking", "Walking 1")
HUMANEVA_SUBJECTS = ("Train/S1", "Train/S2", "Train/S3", "Validate/S1", "Validate/S2", "Validate/S3")
HUMANEVA_ACTIONS = ("Walking 1", "Jog 1")

# The joints of a pose in the order of Human3.6M's 17 and HumanEva's 15, as joints of MPI-INF-3DHP, which the
# recorded people have.
TO_H36M = [14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4]
TO_HUMANEVA = [14, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 0]
H36M_KEPT = [j for j in range(32) if j not in (4, 5, 9, 10, 11, 16, *range(20, 25), *range(28, 32))]
# What the removed joints of the 32 hang on, by their place in the 17: feet, doubled joints, hands.
FEET_AND_DOUBLES = {4: 3, 5: 3, 9: 6, 10: 6, 11: 0, 16: 8}
H36M_EXTRA = FEET_AND_DOUBLES | dict.fromkeys(range(20, 25), 13) | dict.fromkeys(range(28, 32), 16)

H36M_METADATA = {
    "num_joints": 17, "keypoints_symmetry": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]],
}  # fmt: skip
HUMANEVA_METADATA = {
    "layout_name": "humaneva15", "num_joints": 15,
    "keypoints_symmetry": [[2, 3, 4, 8, 9, 10], [5, 6, 7, 11, 12, 13]],
}  # fmt: skip
COCO_METADATA = {
    "layout_name": "coco", "num_joints": 17,
    "keypoints_symmetry": [[1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]],
}  # fmt: skip

LONG_TRIALS = ("13_18", "13_26", "14_12", "60_01", "88_11", "94_04", "135_file06")

Content = dict[str, dict]
"""{"3d": positions_3d, "<keypoints>": {"positions_2d": ..., "metadata": ...}, ...}"""


def write_h36m(root: Path, keypoints=("gt", "cpn_ft_h36m_dbb"), **choices: object) -> Path:
    """The 3D file and one 2D file for each of `keypoints`; choices as in `h36m_content`; returns `root`."""
    return save(root, "h36m", h36m_content(keypoints, **choices))


def write_humaneva(root: Path, keypoints=("gt", "detectron_pt_coco"), **choices: object) -> Path:
    """The 3D file and one 2D file for each of `keypoints`; choices as in `humaneva_content`; returns `root`."""
    return save(root, "humaneva15", humaneva_content(keypoints, **choices))


def save(root: Path, dataset: str, content: Content) -> Path:
    """Write data_3d_<dataset>.npz and data_2d_<dataset>_<keypoints>.npz; returns `root`."""
    root.mkdir(parents=True, exist_ok=True)
    for name, part in content.items():
        if name == "3d":
            np.savez_compressed(root / f"data_3d_{dataset}.npz", positions_3d=part)
        else:
            np.savez_compressed(root / f"data_2d_{dataset}_{name}.npz", **part)
    return root


def h36m_content(
    keypoints=("gt", "cpn_ft_h36m_dbb"), frames: int = 24, actions=H36M_ACTIONS, subjects=H36M_SUBJECTS
) -> Content:
    """Human3.6M: `frames` of 3D in every take, 32 joints.

    2D of "gt" is the projection, of any other source that and noise of 4 pixels.  The 2D of "Walking" is three frames
    longer than its 3D.  Detectors also have S2, which has no 3D.  S11 has no "Directions", as in the real files.
    """
    content: Content = {"3d": {}, **{name: {"positions_2d": {}, "metadata": dict(H36M_METADATA)} for name in keypoints}}
    for subject in (*subjects, "S2"):
        for action in actions:
            if (subject, action) == ("S11", "Directions"):
                continue
            poses = world_motion("h36m", subject, action, frames + 3)[:, TO_H36M]
            shown = frames + 3 if action == "Walking" else frames
            if subject != "S2":
                content["3d"].setdefault(subject, {})[action] = with_extra_joints(poses[:frames])
            cameras = cameras_of("h36m", subject if subject != "S2" else "S1")
            views = [project(to_camera(1000 * poses[:shown], camera), camera) for camera in cameras]
            for name in keypoints:
                if subject != "S2" or name != "gt":
                    found = _detected(views, 0 if name == "gt" else 4.0, f"{name}/{subject}/{action}")
                    content[name]["positions_2d"].setdefault(subject, {})[action] = found
    return content


def humaneva_content(keypoints=("gt", "detectron_pt_coco"), frames: int = 24, actions=HUMANEVA_ACTIONS) -> Content:
    """HumanEva-I: each take in the chunks 0 and 2, the number between having been skipped for corrupt mocap.

    2D of "gt" has 15 joints; any other source has 17 in COCO's order, also for "Unlabeled/S4" and the skipped chunk.
    Validate/S3 also has the chunk "Walking 1 chunk4" (its first action's), whose 3D holds a NaN.
    """
    content: Content = {"3d": {}}
    for name in keypoints:
        metadata = HUMANEVA_METADATA if name == "gt" else COCO_METADATA
        content[name] = {"positions_2d": {}, "metadata": dict(metadata)}
    for subject in HUMANEVA_SUBJECTS:
        for action in actions:
            for chunk in (0, 1, 2, 4):
                corrupt = chunk == 4
                if corrupt and (subject, action) != ("Validate/S3", actions[0]):
                    continue
                named = f"{action} chunk{chunk}"
                poses = world_motion("humaneva15", subject, named, frames)
                if chunk != 1:
                    content["3d"].setdefault(subject, {})[named] = poses[:, TO_HUMANEVA].astype(np.float32)
                if corrupt:
                    content["3d"][subject][named][frames // 2, 4] = np.nan
                for name in keypoints:
                    _add_humaneva_2d(content[name]["positions_2d"], name, subject, named, poses)
    for name in keypoints:
        if name != "gt":
            blank = np.zeros((frames, 17, 2), np.float32)
            content[name]["positions_2d"]["Unlabeled/S4"] = {"Walking 1": [blank, None, blank]}
    return content


def _add_humaneva_2d(positions: dict, name: str, subject: str, action: str, poses: np.ndarray) -> None:
    skipped = action.endswith("chunk1")
    if name == "gt" and skipped:
        return
    joints = poses[:, TO_HUMANEVA] if name == "gt" else coco(poses)
    views = [lens(to_camera(1000 * joints, camera)) for camera in cameras_of("humaneva15", subject)]
    found = _detected(views, 0 if name == "gt" else 3.0, f"{name}/{subject}/{action}")
    positions.setdefault(f"Unlabeled/{subject}" if skipped else subject, {})[action] = found


def world_motion(dataset: str, subject: str, action: str, frames: int) -> np.ndarray:
    """[T,17,3] metres, joints of MPI-INF-3DHP, z up: somebody who moves about the middle of the capture space."""
    number = _number(f"{dataset}/{subject}/{action}")
    joints = joints_of(LONG_TRIALS[number % len(LONG_TRIALS)], "mpi3dhp17")
    begin = number % (len(joints) - frames)
    joints = joints[begin : begin + frames] - joints[begin, 14] * [1, 0, 1]
    return np.stack([joints[..., 0], -joints[..., 2], joints[..., 1]], axis=-1)


def with_extra_joints(poses: np.ndarray) -> np.ndarray:
    """[T,32,3] float32 of Human3.6M's 17 joints [T,17,3]: the removed ones lie beside those they hang on."""
    full = np.zeros((len(poses), 32, 3), np.float32)
    full[:, H36M_KEPT] = poses
    for joint, parent in H36M_EXTRA.items():
        full[:, joint] = poses[:, parent] + [0.0, 0.03 * (joint % 4), -0.02]
    return full


def coco(poses: np.ndarray) -> np.ndarray:
    """[T,17,3] in COCO's order of joints of MPI-INF-3DHP; nose, eyes and ears are at the head."""
    return poses[:, [16, 16, 16, 16, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]]


def lens(points: np.ndarray) -> np.ndarray:
    """The pixels of camera-space points seen through a plain lens: the files of HumanEva-I have no intrinsics."""
    return points[..., :2] / points[..., 2:] * 750.0 + [320.0, 240.0]


def _detected(views: list[np.ndarray], noise: float, name: str) -> list[np.ndarray]:
    rng = np.random.default_rng(_number(name))
    return [(view + noise * rng.normal(size=view.shape)).astype(np.float32) for view in views]


def _number(text: str) -> int:
    return zlib.crc32(text.encode())
