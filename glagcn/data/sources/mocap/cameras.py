"""Cameras as people set them up: on a tripod, or a phone that is held by hand and follows the person.

A camera looks from a direction at a target, from so far away that the person stays in the picture.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

SIZES = ((1920, 1080), (1280, 720), (640, 480), (2048, 2048), (1080, 1920), (720, 1280))  # width, height
FOCAL = (0.65, 1.4)  # of the longer side: from a phone's wide lens to a portrait lens
ELEVATION = (-3.0, 25.0)  # degrees above the target, mostly low
HELD = 0.2  # of those that are not upright; upright pictures are from a phone in a hand
FILLED = {False: 0.92, True: 0.8}  # of the picture at most, by whether the camera is held
FARTHER = (1.0, 1.5)  # than what would fill that

# Of a held camera, as (seconds, size): a wave of about so many seconds, with this standard deviation.
FOLLOWING_SECONDS = 0.7  # how late it follows
WALK = (2.0, 8.0)  # degrees around the person
SWAY = (0.5, 0.03)  # metres
DRIFT, TREMBLE = (0.5, 0.8), (0.06, 0.15)  # degrees about each of its axes


@dataclass(frozen=True)
class Pinhole:
    """A pinhole without distortion, which may move: F is the number of frames, or 1.

    rotation [F,3,3] and translation [F,3], metres: world to camera (x right, y down, z forward).
    focal, centre [2], pixels.
    """

    rotation: np.ndarray
    translation: np.ndarray
    focal: np.ndarray
    centre: np.ndarray

    def view(self, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points [T,V,3] in metres: their pixels [T,V,2] and camera coordinates [T,V,3] in millimetres."""
        seen = world @ self.rotation.swapaxes(1, 2) + self.translation[:, None]
        return seen[..., :2] / seen[..., 2:] * self.focal + self.centre, seen * 1000


@dataclass(frozen=True)
class Lens:
    """The camera before it is set up: size of the image, focal length and centre [2] in pixels; held: by hand."""

    width: int
    height: int
    focal: np.ndarray
    centre: np.ndarray
    held: bool


def draw_lens(rng: np.random.Generator) -> Lens:
    """Some camera that people have."""
    width, height = SIZES[rng.integers(len(SIZES))]
    focal = max(width, height) * np.exp(rng.uniform(*np.log(FOCAL))) * rng.uniform(0.995, 1.005, size=2)
    centre = np.array([width, height]) * (0.5 + rng.uniform(-0.01, 0.01, size=2))
    return Lens(width, height, focal, centre, held=bool(rng.random() < HELD) or height > width)


def set_up(lens: Lens, rng: np.random.Generator, world: np.ndarray, azimuth: float, root: int, fps: float) -> Pinhole:
    """The camera that films joints [T,V,3], metres, from a direction about the vertical.

    A tripod looks at the middle of all that happens; a held camera follows the joint `root`, and shakes.
    """
    low, high = ELEVATION
    direction = np.array([azimuth])
    elevation = np.radians(low + (high - low) * rng.random() ** 2)
    angles = np.radians(rng.normal(0, [[0, 0, 1.5]]))
    target = ((world.min(axis=(0, 1)) + world.max(axis=(0, 1))) / 2)[None]
    sway = np.zeros((1, 3))
    if lens.held:
        frames = len(world)
        followed = gaussian_filter1d(world[:, root], FOLLOWING_SECONDS * fps, axis=0, mode="nearest")
        followed[:, 1] = target[:, 1]
        target, sway = followed, _wave(rng, frames, 3, fps, *SWAY)
        direction = azimuth + np.radians(_wave(rng, frames, 1, fps, *WALK)[:, 0])
        angles = angles + np.radians(_wave(rng, frames, 3, fps, *DRIFT) + _wave(rng, frames, 3, fps, *TREMBLE))
    rotation = _looking(direction, elevation)
    farther = rng.uniform(*FARTHER)
    distance = farther * _least_distance(lens, (world - target[:, None]) @ rotation.swapaxes(1, 2))
    position = target - distance * rotation[:, 2] + sway
    rotation = _turn(angles) @ rotation
    return Pinhole(rotation, -(rotation @ position[..., None])[..., 0], lens.focal, lens.centre)


def _least_distance(lens: Lens, seen: np.ndarray) -> float:
    """How far from the target a camera must stand for all points [T,V,3], camera axes from the target, to be seen.

    |x| focal / (distance + z) is to be at most half of the filled part of the picture.
    """
    slope = np.array([lens.width, lens.height]) / 2 * FILLED[lens.held] / lens.focal
    return float((np.abs(seen[..., :2]) / slope - seen[..., 2:]).max())


def _looking(direction: np.ndarray, elevation: float) -> np.ndarray:
    """World to camera [F,3,3] of cameras that look at the target from these directions [F], in radians."""
    flat, height = np.cos(elevation), np.full(len(direction), np.sin(elevation))
    forward = -np.stack([flat * np.sin(direction), height, flat * np.cos(direction)], axis=-1)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def _turn(angles: np.ndarray) -> np.ndarray:
    """Rotations [F,3,3] by angles [F,3] about x, then y, then z."""
    product = np.eye(3)[None]
    for axis, (first, second) in enumerate(((1, 2), (2, 0), (0, 1))):
        matrices = np.tile(np.eye(3), (len(angles), 1, 1))
        matrices[:, first, first] = matrices[:, second, second] = np.cos(angles[:, axis])
        matrices[:, second, first] = np.sin(angles[:, axis])
        matrices[:, first, second] = -np.sin(angles[:, axis])
        product = matrices @ product
    return product


def _wave(rng: np.random.Generator, frames: int, columns: int, fps: float, seconds: float, size: float) -> np.ndarray:
    """[T,columns]: smooth noise of standard deviation `size`, which changes within about `seconds`."""
    width = seconds * fps / 2
    smooth = gaussian_filter1d(rng.normal(size=(frames, columns)), width, axis=0)
    return smooth * size * np.sqrt(2 * width * np.sqrt(np.pi))
