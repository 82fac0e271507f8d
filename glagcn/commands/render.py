"""`main_sagcn_gpus.py --render`: one sequence lifted, drawn as an animation, and its coordinates written."""

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import cast

import numpy as np

from glagcn.checkpoints.load import check_skeleton, differences, load_for_test
from glagcn.config.config import Config
from glagcn.config.rendering import RenderConfig
from glagcn.config.resolve import changed
from glagcn.data.cache.reader import Cache
from glagcn.distributed import precision
from glagcn.distributed.ranks import Ranks
from glagcn.errors import UserError
from glagcn.files import make_folder
from glagcn.inference import BATCH, predict
from glagcn.model.interface import Model
from glagcn.open_data import open_data
from glagcn.progress import with_progress
from glagcn.rendering.animation import Animation, Clip
from glagcn.rendering.keypoint_file import keypoint_subject
from glagcn.rendering.options import check_options, chosen_frames, speed_warning
from glagcn.rendering.pose_export import write_poses
from glagcn.rendering.recording import Subject, cached_subject
from glagcn.rendering.video_reader import Video, open_video
from glagcn.rendering.video_writer import GIF_FASTEST, write_animation
from glagcn.runs.log import RunLog
from glagcn.skeleton import get_skeleton

USUAL_CHECKPOINT = "best.pt"
Pictures = Generator[np.ndarray, None, None]


def render(config: Config, drawing: RenderConfig, origin: dict[str, str], ranks: Ranks) -> None:
    """Render the sequence that the --viz-* flags name with the checkpoint of --evaluate, else best.pt of the run.

    Rank 0 alone lifts, draws and writes.  Raises UserError, on every rank, where flags or files do not fit.
    """
    log = RunLog(silent=not ranks.is_main)
    config = changed(config, evaluate=config.run.evaluate or USUAL_CHECKPOINT)
    precision.set_up(config.optim, ranks.device)
    with ranks.agree():
        check_options(drawing)
        loaded = load_for_test(config, origin, own_poses=drawing.keypoints is not None)
    for assumption in loaded.assumed:
        log.say(f"note: {assumption}")
    cache = None if drawing.keypoints else open_data(config.data, ranks, log.say)
    with ranks.agree():
        if cache is not None:
            check_skeleton(loaded, get_skeleton(cache.skeleton), str(cache.path))
            for warning in differences(loaded, cache):
                log.say(f"WARNING: {warning}")
        if ranks.is_main:
            log.say(f"Rendering with {loaded.path}, {ranks.device.type}")
            _render(config, drawing, loaded.model.to(ranks.device), cache, log)


def _render(config: Config, drawing: RenderConfig, model: Model, cache: Cache | None, log: RunLog) -> None:
    """From the flags to the files, on rank 0."""
    for flag, name in (("--viz-output", drawing.output), ("--viz-export", drawing.export)):
        if name:
            make_folder(Path(name).parent, flag)
    video = open_video(Path(drawing.video)) if drawing.video else None
    subject = _find_subject(drawing, model, cache, video, log)
    frames = chosen_frames(drawing, len(subject.pixels), video, log.say)
    fps = drawing.fps or subject.fps
    if video and (warning := speed_warning(video, fps)):
        log.say(warning)
    fps /= drawing.downsample
    log.say(f"{subject.name}: {len(frames)} of {len(subject.pixels)} frames, {fps:g} per second")
    if config.run.dry_run:
        return
    clip = _lift(model, subject, frames, config.data.test_flip, log)
    if clip.errors is not None and np.isfinite(clip.errors).any():
        log.say(f"MPJPE of the frames shown: {np.nanmean(clip.errors):.1f} mm")
    if drawing.export:
        write_poses(Path(drawing.export), clip, subject.name, fps)
        log.say(f"Wrote {drawing.export}: coordinates of {len(frames)} frames")
    if drawing.output:
        _animate(drawing, clip, video, fps, log)


def _find_subject(
    drawing: RenderConfig, model: Model, cache: Cache | None, video: Video | None, log: RunLog
) -> Subject:
    if cache is None:
        return keypoint_subject(
            Path(drawing.keypoints or ""),
            model.skeleton.num_input_joints,
            cast(tuple[int, int] | None, drawing.image_size),
            drawing.fps,
            video,
            log.say,
        )
    subject = cached_subject(cache, drawing.subject, drawing.action, drawing.camera, log.say)
    return subject if drawing.ground_truth else replace(subject, target=None)


def _lift(model: Model, subject: Subject, frames: np.ndarray, flip: bool, log: RunLog) -> Clip:
    """Predict the frames that are shown, each amid its true neighbours."""
    parts = [frames[begin : begin + BATCH] for begin in range(0, len(frames), BATCH)]
    try:
        with precision.full_precision():
            poses = [
                predict(model, subject.pixels, subject.image_size, flip, frames=part)
                for part in with_progress(parts, len(frames), "lifted", log.say, each=BATCH)
            ]
    except UserError as error:
        raise UserError(f"{subject.name}: {error}") from error
    return Clip(
        skeleton=model.skeleton,
        frames=frames,
        pixels=subject.pixels[frames],
        image_size=subject.image_size,
        predicted=np.concatenate(poses),
        target=None if subject.target is None else subject.target[frames],
        rotation=subject.rotation,
    )


def _animate(drawing: RenderConfig, clip: Clip, video: Video | None, fps: float, log: RunLog) -> None:
    """Draw the clip over the video and write --viz-output."""
    path = Path(drawing.output or "")
    if video and video.size != clip.image_size:
        found, wanted = ("x".join(map(str, size)) for size in (video.size, clip.image_size))
        log.say(f"{video.path} is {found}, the 2D poses are for {wanted}: scaled to fit")
        scale = np.divide(video.size, clip.image_size)
        clip = replace(clip, pixels=clip.pixels * scale, image_size=video.size)
    if path.suffix.lower() == ".gif" and fps > GIF_FASTEST:
        log.say(f"a .gif shows at most {GIF_FASTEST:g} frames per second: {path} plays slower than {fps:g}")
    animation = Animation(clip, drawing.size)
    with closing(_pictures(drawing, animation, video, log)) as pictures:
        write_animation(path, pictures, animation.size_px, fps, drawing.bitrate)
    log.say(f"Wrote {path}: {len(clip.frames)} frames of {'x'.join(map(str, animation.size_px))}")


def _pictures(drawing: RenderConfig, animation: Animation, video: Video | None, log: RunLog) -> Pictures:
    """The pictures of all frames, one after the other; closing it ends the reading of the video."""
    count = len(animation.clip.frames)
    film: AbstractContextManager[Iterator[np.ndarray | None]] = nullcontext(repeat(None))
    if video:
        film = closing(video.frames(animation.image_box, drawing.skip, drawing.downsample))
    with film as images:
        for index in with_progress(range(count), count, "drawn", log.say):
            image = next(images, None)
            if video and image is None:
                raise UserError(f"--viz-video {video.path} became shorter while it was read; wait until it is complete")
            yield animation.draw(index, image)
