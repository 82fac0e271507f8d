"""`glagcn live`: what a camera films, lifted frame by frame, in a window or as a stream of lines of JSON."""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO

from glagcn.commands.lift import add_detector
from glagcn.config.parse import in_home
from glagcn.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from glagcn.poses.lift import Lifter
    from glagcn.skeletons import Skeleton

logger = logging.getLogger(__name__)

FPS = 30.0  # of the grid on which the frames are placed
SIDE, REACH_MM = 480, 1200  # of the window with the pose, pixels; half of what it shows
BONE = (90, 60, 30)
WITHOUT_WINDOW = "give --out FILE or --out -, for lines of JSON"
Frames = Generator[tuple["np.ndarray", float], None, None]
"""Upright pictures [H,W,3] uint8, red first, and their seconds, which may be NaN."""


def add_live(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("live", help="lift what a camera films, as it comes")
    parser.add_argument(
        "source", nargs="?", default="0", metavar="CAMERA",
        help="number of the camera (default: 0), a video file, or - for a video on standard input",
    )  # fmt: skip
    parser.add_argument(
        "--out", metavar="FILE", help="write a line of JSON for each pose, - for standard output, and show no window"
    )
    parser.add_argument(
        "--checkpoint", type=in_home, default="causal", metavar="FILE",
        help="a trained model: a file, or causal (default) or centred, which come with the program",
    )  # fmt: skip
    add_detector(parser)
    parser.add_argument("--focal", type=float, metavar="PIXELS", help="focal length (default: a view of 55 degrees)")
    parser.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, default=True,
        help="average with the prediction for the mirrored poses (default: on)",
    )  # fmt: skip
    parser.set_defaults(verb=live)


def live(options: dict[str, Any]) -> None:
    """Lift one person, the largest at first, until the source ends or q is pressed.  Raises UserError."""
    import numpy as np

    from glagcn.checkpoints.find import find_model
    from glagcn.checkpoints.load import load_model
    from glagcn.poses.detect import find_detector, loaded, order_of
    from glagcn.poses.lift import Lifter

    path, out = find_model(options["checkpoint"]), options["out"]
    weights = Path(options["detector_model"]) if options["detector_model"] else None
    detector = find_detector(options["detector"], weights)
    lifter: Lifter | None = None
    last, count, seen = None, 0, 0
    refused: set[str] = set()
    with ExitStack() as stack:
        frames = stack.enter_context(closing(_frames(options["source"])))
        image, seconds = next(frames)
        show = stack.enter_context(_output(out) if out else _window())
        detect = stack.enter_context(loaded(detector, weights, several=False))
        going = True
        while going:
            seconds = seconds if np.isfinite(seconds) else count / FPS
            last = _same_person(detect(image, seconds), last)
            if lifter is None and last is not None:
                size, joints = (image.shape[1], image.shape[0]), order_of(len(last), None, detector.name)
                model = load_model(path)
                lifter = Lifter(model, size, FPS, joints=joints, flip=options["flip"], focal=options["focal"])
            pose, delay = None, lifter.delay / FPS if lifter else 0.0
            try:
                pose = lifter.push(last, seconds) if lifter else None
            except UserError as error:  # of this frame alone
                if str(error) not in refused:
                    logger.warning(f"frame {count} is left out: {error}")
                refused.add(str(error))
            count, seen = count + 1, seen + (last is not None)
            going = show(image, lifter, pose, seconds - delay, last is not None)
            following = next(frames, None) if going else None
            if following is None:
                break
            image, seconds = following
        if lifter and going:
            for number, pose in enumerate(lifter.finish(), start=1):
                show(image, lifter, pose, seconds + (number - lifter.delay) / FPS, True)
        if not seen:
            raise UserError(f"{detector.name} finds nobody in any of {count} frames; expected a person in the picture")
        logger.info(f"{count} frames, with a person in {seen}")


def _same_person(people: "list", last: "np.ndarray | None") -> "np.ndarray | None":
    """The keypoints [J,3] of whom is nearest to the last ones, else of the largest; None for nobody."""
    import numpy as np

    poses = [np.asarray(pose, np.float64) for pose, _ in people]
    if not poses:
        return None
    if last is not None and len(last) == len(poses[0]):
        return min(poses, key=lambda pose: float(np.median(np.linalg.norm(pose[:, :2] - last[:, :2], axis=1))))
    return max(poses, key=lambda pose: float(np.prod(np.ptp(pose[:, :2], axis=0))))


# ---- where pictures come from


def _frames(source: str) -> Frames:
    """The pictures of a camera, a video file or standard input.  Raises UserError where there is none."""
    if source.isdecimal():
        return _camera(int(source))
    from glagcn.poses.draw.video import stream_pictures

    if source != "-" and not Path(source).is_file():
        raise UserError(f"invalid CAMERA {source}: must be the number of a camera, a video file, or -")
    return stream_pictures(Path(source), "video")


def _camera(number: int) -> Frames:
    import numpy as np

    capture = _opencv().VideoCapture(number)
    began = time.monotonic()
    try:
        found, image = capture.read()
        if not found:
            raise UserError(f"camera {number} gives no picture; give the number of another one, or a video file")
        while found:
            yield np.ascontiguousarray(image[..., ::-1]), time.monotonic() - began
            found, image = capture.read()
    finally:
        capture.release()


def _opencv() -> ModuleType:
    os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")  # a camera that is not there is said below
    try:
        import cv2
    except ImportError as error:
        from glagcn.poses.detect import OPENCV

        raise UserError(f"a camera and a window need OpenCV ({error}): {OPENCV}") from error
    return cv2


# ---- where poses go

Show = Callable[["np.ndarray", "Lifter | None", "np.ndarray | None", float, bool], bool]
"""From a picture, the lifter, a pose [V,3] or None, its seconds, and whether somebody is seen, to whether to go on."""


@contextmanager
def _output(out: str) -> Iterator[Show]:
    """Write the poses as lines of JSON, the first of which describes them."""
    from glagcn.files import write_errors

    path = Path(out)
    with ExitStack() as stack, write_errors(path):
        file: TextIO = sys.stdout
        if out == "-":
            stack.enter_context(redirect_stdout(sys.stderr))  # messages
        else:
            file = stack.enter_context(path.open("w", encoding="utf-8"))
        begun = False

        def write(
            image: "np.ndarray", lifter: "Lifter | None", pose: "np.ndarray | None", at: float, seen: bool
        ) -> bool:
            """Write a pose, after what describes all; go on."""
            nonlocal begun
            if lifter is None or pose is None:
                return True
            if not begun:
                skeleton = lifter.skeleton
                print(json.dumps({
                    "skeleton": skeleton.name, "joints": skeleton.joints, "parents": skeleton.parents,
                    "axes": "x right, y down, z forward", "unit": "mm", "image_size": [image.shape[1], image.shape[0]],
                }), file=file)  # fmt: skip
                begun = True
            row = {"time_s": round(at, 4), "seen": seen, "pose_mm": pose.astype(float).round(1).tolist()}
            print(json.dumps(row), file=file, flush=True)
            return True

        yield write


@contextmanager
def _window() -> Iterator[Show]:
    """Show the picture, and the pose from the person's side, until q is pressed or a window is closed."""
    import numpy as np

    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UserError(f"there is no display for a window; {WITHOUT_WINDOW}")  # OpenCV would end the process
    cv2 = _opencv()

    def show(image: "np.ndarray", lifter: "Lifter | None", pose: "np.ndarray | None", at: float, seen: bool) -> bool:  # noqa: ARG001
        """Show both windows; go on until the first is closed or q is pressed."""
        try:
            cv2.imshow("camera", np.ascontiguousarray(image[..., ::-1]))
            if lifter is not None and pose is not None:
                cv2.imshow("3D, from the side", _side_view(cv2, pose, lifter.skeleton))
            return cv2.waitKey(1) != ord("q") and cv2.getWindowProperty("camera", cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error as error:
            raise UserError(f"OpenCV cannot open a window here; {WITHOUT_WINDOW}") from error

    yield show
    cv2.destroyAllWindows()


def _side_view(cv2: ModuleType, pose: "np.ndarray", skeleton: "Skeleton") -> "np.ndarray":
    """The pose [V,3] mm from the person's side: depth to the right."""
    import numpy as np

    canvas = np.full((SIDE, SIDE, 3), 255, np.uint8)
    places = ((pose[:, [2, 1]] / REACH_MM + 1) * SIDE / 2).astype(int)
    for joint, parent in enumerate(skeleton.parents):
        if parent != joint:
            cv2.line(canvas, tuple(map(int, places[joint])), tuple(map(int, places[parent])), BONE, 3)
    return canvas
