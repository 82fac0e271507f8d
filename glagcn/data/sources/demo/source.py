"""The Source of the demo: synthetic people seen by calibrated cameras, with the skeleton of MPI-INF-3DHP.

It exercises everything from training to the official tables in minutes.  Its metrics say nothing about real data.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from glagcn.data.sequence import Sequence, SequenceInfo
from glagcn.data.sources.demo.motion import FPS, draw_motion, draw_person
from glagcn.data.sources.source import SplitName

TRAIN_PEOPLE = 8
TRAIN_SEQUENCES = 2  # of each person
TRAIN_CAMERAS = 4
TRAIN_FRAMES = 250
TEST_SEQUENCES = 6  # each with another person and another camera
TEST_FRAMES = 150

# Purpose of a random stream; part of its seed, so that all streams differ.
_CAMERA, _PERSON, _MOTION, _VALID = range(4)
_SPLITS: tuple[SplitName, ...] = ("train", "test")


@dataclass(frozen=True)
class Pinhole:
    """A pinhole camera without distortion.

    rotation, translation  [3,3] and [3], metres: world to camera coordinates (x right, y down, z forward).
    focal, centre          [2], pixels.
    """

    rotation: np.ndarray
    translation: np.ndarray
    focal: np.ndarray
    centre: np.ndarray
    width: int
    height: int

    def view(self, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pixels [...,2] and camera coordinates [...,3] in millimetres of world points [...,3] in metres."""
        points = world @ self.rotation.T + self.translation
        return points[..., :2] / points[..., 2:] * self.focal + self.centre, points * 1000


class DemoSource:
    """The demo data, determined by its seed."""

    dataset = "demo"
    keypoints = "gt"
    annotation = ""
    skeleton = "mpi3dhp17"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.notes = ["synthetic people: metrics show that training works; they are not comparable with any paper"]

    def infos(self, split: SplitName) -> list[SequenceInfo]:
        """See Source."""
        if split == "train":
            return [
                _info(f"S{person + 1}/Seq{take + 1}/cam{number}", f"S{person + 1}", number, TRAIN_FRAMES, camera)
                for person, take in _takes()
                for number, camera in enumerate(self._train_cameras())
            ]
        names = [f"TS{number + 1}" for number in range(TEST_SEQUENCES)]
        return [_info(name, name, -1, TEST_FRAMES, self._test_camera(k)) for k, name in enumerate(names)]

    def read(self, split: SplitName) -> Iterator[Sequence]:
        """See Source.  Test sequences have activities and some frames that are not valid."""
        infos = iter(self.infos(split))
        if split == "train":
            cameras = self._train_cameras()
            for person, take in _takes():
                world, _ = self._motion(split, person, person * TRAIN_SEQUENCES + take, TRAIN_FRAMES)
                for camera in cameras:
                    yield _film(next(infos), camera, world, np.ones(TRAIN_FRAMES, dtype=bool), None)
            return
        for number in range(TEST_SEQUENCES):
            world, activity = self._motion(split, number, number, TEST_FRAMES)
            yield _film(next(infos), self._test_camera(number), world, self._valid(number), activity)

    def provenance(self) -> dict:
        """See Source.  The version changes whenever the same seed gives different data."""
        return {"kind": "synthetic", "version": 1, "seed": self.seed}

    def _motion(self, split: SplitName, person: int, number: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
        body = draw_person(self._rng(split, _PERSON, person))
        return draw_motion(self._rng(split, _MOTION, number), body, number, frames)

    def _train_cameras(self) -> list[Pinhole]:
        """Cameras around the people, each at another height."""
        heights = np.linspace(0.7, 2.2, TRAIN_CAMERAS)
        azimuths = np.arange(TRAIN_CAMERAS) * 2 * np.pi / TRAIN_CAMERAS
        return [
            _draw_camera(self._rng("train", _CAMERA, number), azimuth, height)
            for number, (azimuth, height) in enumerate(zip(azimuths, heights, strict=True))
        ]

    def _test_camera(self, number: int) -> Pinhole:
        rng = self._rng("test", _CAMERA, number)
        # As in MPI-INF-3DHP, the last two sequences have another image size.
        size = (2048, 2048) if number < 4 else (1920, 1080)
        return _draw_camera(rng, rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 2.1), size)

    def _valid(self, number: int) -> np.ndarray:
        """[T] bool: False for the first frames and for a gap, as if nobody were in the image."""
        rng = self._rng("test", _VALID, number)
        frames, gap = np.arange(TEST_FRAMES), rng.integers(TEST_FRAMES // 4, TEST_FRAMES // 2)
        return (frames >= rng.integers(1, 8)) & ((frames < gap) | (frames >= gap + rng.integers(5, 20)))

    def _rng(self, split: SplitName, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, _SPLITS.index(split), purpose, number])


def _takes() -> list[tuple[int, int]]:
    return [(person, take) for person in range(TRAIN_PEOPLE) for take in range(TRAIN_SEQUENCES)]


def _info(name: str, subject: str, number: int, length: int, camera: Pinhole) -> SequenceInfo:
    return SequenceInfo(name, subject, number, length, FPS, camera.width, camera.height)


def _film(
    info: SequenceInfo, camera: Pinhole, world: np.ndarray, valid: np.ndarray, activity: np.ndarray | None
) -> Sequence:
    pixels, millimetres = camera.view(world)
    return Sequence(info, pixels.astype(np.float32), millimetres.astype(np.float32), valid, activity)


def _draw_camera(
    rng: np.random.Generator, azimuth: float, height: float, size: tuple[int, int] = (2048, 2048)
) -> Pinhole:
    """A random camera at `height` (metres) that looks at the centre, with a focal length similar to MPI-INF-3DHP."""
    width, height_px = size
    square = width == height_px
    # The wide image has a smaller vertical field of view, so its camera is farther away.
    distance = rng.uniform(3.0, 4.2) if square else rng.uniform(4.6, 5.4)
    position = np.array([distance * np.sin(azimuth), height, distance * np.cos(azimuth)])
    forward = np.array([0.0, 0.9, 0.0]) + rng.uniform(-0.1, 0.1, size=3) - position
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    focal = (1500.0 if square else 1684.0) * rng.uniform(0.99, 1.01, size=2)
    centre = np.array(size) / 2 + rng.uniform(-20, 20, size=2)
    return Pinhole(rotation, -rotation @ position, focal, centre, width, height_px)
