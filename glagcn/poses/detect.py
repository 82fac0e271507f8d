"""Videos and folders of pictures to keypoints, by a detector that is installed beside this program.

A detector is a thin adapter: it is given upright pictures with their times, and says where whose joints are.  What it
found becomes a keypoint file (the format "detected" of glagcn.poses.keypoints.arrays), and that is what is lifted: a
kept one gives the same poses again, without the detector.
"""

import importlib
import importlib.metadata
import importlib.util
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.errors import UserError
from glagcn.files import write_arrays
from glagcn.poses.draw.video import Video
from glagcn.poses.gaps import FASTEST_FPS, USUAL_FPS
from glagcn.poses.joints import conventions_of
from glagcn.poses.times import growing
from glagcn.progress import Progress

logger = logging.getLogger(__name__)

SAVE_SECONDS = 60.0  # what is found is written so often: a killed process loses no more
MOST_PEOPLE = 6  # that MediaPipe looks for
LEAST_BOX = 0.25  # score of a person of Ultralytics who has no id
MODEL_PAGE = "https://ai.google.dev/edge/mediapipe/solutions/vision/pose_landmarker#models"
INSTALL = 'pip install "glagcn[detect]"'
OPENCV = "pip install opencv-python"

Person = tuple[np.ndarray, int | None]
"""(keypoints [J,3] of x, y in pixels and a score, the id of the person or None)."""
Detect = Callable[[np.ndarray, float], list[Person]]
"""From a picture [H,W,3] uint8, red first, contiguous, and its time in seconds, which grows, to the people in it."""


@dataclass(frozen=True)
class Detector:
    """A package that finds people in pictures.

    name     what --detector calls it; the name of its package, too.
    install  the line that installs it.
    load     with a model file or None, and whether several people are looked for: the detector, while the context
             lasts.  Raises UserError, or anything where the package fails.
    """

    name: str
    install: str
    load: Callable[[Path | None, bool], AbstractContextManager[Detect]]


# ---- the detectors


@contextmanager
def _mediapipe(model: Path | None, several: bool) -> Iterator[Detect]:
    os.environ.setdefault("GLOG_minloglevel", "2")  # else it logs what it computes with
    mediapipe: Any = importlib.import_module("mediapipe")
    if model is None:
        if not hasattr(mediapipe, "solutions"):
            raise UserError(
                f"MediaPipe {version('mediapipe')} comes without a model: download pose_landmarker_full.task from "
                f"{MODEL_PAGE} and give it with --detector-model, or install mediapipe 0.10.21, which has one"
            )
        if several:
            logger.info("MediaPipe finds one person; with --detector-model pose_landmarker_full.task, several")
        with mediapipe.solutions.pose.Pose() as network:

            def find(image: np.ndarray, _: float) -> list[Person]:
                """The landmarks of the one person that it looks for."""
                found = network.process(image).pose_landmarks
                return [] if found is None else [(_landmarks(found.landmark, image), None)]

            yield find
        return
    vision, last = mediapipe.tasks.vision, -1
    options = vision.PoseLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_buffer=model.read_bytes()),
        running_mode=vision.RunningMode.VIDEO,
        num_poses=MOST_PEOPLE if several else 1,  # of one, it also smooths the landmarks
    )
    with vision.PoseLandmarker.create_from_options(options) as landmarker:

        def detect(image: np.ndarray, seconds: float) -> list[Person]:
            """The landmarks of each person."""
            nonlocal last
            last = max(round(1000 * seconds), last + 1)  # milliseconds that must increase
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
            poses = landmarker.detect_for_video(picture, last).pose_landmarks
            return [(_landmarks(pose, image), None) for pose in poses]

        yield detect


def _landmarks(pose: Any, image: np.ndarray) -> np.ndarray:
    """[33,3] in pixels of landmarks in parts of the image."""
    return np.array([[mark.x * image.shape[1], mark.y * image.shape[0], mark.visibility] for mark in pose])


@contextmanager
def _ultralytics(model: Path | None, several: bool) -> Iterator[Detect]:  # noqa: ARG001
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")  # it would install packages by itself
    network = importlib.import_module("ultralytics").YOLO(str(model or "yolo11n-pose.pt"))
    # Without the package lap it cannot follow people; they are then followed by their boxes, as those without ids are.
    follow = network.track if importlib.util.find_spec("lap") else network.predict
    options = {"persist": True} if follow == network.track else {}

    def detect(image: np.ndarray, _: float) -> list[Person]:
        """Each person, with the number that the tracker gives if it has one."""
        found = follow(np.ascontiguousarray(image[..., ::-1]), verbose=False, **options)[0].cpu().numpy()
        if found.keypoints is None:
            raise UserError(f"the model {model} finds no poses; expected a pose model, such as yolo11n-pose.pt")
        poses, ids = found.keypoints.data, found.boxes.id
        if ids is not None:
            return [(pose, int(number)) for pose, number in zip(poses, ids, strict=True)]
        # A tracker asks for weak detections too; in frames without sure ones they come without ids.
        return [(pose, None) for pose, score in zip(poses, found.boxes.conf, strict=True) if score >= LEAST_BOX]

    yield detect


@contextmanager
def _rtmlib(model: Path | None, several: bool) -> Iterator[Detect]:  # noqa: ARG001
    rtmlib: Any = importlib.import_module("rtmlib")
    providers = importlib.import_module("onnxruntime").get_available_providers()
    where = {"backend": "onnxruntime", "device": "cuda" if "CUDAExecutionProvider" in providers else "cpu"}
    if model and "rtmo" in model.name.lower():  # finds boxes and joints in one
        boxes, network = None, rtmlib.RTMO(str(model), **where)
    else:
        body = rtmlib.BodyWithFeet(pose=str(model) if model else None, **where)
        boxes, network = body.det_model, body.pose_model
    height, width = network.session.get_inputs()[0].shape[2:]
    if isinstance(height, int) and isinstance(width, int):
        network.model_input_size = (width, height) if boxes else (height, width)

    def detect(image: np.ndarray, _: float) -> list[Person]:
        """The joints of the person in each box, or of each that one network finds."""
        picture = np.ascontiguousarray(image[..., ::-1])
        found = boxes(picture) if boxes else None
        if found is not None and not len(found):  # the pose model would take the whole picture for a person
            return []
        points, scores = network(picture) if found is None else network(picture, bboxes=found)
        return [(np.c_[pose, sure], None) for pose, sure in zip(points, scores, strict=True)]

    yield detect


# In the order in which they are taken where several are installed.
DETECTORS = {
    detector.name: detector
    for detector in (
        Detector("mediapipe", INSTALL, _mediapipe),
        Detector("ultralytics", "pip install ultralytics lap", _ultralytics),
        Detector("rtmlib", "pip install rtmlib", _rtmlib),
    )
}


def version(package: str) -> str:
    """The version of an installed package; "" where it does not say."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def find_detector(name: str | None, model: Path | None = None) -> Detector:
    """The detector of this name, or else the first that is installed.

    Raises UserError, with the line to install, where it is not, and where `model` is no file.
    """
    if name not in (None, *DETECTORS):
        raise UserError(f"unknown --detector {name!r}; must be one of {', '.join(DETECTORS)}")
    installed = [each for each in DETECTORS if importlib.util.find_spec(each)]
    if name is not None and name not in installed:
        others = f"; --detector {installed[0]} is installed" if installed else ""
        raise UserError(f"the detector {name} is not installed: {DETECTORS[name].install}{others}")
    if not installed:
        raise UserError(
            f"no detector is installed, which finds people in a video: {INSTALL} ({', '.join(DETECTORS)} are known). "
            "Without one, give a file of keypoints that any detector wrote"
        )
    if model is not None and not model.is_file():
        raise UserError(f"invalid --detector-model {model}: no such file")
    return DETECTORS[name or installed[0]]


@contextmanager
def loaded(detector: Detector, model: Path | None = None, several: bool = True) -> Iterator[Detect]:
    """The function that detects, while the context lasts.  Whatever its package raises becomes a UserError."""
    given = f" with --detector-model {model}" if model else ""
    try:
        with detector.load(model, several) as detect:
            logger.info(f"detecting with {detector.name} {version(detector.name)}{given}")
            yield detect
    except UserError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:300] or type(error).__name__
        advice = "give another" if model else "give its model with --detector-model FILE, or another --detector"
        raise UserError(f"the detector {detector.name}{given} fails ({words}); {advice}") from error


# ---- a video to a keypoint file


def order_of(joints: int, stated: str | None, detector: str) -> str:
    """The name of the order of the joints that a detector finds.  Raises UserError where it is none."""
    known = [convention.name for convention in conventions_of(joints)]
    if stated in known or (known and stated is None):
        return stated or known[0]
    raise UserError(
        f"{detector} finds {joints} joints, of which "
        + (f"--joints {stated} is no order; leave it out" if stated else "no order is known; give another model")
    )


@contextmanager
def detected(
    video: Video,
    keypoints: Path,
    detector: Detector,
    model: Path | None = None,
    joints: str | None = None,
    several: bool = False,
    keep: bool = False,
) -> Iterator[Video]:
    """Detect people in a video or a folder of pictures, and write the file `keypoints`.  Yields the video.

    detector, model  from `find_detector`, and its model file or None.
    joints           the order of the joints that the detector finds, where it has several of as many; None: the usual.
    several          look for several people, where a detector must know that.
    keep             leave the file; else it is removed at the end, unless an error or a signal ends the block: what is
                     found is then kept, also of the frames before a damaged one, and the message says where.
    Pictures are read one by one; only what is found stays in memory.  Raises UserError where nobody is found, too.
    """
    written = False
    try:
        video = _detect(video, keypoints, detector, model, joints, several)
        written = True
        yield video
    except BaseException as error:
        if not written and not keypoints.is_file():
            raise
        kept = f"the keypoints found so far are kept: glagcn lift {keypoints} --out ... lifts them"
        if isinstance(error, UserError):
            raise UserError(f"{error}; {kept}") from error
        logger.info(kept)
        raise
    if not keep:
        keypoints.unlink(missing_ok=True)


def _detect(
    video: Video, path: Path, detector: Detector, model: Path | None, joints: str | None, several: bool
) -> Video:
    """Detect in all frames and write `path`; the video, with the times of its frames."""
    shown, size = video.upright()
    times: list[float] = []
    frames: list[int] = []
    persons: list[int] = []
    poses: list[np.ndarray] = []
    order = None

    def save() -> None:
        """Write what is found so far, if anything is."""
        if not poses:
            return
        known = growing(np.array(times))
        found: dict[str, Any] = {
            "keypoints": np.stack(poses), "frame": np.array(frames), "person": np.array(persons),
            "image_size": np.array(size), "joints": np.array(order),
            "times": np.full(len(times), np.nan) if known is None else known, "video": np.array(video.path.name),
            "detector": np.array(f"{detector.name} {version(detector.name)}"),
        }  # fmt: skip
        if 0 < video.fps <= FASTEST_FPS:
            found["fps"] = np.array(video.fps)
        write_arrays(path, found)

    path.unlink(missing_ok=True)  # of another video
    saved = time.monotonic()
    try:
        with (
            loaded(detector, model, several) as detect,
            closing(shown.timed_frames(size)) as pictures,
            Progress("detected") as progress,
        ):
            for picture, seconds, total in pictures:
                clock = seconds if np.isfinite(seconds) else len(times) / (video.fps or USUAL_FPS)
                for pose, person in detect(picture, clock):
                    order = order or order_of(len(pose), joints, detector.name)
                    frames.append(len(times))
                    persons.append(-1 if person is None else person)
                    poses.append(_scored(pose))
                times.append(seconds)
                progress(len(times), max(total, len(times)))
                if time.monotonic() - saved > SAVE_SECONDS:
                    save()
                    saved = time.monotonic()
    finally:
        save()
    if not poses:
        raise UserError(f"{video.path}: {detector.name} finds nobody in any of {len(times)} frames; expected a person")
    logger.info(f"{video.path}: {len(poses)} poses in {len(set(frames))} of {len(times)} frames")
    result = replace(video)
    vars(result)["times"] = np.array(times)  # else they would be read from the whole video again
    return result


def _scored(pose: np.ndarray) -> np.ndarray:
    """[J,3] float32: of keypoints without a score, those at (0, 0) are missing."""
    pose = np.asarray(pose, np.float32)
    return pose if pose.shape[1] == 3 else np.c_[pose, pose.any(axis=1).astype(np.float32)]


def keypoints_path(out: Path | None, video: Path, keep: bool) -> Path:
    """Where the keypoints of a video go: beside an output, where there is one.

    A file that is there already is not replaced, unless it is to be kept.
    """
    if out is None:
        folder = Path() if keep else Path(tempfile.gettempdir())
        out = folder / video.resolve().name
    path = out.with_name(f"{out.stem}.keypoints.npz")
    number = 1
    while not keep and path.exists():
        number += 1
        path = out.with_name(f"{out.stem}.keypoints-{number}.npz")
    return path
