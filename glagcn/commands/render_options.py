"""Validates the --viz-* flags, and selects the frames to show."""

import logging
from math import isfinite
from pathlib import Path

import numpy as np

from glagcn.commands.recording import check_export
from glagcn.config.options import RenderConfig
from glagcn.errors import UserError
from glagcn.poses.draw.video import Video, check_output
from glagcn.poses.gaps import FASTEST_FPS

logger = logging.getLogger(__name__)

MAX_INCHES = 40.0
MAX_KBPS = 1_000_000  # encoders store bits per second in 32 bits


def check_options(drawing: RenderConfig) -> None:
    """Raise UserError, naming flag, value and requirement, if a --viz-* flag has an invalid value."""
    size = drawing.image_size
    for name, valid, expected in (
        ("skip", drawing.skip >= 0, "0 or more"),
        ("limit", drawing.limit is None or drawing.limit >= 1, "at least 1, or -1 for all frames"),
        ("downsample", drawing.downsample >= 1, "at least 1"),
        ("size", 1 <= drawing.size <= MAX_INCHES, f"from 1 to {MAX_INCHES:g} inches"),
        ("bitrate", 1 <= drawing.bitrate <= MAX_KBPS, f"from 1 to {MAX_KBPS} kbit/s"),
        ("fps", drawing.fps is None or 0 < drawing.fps <= FASTEST_FPS, f"above 0, at most {FASTEST_FPS:g}"),
        ("image_size", size is None or (len(size) == 2 and min(size) > 0), "width and height, such as 1920,1080"),
    ):
        if not valid:
            value = getattr(drawing, name)
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            raise UserError(f"invalid --viz-{name.replace('_', '-')} {shown}: must be {expected}")
    _check_files(drawing)
    if drawing.keypoints and (drawing.subject or drawing.action):
        raise UserError("--viz-keypoints excludes --viz-subject and --viz-action; give one or the other")
    if drawing.joints and not drawing.keypoints:
        raise UserError("--viz-joints has no effect without --viz-keypoints; leave it out")
    if size and not drawing.keypoints:
        raise UserError("--viz-image-size has no effect without --viz-keypoints; leave it out")


def _check_files(drawing: RenderConfig) -> None:
    if not drawing.output and not drawing.export:
        raise UserError("--render needs an output file; give --viz-output FILE.gif or FILE.mp4, or --viz-export FILE")
    if drawing.output:
        check_output(Path(drawing.output))
        if drawing.video and Path(drawing.output).resolve() == Path(drawing.video).resolve():
            raise UserError(f"invalid --viz-output {drawing.output}: would overwrite --viz-video; give another name")
    if drawing.export:
        check_export(Path(drawing.export))
        if drawing.keypoints and Path(drawing.export).resolve() == Path(drawing.keypoints).resolve():
            raise UserError(
                f"invalid --viz-export {drawing.export}: would overwrite --viz-keypoints; give another name"
            )


def chosen_frames(drawing: RenderConfig, length: int, video: Video | None) -> np.ndarray:
    """The numbers [n] of the frames to show, of a sequence of `length` frames: every --viz-downsample-th frame from
    --viz-skip on, at most --viz-limit, and none after the end of the video.

    Raises UserError if no frame is left.
    """
    if drawing.skip >= length:
        raise UserError(f"invalid --viz-skip {drawing.skip}: must be 0 to {length - 1} for {length} frames")
    frames = np.arange(drawing.skip, length, drawing.downsample)
    if drawing.limit:
        frames = frames[: drawing.limit]
    if video is None:
        return frames
    filmed = video.count(drawing.skip, drawing.downsample, len(frames))
    if filmed == 0:
        raise UserError(f"invalid --viz-skip {drawing.skip}: --viz-video {video.path} is shorter; give a smaller value")
    if filmed < len(frames):
        logger.info(f"{video.path} ends before the poses do: showing {filmed} frames instead of {len(frames)}")
    return frames[:filmed]


def speed_warning(video: Video, fps: float) -> str | None:
    """A warning if video and poses have different frame rates, else None: frame k is shown with frame k anyway."""
    if not video.fps or not isfinite(fps) or abs(video.fps / fps - 1) < 0.01:
        return None
    return (
        f"WARNING: {video.path} has {video.fps:g} frames per second and the poses have {fps:g}; frame k of one is "
        "shown with frame k of the other"
    )
