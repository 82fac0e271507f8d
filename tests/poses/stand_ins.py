"""Stand-ins for the packages of detectors, which are too large for CI, with as much of their interfaces as is used.

They find the people of `film_people`, white rectangles on dark pictures, and give each the pose whose box it is.
"""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np

from glagcn.poses.draw.video import write_animation
from glagcn.poses.joints import CONVENTIONS
from tests.commands.filmed import FPS, SIZE, keypoints

PACKAGES = ("mediapipe", "ultralytics", "rtmlib", "onnxruntime", "lap")
NEAR = {"inner": "eye", "outer": "eye", "mouth": "nose", "pinky": "wrist", "index": "wrist", "thumb": "wrist",
        "heel": "ankle", "toe": "ankle", "head": "nose", "neck": "nose"}  # fmt: skip
TEMPLATE = keypoints(1)[0, 0]
COCO = CONVENTIONS["coco17"].joints


def boxes_of(poses: np.ndarray) -> np.ndarray:
    """[...,4] left, top, right, bottom in whole pixels of poses [...,J,3]."""
    return np.concatenate([poses[..., :2].min(axis=-2), poses[..., :2].max(axis=-2)], axis=-1).round().astype(int)


def pictures(frames: int = 40, people: int = 1, size: tuple[int, int] = SIZE):
    """The pictures [H,W,3] of a film."""
    for boxes in boxes_of(keypoints(frames)[:, :people]):
        picture = np.full((size[1], size[0], 3), 20, np.uint8)
        for left, top, right, bottom in boxes:
            picture[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = 240
        yield picture


def film_people(path: Path, frames: int = 40, people: int = 1, times: np.ndarray | None = None) -> Path:
    """A video of them."""
    write_animation(path, pictures(frames, people), SIZE, FPS, 3000, times)
    return path


def found_in(image: np.ndarray, joints: str) -> list[np.ndarray]:
    """[J,3] of each person in a picture, red first."""
    assert image.flags.c_contiguous
    assert image.dtype == np.uint8
    bright = image[..., 0] > 128
    edges = np.flatnonzero(np.diff(np.r_[False, bright.any(axis=0), False].astype(int)))
    found = []
    for left, right in edges.reshape(-1, 2):
        rows = np.flatnonzero(bright[:, left:right].any(axis=1))
        pose = TEMPLATE.copy()
        low, high = pose[:, :2].min(axis=0), pose[:, :2].max(axis=0)
        box = np.array([[left, rows[0]], [right - 1, rows[-1]]], float)
        pose[:, :2] = box[0] + (pose[:, :2] - low) / (high - low) * (box[1] - box[0])
        found.append(pose[[COCO.index(_nearest(point)) for point in CONVENTIONS[joints].points]])
    return found


def _nearest(point: str) -> str:
    if point in COCO:
        return point
    side = "left_" if "left" in point else "right_"
    if point == "pelvis":
        return "left_hip"
    part = next(part for word, part in NEAR.items() if word in point)
    return part if part in COCO else side + part


# ---- the packages


class _Landmarker:
    """mediapipe.solutions.pose.Pose and mediapipe.tasks.vision.PoseLandmarker."""

    def __init__(self, options=None):
        self.most, self.last = (options.num_poses, -1) if options else (1, -1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def _marks(self, image):
        height, width = image.shape[:2]
        return [
            [SimpleNamespace(x=x / width, y=y / height, visibility=c) for x, y, c in pose]
            for pose in found_in(image, "mediapipe33")[: self.most]
        ]

    def process(self, image):
        poses = self._marks(image)
        return SimpleNamespace(pose_landmarks=SimpleNamespace(landmark=poses[0]) if poses else None)

    def detect_for_video(self, image, milliseconds):
        assert milliseconds > self.last
        self.last = milliseconds
        return SimpleNamespace(pose_landmarks=self._marks(image.data))


def _mediapipe(module: ModuleType, solutions: bool) -> None:
    def load(options):
        if options.base_options.model_asset_buffer != b"a model":
            raise ValueError("Unable to open zip archive.")
        return _Landmarker(options)

    if solutions:
        module.solutions = SimpleNamespace(pose=SimpleNamespace(Pose=_Landmarker))
    module.ImageFormat, module.Image = SimpleNamespace(SRGB=1), lambda image_format, data: SimpleNamespace(data=data)
    module.tasks = SimpleNamespace(BaseOptions=SimpleNamespace, vision=SimpleNamespace(
        PoseLandmarkerOptions=SimpleNamespace, RunningMode=SimpleNamespace(VIDEO=2),
        PoseLandmarker=SimpleNamespace(create_from_options=load),
    ))  # fmt: skip


class _Yolo:
    def __init__(self, model):
        if model == "lost.pt":
            raise FileNotFoundError(f"[Errno 2] No such file or directory: {model!r}")

    def predict(self, image, verbose):
        return [self._result(image, False)]

    def track(self, image, verbose, persist):
        assert persist
        return [self._result(image, True)]

    def _result(self, image, ids):
        poses = found_in(np.ascontiguousarray(image[..., ::-1]), "coco17")
        data = np.stack(poses) if poses else np.empty((0, 17, 3))
        if not ids:  # a weak detection beside the people
            data = np.concatenate([data, data[:1] + 1])
        boxes = SimpleNamespace(
            id=np.arange(len(poses)) + 7.0 if ids and poses else None,
            conf=np.r_[np.full(len(poses), 0.9), 0.2][: len(data)],
        )
        result = SimpleNamespace(keypoints=SimpleNamespace(data=data), boxes=boxes)
        result.cpu = lambda: SimpleNamespace(numpy=lambda: result)
        return result


class _Body:
    """rtmlib.BodyWithFeet, whose pose model takes the whole picture for a person where there is no box."""

    def __init__(self, pose, backend, device):
        session = SimpleNamespace(get_inputs=lambda: [SimpleNamespace(shape=["batch", 3, 256, 192])])
        self.pose_model = _Pose(session)

    def det_model(self, image):
        return [] if not found_in(np.ascontiguousarray(image[..., ::-1]), "halpe26") else [[0, 0, 1, 1]]


class _Pose:
    def __init__(self, session):
        self.session, self.model_input_size = session, None

    def __call__(self, image, bboxes):
        assert len(bboxes)
        assert self.model_input_size == (192, 256)
        poses = np.stack(found_in(np.ascontiguousarray(image[..., ::-1]), "halpe26"))
        return poses[..., :2], 8 * poses[..., 2]


def install(monkeypatch, *names: str, solutions: bool = True) -> None:
    """Let only these packages be there; solutions: mediapipe is of the time when it had them."""
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: (
        (ModuleSpec(name, None) if name in names else None) if name in PACKAGES else real(name)
    ))  # fmt: skip
    for name in names:
        module = ModuleType(name)
        if name == "mediapipe":
            _mediapipe(module, solutions)
        elif name == "ultralytics":
            module.YOLO = _Yolo
        elif name == "rtmlib":
            module.BodyWithFeet = _Body
            providers = ModuleType("onnxruntime")
            providers.get_available_providers = lambda: ["CPUExecutionProvider"]
            monkeypatch.setitem(sys.modules, "onnxruntime", providers)
        monkeypatch.setitem(sys.modules, name, module)
