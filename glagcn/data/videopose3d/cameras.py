"""The calibrated cameras of Human3.6M and HumanEva-I, their projections, and whether 2D and 3D files match.

cameras.json has the calibrations of both data sets, in the camera order of VideoPose3D's files.  Camera coordinates are
x right, y down, z forward.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.data.videopose3d.facts import FACTS


@dataclass(frozen=True)
class Camera:
    """One camera during the recordings of one subject.  HumanEva-I has no intrinsics."""

    id: str  # in the data set, such as "54138969" or "C1"
    width: int  # of the image, pixels
    height: int
    orientation: tuple[float, float, float, float]  # quaternion (w, x, y, z) from camera to world axes
    translation: tuple[float, float, float]  # position in the world, millimetres
    focal: tuple[float, float] | None = None  # (x, y), pixels
    centre: tuple[float, float] | None = None  # (x, y), pixels
    radial: tuple[float, float, float] | None = None  # distortion coefficients (k1, k2, k3)
    tangential: tuple[float, float] | None = None  # distortion coefficients (p1, p2)


@cache
def cameras_of(dataset: str, subject: str) -> tuple[Camera, ...]:
    """The cameras of a subject of "h36m" or "humaneva15", in the order of the files; empty if not calibrated.

    "Train/S1" and "Validate/S1" of HumanEva-I are the same person and the same cameras.
    """
    if not any(subject in subjects for subjects in FACTS[dataset].subjects.values()):
        return ()
    calibration = json.loads(Path(__file__).with_name("cameras.json").read_bytes())[dataset]
    cameras = []
    for lens, place in zip(calibration["cameras"], calibration["placed"][subject.rpartition("/")[2]], strict=True):
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in (lens | place).items()}
        cameras.append(Camera(**values))
    return tuple(cameras)


def to_camera(points: np.ndarray, camera: Camera) -> np.ndarray:
    """The camera coordinates [...,3] of world points [...,3], both in millimetres."""
    return (np.asarray(points, np.float64) - camera.translation) @ axes_of(camera)


def project(points: np.ndarray, camera: Camera) -> np.ndarray:
    """The pixels [...,2] of points [...,3] in camera coordinates, any unit.  Raises ValueError without intrinsics.

    The camera model of Human3.6M: with x = (X / Z, Y / Z) and r2 = |x|^2, the pixel is
    focal * (x (1 + k1 r2 + k2 r2^2 + k3 r2^3 + p1 x_2 + p2 x_1) + (p2, p1) r2) + centre.
    VideoPose3D's converter does not swap p1 and p2; the difference is less than a pixel.
    """
    if camera.focal is None or camera.centre is None:
        raise ValueError(f"camera {camera.id} has no intrinsics")
    points = np.asarray(points, np.float64)
    plane = points[..., :2] / points[..., 2:]
    r2 = (plane**2).sum(axis=-1, keepdims=True)
    k1, k2, k3 = camera.radial or (0.0, 0.0, 0.0)
    p1, p2 = camera.tangential or (0.0, 0.0)
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    tangential = plane @ [[p2], [p1]]
    distorted = plane * (radial + tangential) + r2 * np.array([p2, p1])
    return distorted * camera.focal + camera.centre


def axes_of(camera: Camera) -> np.ndarray:
    """The rotation [3,3] from camera to world coordinates (z up); its columns are the camera axes in the world."""
    w, x, y, z = np.array(camera.orientation) / np.linalg.norm(camera.orientation)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def reprojection_error(camera: Camera, millimetres: np.ndarray, pixels: np.ndarray) -> float:
    """The median distance in pixels between pixels [T,V,2] and projected camera-space millimetres [T,V,3].

    Ignores values that are not finite, which are checked elsewhere; NaN if there are no others.
    """
    with np.errstate(all="ignore"):
        distances = np.linalg.norm(project(millimetres, camera) - pixels, axis=-1)
    finite = distances[np.isfinite(distances)]
    return float(np.median(finite)) if len(finite) else np.nan
