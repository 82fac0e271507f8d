"""Keypoint files in the layouts that detectors document, written from one array of people."""

import json
from functools import partial
from pathlib import Path

import numpy as np

from glagcn.poses.joints import MEDIAPIPE33

SIZE = (640, 480)
FRAMES, PEOPLE = 6, 2
ABSENT = (2, 1)  # the second person is not there in frame 2


def people(joints: int) -> np.ndarray:
    """[T,P,J,3]: pixels and confidences of two people, with one joint missing, and NaN where somebody is not there."""
    rng = np.random.default_rng(joints)
    pixels = rng.uniform((10, 10), (630, 470), (FRAMES, PEOPLE, joints, 2))
    keypoints = np.concatenate([pixels, rng.uniform(0.3, 1, (FRAMES, PEOPLE, joints, 1))], axis=-1).round(4)
    keypoints[3, 0, 5] = 0
    keypoints[ABSENT] = np.nan
    return keypoints


def expected(keypoints: np.ndarray) -> np.ndarray:
    """[D,J,3] of all who are there, in the order of the frames."""
    flat = keypoints.reshape(-1, *keypoints.shape[2:])
    return flat[~np.isnan(flat[:, 0, 0])].astype(np.float32)


def rows(keypoints: np.ndarray):
    """(frame, person, pose) of all who are there."""
    for frame, found in enumerate(keypoints):
        for person, pose in enumerate(found):
            if not np.isnan(pose).any():
                yield frame, person, pose


def of_frames(keypoints: np.ndarray, make) -> list[list]:
    """For each frame the list of `make(person, pose)`."""
    frames: list[list] = [[] for _ in keypoints]
    for frame, person, pose in rows(keypoints):
        frames[frame].append(make(person, pose))
    return frames


def _save(path: Path, value) -> Path:
    path.write_text(json.dumps(value))
    return path


def alphapose(root: Path, keypoints) -> Path:
    poses = [
        {"image_id": f"{frame}.jpg", "category_id": 1, "keypoints": pose.ravel().tolist(), "score": 2.5,
         "box": [1.0, 2.0, 3.0, 4.0], "idx": [person + 1]}
        for frame, person, pose in rows(keypoints)
    ]  # fmt: skip
    return _save(root / "alphapose-results.json", poses)


def _alphapose_images(root: Path, keypoints, people: str, pose_name: str) -> Path:
    frames = of_frames(keypoints, lambda _, pose: {pose_name: pose.ravel().tolist()})
    images = {f"{n}.jpg": {"version": "AlphaPose v0.3", people: found} for n, found in enumerate(frames)}
    return _save(root / "alphapose-results.json", images)


alphapose_cmu = partial(_alphapose_images, people="bodies", pose_name="joints")
alphapose_open = partial(_alphapose_images, people="people", pose_name="pose_keypoints_2d")


def coco(root: Path, keypoints) -> Path:
    poses = [
        {"image_id": frame, "category_id": 1, "keypoints": pose.ravel().tolist(), "score": 0.5}
        for frame, _, pose in rows(keypoints)
    ]
    return _save(root / "results.json", poses)


def _file_per_frame(root: Path, keypoints, make, name: str) -> Path:
    for frame, found in enumerate(of_frames(keypoints, make)):
        _save(root / name.format(frame), found)
    return root


def openpose(root: Path, keypoints) -> Path:
    def person(_, pose):
        return {"person_id": [-1], "pose_keypoints_2d": pose.ravel().tolist(), "face_keypoints_2d": []}

    for frame, found in enumerate(of_frames(keypoints, person)):
        _save(root / f"video_{frame:012d}_keypoints.json", {"version": 1.3, "people": found})
    return root


def _mmpose_instance(person, pose):
    return {"keypoints": pose[:, :2].tolist(), "keypoint_scores": pose[:, 2].tolist(), "bbox": [[1, 2, 3, 4]],
            "bbox_score": 0.9}  # fmt: skip


def mmpose_video(root: Path, keypoints) -> Path:
    frames = of_frames(keypoints, _mmpose_instance)
    return _save(root / "v.json", [{"frame_id": n, "instances": found} for n, found in enumerate(frames)])


def mmpose_demo(root: Path, keypoints) -> Path:
    frames = of_frames(keypoints, _mmpose_instance)
    found = [{"frame_id": n + 1, "instances": instances} for n, instances in enumerate(frames)]
    return _save(root / "results.json", {"meta_info": {"dataset_name": "coco"}, "instance_info": found})


def mmpose_lists(root: Path, keypoints) -> Path:
    return _save(root / "predictions.json", of_frames(keypoints, _mmpose_instance))


mmpose_images = partial(_file_per_frame, make=_mmpose_instance, name="img_{:05d}.json")


def _ultralytics_instance(person, pose):
    x, y, visible = pose.T.tolist()
    return {"name": "person", "class": 0, "confidence": 0.8, "track_id": person + 1,
            "box": {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0},
            "keypoints": {"x": x, "y": y, "visible": visible}}  # fmt: skip


def ultralytics_list(root: Path, keypoints) -> Path:
    return _save(root / "yolo.json", of_frames(keypoints, _ultralytics_instance))


def ultralytics_texts(root: Path, keypoints) -> Path:
    return _save(root / "yolo.json", [json.dumps(found) for found in of_frames(keypoints, _ultralytics_instance)])


def ultralytics_lines(root: Path, keypoints) -> Path:
    texts = [json.dumps(found, indent=2) for found in of_frames(keypoints, _ultralytics_instance)]
    (root / "yolo.json").write_text("\n".join(texts))
    return root / "yolo.json"


ultralytics_folder = partial(_file_per_frame, make=_ultralytics_instance, name="frame{}.json")


def labels(root: Path, keypoints, extra=lambda person: "") -> Path:
    def line(person, pose):
        numbers = (pose / [*SIZE, 1]).ravel()
        return " ".join(["0", *(f"{number:.8f}" for number in (0.5, 0.5, 0.1, 0.2, *numbers))]) + extra(person) + "\n"

    for frame, found in enumerate(of_frames(keypoints, line)):
        if found:  # a frame without a person has no file
            (root / f"video_{frame + 1}.txt").write_text("".join(found))
    return root


labels_tracked = partial(labels, extra=lambda person: f" 0.8 {person + 1}")


def _landmarks(person, pose):
    parts = pose / [*SIZE, 1]
    return [{"x": x, "y": y, "z": 0.1, "visibility": v} for x, y, v in parts.tolist()]


def mediapipe_frames(root: Path, keypoints) -> Path:
    frames = [{"frame": n, "landmarks": found} for n, found in enumerate(of_frames(keypoints, _landmarks))]
    return _save(root / "pose.json", {"fps": 30, "width": SIZE[0], "height": SIZE[1], "frames": frames})


def mediapipe_single(root: Path, keypoints) -> Path:
    """Frames of one pose, or null."""
    frames = of_frames(keypoints[:, :1], _landmarks)
    return _save(root / "pose.json", [found[0] if found else None for found in frames])


def mediapipe_by_number(root: Path, keypoints) -> Path:
    frames = of_frames(keypoints[:, :1], _landmarks)
    named = [dict(zip((n.upper() for n in MEDIAPIPE33), found[0], strict=True)) for found in frames]
    return _save(root / "pose.json", {str(n): {"pose_landmarks": pose} for n, pose in enumerate(named)})


def mediapipe_rows(root: Path, keypoints) -> Path:
    parts = (keypoints[:, 0] / [*SIZE, 1])[:, :, [0, 1, 1, 2]]
    return _save(root / "pose.json", {"pose_landmarks": parts.tolist()})


def _table(root: Path, header, lines) -> Path:
    text = "\n".join(",".join(map(str, line)) for line in ([header] if header else []) + lines)
    (root / "pose.csv").write_text(text + "\n")
    return root / "pose.csv"


def _parts(pose) -> list:
    return [number for x, y, v in (pose / [*SIZE, 1]).tolist() for number in (x, y, 0.1, v)]


def table_wide(root: Path, keypoints) -> Path:
    header = ["frame", *(f"{name.upper()}_{axis}" for name in MEDIAPIPE33 for axis in ("x", "y", "z", "visibility"))]
    return _table(root, header, [[n, *_parts(pose[0])] for n, pose in enumerate(keypoints)])


def table_numbered(root: Path, keypoints) -> Path:
    header = ["frame", "person", *(f"{axis}{n}" for n in range(1, 34) for axis in "xyzv")]
    return _table(root, header, [[n, person, *_parts(pose)] for n, person, pose in rows(keypoints)])


def table_bare(root: Path, keypoints) -> Path:
    return _table(root, None, [_parts(pose[0]) for pose in keypoints])


def table_long(root: Path, keypoints) -> Path:
    lines = [
        [frame, person, name, x, y, 0.1, v]
        for frame, person, pose in rows(keypoints)
        for name, (x, y, v) in zip(MEDIAPIPE33, (pose / [*SIZE, 1]).tolist(), strict=True)
    ]
    return _table(root, ["frame", "person_id", "landmark", "x", "y", "z", "visibility"], lines)


def custom(root: Path, keypoints) -> Path:
    metadata = {"layout_name": "coco", "num_joints": 17, "keypoints_symmetry": [[1], [2]],
                "video_metadata": {"v.mp4": {"w": SIZE[0], "h": SIZE[1]}}}  # fmt: skip
    positions = {"v.mp4": {"custom": [keypoints[:, 0, :, :2].astype(np.float32)]}}
    np.savez_compressed(root / "data_2d_custom_me.npz", positions_2d=positions, metadata=metadata)
    return root / "data_2d_custom_me.npz"


def detector(root: Path, keypoints) -> Path:
    def kept(make):
        entries = np.empty((len(keypoints), 2), object)
        for frame, found in enumerate(of_frames(keypoints, make)):
            entries[frame, 0], entries[frame, 1] = [], np.array(found) if found else []
        return entries

    found = kept(lambda _, pose: np.concatenate([pose[:, :2], np.zeros((len(pose), 1)), pose[:, 2:] / 100], axis=1).T)
    boxes = kept(lambda person, _: [1, 2, 3, 4, 0.5 + person])
    metadata = {"w": SIZE[0], "h": SIZE[1]}
    np.savez_compressed(root / "v.mp4.npz", boxes=boxes, segments=None, keypoints=found, metadata=metadata)
    return root / "v.mp4.npz"


def array(root: Path, keypoints) -> Path:
    np.save(root / "k.npy", keypoints[:, 0])
    return root / "k.npy"


def array_first_axis(root: Path, keypoints) -> Path:
    return array(root, keypoints[None].swapaxes(1, 2))


def array_people(root: Path, keypoints) -> Path:
    np.savez(root / "k.npz", keypoints=keypoints, image_size=SIZE, fps=50, joints="coco17")
    return root / "k.npz"


def array_and_confidence(root: Path, keypoints) -> Path:
    np.savez(root / "k.npz", keypoints=keypoints[:, 0, :, :2], confidence=keypoints[:, 0, :, 2])
    return root / "k.npz"
