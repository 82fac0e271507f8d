"""What the --viz-* flags may say, and which frames they choose."""

from collections.abc import Callable
from math import isfinite
from pathlib import Path

import numpy as np

from glagcn.config.config import Config
from glagcn.errors import UserError
from glagcn.rendering.pose_export import check_export
from glagcn.rendering.video_reader import Video
from glagcn.rendering.video_writer import check_output

LARGEST_INCHES = 40.0
FASTEST_FPS = 1000.0


def check_options(config: Config) -> None:
    """Refuse --viz-* flags that cannot work.  Raises UserError naming flag, value and what is expected."""
    size = config.viz_image_size
    for name, holds, expected in (
        ("skip", config.viz_skip >= 0, "0 or more"),
        ("limit", config.viz_limit == -1 or config.viz_limit >= 1, "at least 1, or -1 for all frames"),
        ("downsample", config.viz_downsample >= 1, "at least 1"),
        ("size", 1 <= config.viz_size <= LARGEST_INCHES, f"from 1 to {LARGEST_INCHES:g} inches"),
        ("bitrate", config.viz_bitrate >= 1, "at least 1 kbit/s"),
        ("fps", config.viz_fps is None or 0 < config.viz_fps <= FASTEST_FPS, f"above 0 and up to {FASTEST_FPS:g}"),
        ("image_size", size is None or (len(size) == 2 and min(size) > 0), "width and height, such as 1920,1080"),
    ):
        if not holds:
            value = getattr(config, f"viz_{name}")
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            raise UserError(f"--viz-{name.replace('_', '-')} {shown} cannot work; expected {expected}")
    _check_files(config)
    if config.viz_keypoints and (config.viz_subject or config.viz_action):
        raise UserError("--viz-keypoints has its own poses; leave --viz-subject and --viz-action out, or it")
    if size and not config.viz_keypoints:
        raise UserError("--viz-image-size is for --viz-keypoints; the data set knows how large its images are")


def _check_files(config: Config) -> None:
    if not config.viz_output and not config.viz_export:
        raise UserError("--render has nowhere to draw to; give --viz-output FILE.gif or FILE.mp4, or --viz-export FILE")
    if config.viz_output:
        check_output(Path(config.viz_output))
        if config.viz_video and Path(config.viz_output).resolve() == Path(config.viz_video).resolve():
            raise UserError(f"--viz-output {config.viz_output} would replace --viz-video; give it another name")
    if config.viz_export:
        check_export(Path(config.viz_export))
        if config.viz_keypoints and Path(config.viz_export).resolve() == Path(config.viz_keypoints).resolve():
            raise UserError(f"--viz-export {config.viz_export} would replace --viz-keypoints; give it another name")


def chosen_frames(config: Config, length: int, video: Video | None, say: Callable[[str], None]) -> np.ndarray:
    """The numbers [n] of the frames to show, of a sequence of `length`: from --viz-skip on every --viz-downsample-th,
    at most --viz-limit of them, and none after the end of the video, which `say` is told.

    Raises UserError where none is left.
    """
    if config.viz_skip >= length:
        raise UserError(f"--viz-skip {config.viz_skip} leaves nothing of {length} frames; expected 0 to {length - 1}")
    frames = np.arange(config.viz_skip, length, config.viz_downsample)
    if config.viz_limit > 0:
        frames = frames[: config.viz_limit]
    if video is None:
        return frames
    filmed = video.count(config.viz_skip, config.viz_downsample, len(frames))
    if filmed == 0:
        raise UserError(f"--viz-skip {config.viz_skip} leaves nothing of --viz-video {video.path}; give a smaller one")
    if filmed < len(frames):
        say(f"{video.path} ends before the poses do: showing {filmed} frames instead of {len(frames)}")
    return frames[:filmed]


def speed_warning(video: Video, fps: float) -> str | None:
    """What to say where frame k of the video is shown with frame k of the poses although their rates differ."""
    if not video.fps or not isfinite(fps) or abs(video.fps / fps - 1) < 0.01:
        return None
    return (
        f"WARNING: {video.path} has {video.fps:g} frames per second and the poses have {fps:g}; frame k of one is "
        "shown with frame k of the other"
    )
