"""What the --viz-* flags may say, and which frames they choose."""

from collections.abc import Callable
from math import isfinite
from pathlib import Path

import numpy as np

from glagcn.config.rendering import RenderConfig
from glagcn.errors import UserError
from glagcn.rendering.pose_export import check_export
from glagcn.rendering.video_reader import Video
from glagcn.rendering.video_writer import check_output

LARGEST_INCHES = 40.0
FASTEST_FPS = 1000.0
LARGEST_KBPS = 1_000_000  # encoders count bits per second in 32 bits


def check_options(drawing: RenderConfig) -> None:
    """Refuse --viz-* flags that cannot work.  Raises UserError naming flag, value and what is expected."""
    size = drawing.image_size
    for name, holds, expected in (
        ("skip", drawing.skip >= 0, "0 or more"),
        ("limit", drawing.limit is None or drawing.limit >= 1, "at least 1, or -1 for all frames"),
        ("downsample", drawing.downsample >= 1, "at least 1"),
        ("size", 1 <= drawing.size <= LARGEST_INCHES, f"from 1 to {LARGEST_INCHES:g} inches"),
        ("bitrate", 1 <= drawing.bitrate <= LARGEST_KBPS, f"from 1 to {LARGEST_KBPS} kbit/s"),
        ("fps", drawing.fps is None or 0 < drawing.fps <= FASTEST_FPS, f"above 0 and up to {FASTEST_FPS:g}"),
        ("image_size", size is None or (len(size) == 2 and min(size) > 0), "width and height, such as 1920,1080"),
    ):
        if not holds:
            value = getattr(drawing, name)
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            raise UserError(f"--viz-{name.replace('_', '-')} {shown} cannot work; expected {expected}")
    _check_files(drawing)
    if drawing.keypoints and (drawing.subject or drawing.action):
        raise UserError("--viz-keypoints has its own poses; leave --viz-subject and --viz-action out, or it")
    if size and not drawing.keypoints:
        raise UserError("--viz-image-size is for --viz-keypoints; the data set knows how large its images are")


def _check_files(drawing: RenderConfig) -> None:
    if not drawing.output and not drawing.export:
        raise UserError("--render has nowhere to draw to; give --viz-output FILE.gif or FILE.mp4, or --viz-export FILE")
    if drawing.output:
        check_output(Path(drawing.output))
        if drawing.video and Path(drawing.output).resolve() == Path(drawing.video).resolve():
            raise UserError(f"--viz-output {drawing.output} would replace --viz-video; give it another name")
    if drawing.export:
        check_export(Path(drawing.export))
        if drawing.keypoints and Path(drawing.export).resolve() == Path(drawing.keypoints).resolve():
            raise UserError(f"--viz-export {drawing.export} would replace --viz-keypoints; give it another name")


def chosen_frames(drawing: RenderConfig, length: int, video: Video | None, say: Callable[[str], None]) -> np.ndarray:
    """The numbers [n] of the frames to show, of a sequence of `length`: from --viz-skip on every --viz-downsample-th,
    at most --viz-limit of them, and none after the end of the video, which `say` is told.

    Raises UserError where none is left.
    """
    if drawing.skip >= length:
        raise UserError(f"--viz-skip {drawing.skip} leaves nothing of {length} frames; expected 0 to {length - 1}")
    frames = np.arange(drawing.skip, length, drawing.downsample)
    if drawing.limit:
        frames = frames[: drawing.limit]
    if video is None:
        return frames
    filmed = video.count(drawing.skip, drawing.downsample, len(frames))
    if filmed == 0:
        raise UserError(f"--viz-skip {drawing.skip} leaves nothing of --viz-video {video.path}; give a smaller one")
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
