"""Two people who are filmed: their keypoints as a detector finds them, and the video."""

from pathlib import Path

import numpy as np

from glagcn.poses.draw.video import Video, write_animation
from tests.data.tiny_videopose3d import coco, world_motion

SIZE, FPS, FOCAL = (640, 480), 25.0, 600.0
PLACES = ((-0.9, 4.0), (1.1, 6.0))  # of the people, metres to the right of the camera and away from it
CAMERA_HEIGHT = 1.4  # metres


def in_camera(number: int, frames: int) -> np.ndarray:
    """[T,17,3] metres, joints of MPI-INF-3DHP: person `number` before a level camera."""
    world = world_motion("h36m", f"S{number}", "Walking", frames)
    right, away = PLACES[number]
    return np.stack([world[..., 0] + right, CAMERA_HEIGHT - world[..., 2], world[..., 1] + away], axis=-1)


def keypoints(frames: int = 40) -> np.ndarray:
    """[T,2,17,3] of both people, in the joints of COCO: pixels and a confidence; the faces have a little width."""
    views = [coco(in_camera(number, frames)) for number in range(2)]
    face = np.array([0, 0.03, -0.03, 0.07, -0.07])
    found = []
    for view in views:
        view[:, :5, 0] += face
        pixels = view[..., :2] / view[..., 2:] * FOCAL + np.array(SIZE) / 2
        found.append(np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 0.9)], axis=-1))
    return np.stack(found, axis=1).round(3)


def known(length: int, size: tuple[int, int] = SIZE, fps: float = FPS, times: np.ndarray | None = None) -> Video:
    """A video of which nothing but these facts is read."""
    video = Video(Path("clip.mp4"), size, fps, "--video")
    vars(video)["times"] = np.arange(length) / fps if times is None else times
    return video


def film(
    path: Path, frames: int, size: tuple[int, int] = SIZE, fps: float = FPS, times: np.ndarray | None = None
) -> Path:
    """A grey video."""
    picture = np.full((size[1], size[0], 3), 200, np.uint8)
    write_animation(path, (picture for _ in range(frames)), size, fps, 500, times)
    return path
