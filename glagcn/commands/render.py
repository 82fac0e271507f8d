"""`main_sagcn_gpus.py --render`: lift one sequence, draw it as an animation and write its coordinates."""

import logging
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import cast

import numpy as np
import torch

from glagcn import dist
from glagcn.checkpoints.load import check_skeleton, differences, load_for_test
from glagcn.commands.recording import Recording, cached_recording, keypoint_recording, write_poses
from glagcn.commands.render_options import check_options, chosen_frames, speed_warning
from glagcn.config.open_data import open_data
from glagcn.config.options import Config, RenderConfig
from glagcn.config.resolve import changed
from glagcn.data.dataset import Cache
from glagcn.errors import UserError
from glagcn.files import make_folder
from glagcn.model.cores import full_precision
from glagcn.model.interface import Model
from glagcn.poses.draw.animation import Animation, Clip
from glagcn.poses.draw.video import GIF_MAX_FPS, Video, open_video, write_animation
from glagcn.poses.joints import input_name
from glagcn.poses.lift import BATCH, complete_poses, input_windows, lift_frames
from glagcn.progress import with_progress
from glagcn.skeletons import get_skeleton
from glagcn.train import hardware as precision

logger = logging.getLogger(__name__)

DEFAULT_CHECKPOINT = "best.pt"
Pictures = Generator[np.ndarray, None, None]


def render(config: Config, drawing: RenderConfig, origin: dict[str, str]) -> None:
    """Render the sequence of the --viz-* flags with the checkpoint of --evaluate, else best.pt of the run.

    Only rank 0 lifts, draws and writes.  Raises UserError on all ranks for invalid flags or files.
    """
    config = changed(config, evaluate=config.run.evaluate or DEFAULT_CHECKPOINT)
    precision.set_up(config.optim, dist.device())
    with dist.agree():
        check_options(drawing)
        loaded = load_for_test(config, origin, own_poses=drawing.keypoints is not None)
    for assumption in loaded.assumed:
        logger.info(f"note: {assumption}")
    cache = None if drawing.keypoints else open_data(config.data)
    with dist.agree():
        if cache is not None:
            check_skeleton(loaded, get_skeleton(cache.skeleton), str(cache.path))
            for warning in differences(loaded, cache):
                logger.warning(warning)
        if dist.is_main():
            logger.info(f"Rendering with {loaded.path}, {dist.device().type}")
            _render(config, drawing, loaded.model.to(dist.device()), cache)


def _render(config: Config, drawing: RenderConfig, model: Model, cache: Cache | None) -> None:
    """Lift, draw and write, on rank 0."""
    for flag, name in (("--viz-output", drawing.output), ("--viz-export", drawing.export)):
        if name:
            make_folder(Path(name).parent, flag)
    video = open_video(Path(drawing.video)) if drawing.video else None
    recording = _open_recording(drawing, model, cache, video)
    frames = chosen_frames(drawing, len(recording.pixels), video)
    fps = drawing.fps or recording.fps
    if video and (warning := speed_warning(video, fps)):
        logger.info(warning)
    fps /= drawing.downsample
    logger.info(f"{recording.name}: {len(frames)} of {len(recording.pixels)} frames, {fps:g} per second")
    if config.run.dry_run:
        return
    clip = _lift(model, recording, frames, config.data.test_flip)
    if clip.errors is not None and np.isfinite(clip.errors).any():
        logger.info(f"MPJPE of the frames shown: {np.nanmean(clip.errors):.1f} mm")
    if drawing.export:
        write_poses(Path(drawing.export), clip, recording.name, fps)
        logger.info(f"Wrote {drawing.export}: coordinates of {len(frames)} frames")
    if drawing.output:
        _animate(drawing, clip, video, fps)


def _open_recording(drawing: RenderConfig, model: Model, cache: Cache | None, video: Video | None) -> Recording:
    if cache is None:
        return keypoint_recording(
            Path(drawing.keypoints or ""),
            model.skeleton,
            drawing.joints,
            cast(tuple[int, int] | None, drawing.image_size),
            drawing.fps,
            video,
        )
    recording = cached_recording(cache, drawing.subject, drawing.action, drawing.camera)
    return recording if drawing.ground_truth else replace(recording, target=None)


def _lift(model: Model, recording: Recording, frames: np.ndarray, flip: bool) -> Clip:
    """Predict the frames shown, each from its window in the whole sequence."""
    parts = [frames[begin : begin + BATCH] for begin in range(0, len(frames), BATCH)]
    try:
        with full_precision():
            # Their order is known, so it is stated, not compared with the poses.
            joints = input_name(model.skeleton)
            size = np.array(recording.image_size)
            poses_2d = complete_poses(model, recording.pixels, size, joints, recording.fps)
            if recording.confidence is not None:
                poses_2d[..., 2] = recording.confidence
            windows = input_windows(model, poses_2d, size)
            poses = [
                lift_frames(model, windows, flip, torch.from_numpy(part))
                for part in with_progress(parts, len(frames), "lifted", each=BATCH)
            ]
    except UserError as error:
        raise UserError(f"{recording.name}: {error}") from error
    return Clip(
        skeleton=model.skeleton,
        frames=frames,
        pixels=recording.pixels[frames],
        image_size=recording.image_size,
        predicted=np.concatenate(poses),
        target=None if recording.target is None else recording.target[frames],
        rotation=recording.rotation,
    )


def _animate(drawing: RenderConfig, clip: Clip, video: Video | None, fps: float) -> None:
    """Draw the clip over the video and write --viz-output."""
    path = Path(drawing.output or "")
    if video and video.size != clip.image_size:
        found, wanted = ("x".join(map(str, size)) for size in (video.size, clip.image_size))
        logger.info(f"{video.path} is {found}, the 2D poses are for {wanted}: scaling the poses")
        scale = np.divide(video.size, clip.image_size)
        clip = replace(clip, pixels=clip.pixels * scale, image_size=video.size)
    if path.suffix.lower() == ".gif" and fps > GIF_MAX_FPS:
        logger.info(f"a .gif shows at most {GIF_MAX_FPS:g} frames per second: {path} plays slower than {fps:g}")
    animation = Animation(clip, drawing.size)
    with closing(_pictures(drawing, animation, video)) as pictures:
        write_animation(path, pictures, animation.size_px, fps, drawing.bitrate)
    logger.info(f"Wrote {path}: {len(clip.frames)} frames of {'x'.join(map(str, animation.size_px))}")


def _pictures(drawing: RenderConfig, animation: Animation, video: Video | None) -> Pictures:
    """The pictures of all frames, in order.  Closing the generator closes the video."""
    count = len(animation.clip.frames)
    film: AbstractContextManager[Iterator[np.ndarray | None]] = nullcontext(repeat(None))
    if video:
        film = closing(video.frames(animation.image_box, drawing.skip, drawing.downsample))
    with film as images:
        for index in with_progress(range(count), count, "drawn"):
            image = next(images, None)
            if video and image is None:
                raise UserError(
                    f"--viz-video {video.path} ended after {index} of {count} frames to show, though it has packets "
                    f"for more; give a complete video, or show fewer frames with --viz-limit {index}"
                )
            yield animation.draw(index, image)
