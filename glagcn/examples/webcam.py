"""Live 3D poses of one person before a camera, with the causal model that comes with glagcn.

    pip install opencv-python ultralytics
    python -m glagcn.examples.webcam [CAMERA]

The detector is Ultralytics' pose model.  For another one, replace `detector`: a function from an image to the keypoints
[17,3] (x, y, confidence) of a person in COCO's order, or None.  q ends.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

import glagcn
from glagcn.skeletons import get_skeleton

try:
    import cv2
    from ultralytics import YOLO
except ImportError as error:
    sys.exit(f"this example needs {error.name}: pip install opencv-python ultralytics")

SKELETON = get_skeleton("mpi3dhp17")
SIDE, REACH_MM = 480, 1200  # of the window, pixels; half of what it shows


def detector() -> Callable[[np.ndarray], np.ndarray | None]:
    """Ultralytics' small pose model; of several people the most certain."""
    network = YOLO("yolo11n-pose.pt")

    def detect(image: np.ndarray) -> np.ndarray | None:
        people = network(image, verbose=False)[0].keypoints.data.cpu().numpy()
        return people[0] if len(people) and people.shape[1] == 17 else None

    return detect


def picture(pose: np.ndarray) -> np.ndarray:
    """The pose [17,3] mm, seen from the person's side: depth to the right."""
    canvas = np.full((SIDE, SIDE, 3), 255, np.uint8)
    places = ((pose[:, [2, 1]] / REACH_MM + 1) * SIDE / 2).astype(int)
    for joint, parent in enumerate(SKELETON.parents):
        if parent != joint:
            cv2.line(canvas, tuple(map(int, places[joint])), tuple(map(int, places[parent])), (90, 60, 30), 3)
    return canvas


def main(camera: int) -> None:
    """Read, detect, lift and show until q is pressed."""
    detect, capture = detector(), cv2.VideoCapture(camera)
    found, image = capture.read()
    if not found:
        sys.exit(f"camera {camera} gives no picture")
    height, width = image.shape[:2]
    lifter = glagcn.Lifter("causal", image_size=(width, height), fps=30, joints="coco17")
    while found and cv2.waitKey(1) != ord("q"):
        pose = lifter.push(detect(image), time=time.monotonic())
        if pose is not None:
            cv2.imshow("3D, from the side", picture(pose))
        cv2.imshow("camera", image)
        found, image = capture.read()


if __name__ == "__main__":
    camera = sys.argv[1] if len(sys.argv) > 1 else "0"
    main(int(camera)) if camera.isdecimal() else sys.exit(__doc__)
