"""docs/lift.md: its flags, and what its snippets write.  Detectors are stand-ins that find known keypoints."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

import glagcn
import glagcn.cli
from tests.commands.filmed import SIZE, film, keypoints
from tests.commands.test_lift import arrays, mediapipe
from tests.poses.keypoints import written

TEXT = (Path(__file__).parents[2] / "docs/lift.md").read_text(encoding="utf-8")
FRAMES = 12


def module(name: str, **members) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(members)
    return made


def ultralytics(folder: Path) -> dict[str, ModuleType]:
    texts = json.loads(written.ultralytics_texts(folder, keypoints(FRAMES)).read_text())

    class Yolo:
        def __init__(self, weights: str) -> None:
            assert weights.endswith("-pose.pt")

        def track(self, path: str, stream: bool):
            assert (path, stream) == ("clip.mp4", True)
            return (SimpleNamespace(to_json=lambda text=text: text) for text in texts)

    return {"ultralytics": module("ultralytics", YOLO=Yolo)}


def mediapipe_modules(_: Path) -> dict[str, ModuleType]:
    found = mediapipe(keypoints(FRAMES)) / [*SIZE, 1]
    pictures = iter([*range(FRAMES), None])
    times = []

    class Landmarker:
        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def detect_for_video(self, image: int, time: int) -> SimpleNamespace:
            times.append(time)
            assert times == sorted(set(times))
            marks = [[SimpleNamespace(x=x, y=y, z=0.0, visibility=v) for x, y, v in pose] for pose in found[image, :1]]
            return SimpleNamespace(pose_landmarks=marks)

    def video(path: str) -> SimpleNamespace:
        assert path == "clip.mp4"

        def read() -> tuple[bool, int | None]:
            picture = next(pictures)
            return picture is not None, picture

        return SimpleNamespace(read=read, get=lambda _: 25.0)

    create = SimpleNamespace(create_from_options=lambda _: Landmarker())
    vision = SimpleNamespace(
        PoseLandmarkerOptions=lambda **_: None, RunningMode=SimpleNamespace(VIDEO=1), PoseLandmarker=create
    )
    tasks = SimpleNamespace(vision=vision, BaseOptions=lambda model_asset_path: model_asset_path)
    images = {"Image": lambda image_format, data: data, "ImageFormat": SimpleNamespace(SRGB=1)}
    cv2 = {"VideoCapture": video, "CAP_PROP_FPS": 5, "COLOR_BGR2RGB": 4, "cvtColor": lambda image, _: image}
    return {"mediapipe": module("mediapipe", tasks=tasks, **images), "cv2": module("cv2", **cv2)}


def mmpose(_: Path) -> dict[str, ModuleType]:
    class Inferencer:
        def __init__(self, alias: str) -> None:
            assert alias == "human"

        def __call__(self, path: str, pred_out_dir: str):
            yield from range(FRAMES)
            folder = Path(pred_out_dir)
            folder.mkdir()
            written.mmpose_video(folder, keypoints(FRAMES)).rename(folder / f"{Path(path).stem}.json")

    return {"mmpose": module("mmpose"), "mmpose.apis": module("mmpose.apis", MMPoseInferencer=Inferencer)}


def vitpose_poses(frame: np.ndarray) -> list[dict[str, torch.Tensor]]:
    """What post_process_pose_estimation gives for an image: a dictionary of tensors for each box."""
    return [
        {
            "keypoints": torch.tensor(pose[:, :2], dtype=torch.float32),
            "scores": torch.tensor(pose[:, 2], dtype=torch.float32),
            "labels": torch.arange(17),
            "bbox": torch.tensor([10.0, 20.0, 110.0, 220.0]),
        }
        for pose in frame
    ]


def vitpose(_: Path) -> dict[str, ModuleType]:
    found = keypoints(FRAMES)[:, :1]
    pictures = iter([*(np.full((SIZE[1], SIZE[0], 3), number, np.uint8) for number in range(FRAMES)), None])

    class Processor:
        def __call__(self, image: np.ndarray, return_tensors: str, boxes: list | None = None) -> dict:
            assert return_tensors == "pt"
            return {"number": int(image[0, 0, 0])}

        def post_process_object_detection(self, outputs: int, target_sizes: torch.Tensor, threshold: float) -> list:
            assert target_sizes.tolist() == [[SIZE[1], SIZE[0]]]
            boxes = torch.tensor([[10.0, 20.0, 110.0, 220.0], [0.0, 0.0, 9.0, 9.0]])
            return [{"boxes": boxes, "labels": torch.tensor([0, 16]), "scores": torch.tensor([0.9, 0.8])}]

        def post_process_pose_estimation(self, outputs: int, boxes: list) -> list:
            assert [box.tolist() for box in boxes] == [[[10, 20, 100, 200]]]
            return [vitpose_poses(found[outputs])]

    def model(_: str) -> SimpleNamespace:
        return lambda number: number

    transformers = {
        "AutoProcessor": SimpleNamespace(from_pretrained=lambda _: Processor()),
        "RTDetrForObjectDetection": SimpleNamespace(from_pretrained=model),
        "VitPoseForPoseEstimation": SimpleNamespace(from_pretrained=model),
    }
    video = SimpleNamespace(read=lambda: (True, next(pictures)))
    cv2 = {"VideoCapture": lambda _: video, "COLOR_BGR2RGB": 4, "cvtColor": lambda image, _: image}
    return {"transformers": module("transformers", **transformers), "cv2": module("cv2", **cv2)}


def test_the_poses_of_vitpose_become_the_array_that_predict_takes(shipped):
    poses = [vitpose_poses(frame)[0] for frame in keypoints(FRAMES)]
    array = eval(re.search(r"`(torch\.stack\(.*?)`", TEXT)[1], {"torch": torch, "poses": poses})
    np.testing.assert_allclose(array, keypoints(FRAMES)[:, 0], rtol=1e-6)
    expected = glagcn.predict("centred", keypoints(FRAMES)[:, 0], SIZE, joints="coco17")
    np.testing.assert_allclose(glagcn.predict("centred", array, SIZE, joints="coco17"), expected, atol=0.01)


@pytest.mark.parametrize(("number", "detector"), [(0, ultralytics), (1, mediapipe_modules), (2, mmpose), (3, vitpose)])
def test_what_each_snippet_writes_is_lifted_by_the_command_after_it(
    number, detector, verb, shipped, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    snippet, command = re.findall(r"```python\n(.*?)```\n\n    glagcn (.*?)\n", TEXT, flags=re.DOTALL)[number]
    for name, made in detector(tmp_path).items():
        monkeypatch.setitem(sys.modules, name, made)
    exec(snippet, {})
    film(Path("clip.mp4"), FRAMES)
    ended = verb(f"{command} --out p.npz")
    assert ended.code == 0, ended.err
    assert Path("person.bvh").exists()
    wrist = arrays("p.npz")["joints"].tolist().index("left_wrist")
    np.testing.assert_allclose(arrays("p.npz")["pixels"][:, wrist], keypoints(FRAMES)[:, 0, 9, :2], atol=0.05)


def test_the_table_names_every_flag():
    verbs = glagcn.cli._parser()._subparsers._group_actions[0].choices
    flags = {option for option in verbs["lift"]._option_string_actions if option.startswith("--")}
    flags -= {"--help", "--flip", "--image-size", "--min-confidence", "--detector-model", "--keep-keypoints"}
    table = TEXT.split("## Flags")[1].split("##")[0]
    assert set(re.findall(r"^\| `(--[\w-]+)", table, flags=re.MULTILINE)) == flags
