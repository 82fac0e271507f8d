"""The picture of failure cases in docs/lift.md: recorded motion of a test person, seen or found in ways that go wrong.

python -m tools.failure_pictures OUT.png [MODEL]     # centred without MODEL
"""

import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.spatial.transform import Rotation

import glagcn
from glagcn.poses.draw.animation import Animation
from glagcn.poses.result import Poses
from tools.formats_table import motion

SIZE, FOCAL, DISTANCE_MM = (1000, 1000), 2000.0, 4500.0
SHOWN = 75  # the frame
LEGS = [9, 10, 12, 13]  # knees and ankles of mpi3dhp17
EXCHANGED = slice(SHOWN - 4, SHOWN + 5)


def project(poses: np.ndarray) -> np.ndarray:
    """[T,17,2] pixels of [T,17,3] mm relative to the root, which is in front of the camera."""
    points = poses + np.array((0, 0, DISTANCE_MM))
    return FOCAL * points[..., :2] / points[..., 2:] + np.array(SIZE) / 2


def cases(poses: np.ndarray, mirror: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{what goes wrong: (keypoints [T,17,2], true poses [T,17,3])}."""
    above = poses @ Rotation.from_euler("x", 60, degrees=True).as_matrix().T
    turned = poses @ Rotation.from_euler("z", 180, degrees=True).as_matrix().T
    legless, exchanged = project(poses), project(poses)
    legless[:, LEGS] = np.nan
    exchanged[EXCHANGED] = exchanged[EXCHANGED][:, mirror]
    return {
        "As in training": (project(poses), poses),
        "Legs outside the image": (legless, poses),
        "Left and right exchanged for 9 frames": (exchanged, poses),
        "Seen from 60 degrees above": (project(above), above),
        "Upside down, as in a handstand": (project(turned), turned),
    }


def main(out: str, name: str = "centred") -> None:
    """Lift every case and draw a frame of each."""
    model = glagcn.load_model(name)
    mirror = np.array(model.skeleton.mirror)
    with tempfile.TemporaryDirectory() as root:
        _, poses = motion(Path(root))
    rows = cases(poses, mirror)
    figure = Figure(figsize=(9, 3.3 * len(rows)), dpi=100)
    FigureCanvasAgg(figure)
    for axis, (title, (pixels, target)) in zip(figure.subplots(len(rows)), rows.items(), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the joints that are filled in
            predicted = glagcn.predict(model, pixels, SIZE, fps=30)
        poses = Poses(0, model.skeleton, np.arange(len(pixels)), 30, predicted, np.ones(pixels.shape[:2]), pixels, SIZE)
        axis.imshow(Animation([poses], 3.0, replace(poses, xyz=target)).draw(SHOWN))
        axis.set_title(title, fontsize=12)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
