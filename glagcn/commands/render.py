"""`main_sagcn_gpus.py --render`: one sequence lifted, drawn as an animation, and its coordinates written."""

from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np

from glagcn.checkpoints.load import check_skeleton, differences, load_trained
from glagcn.config.config import Config
from glagcn.data.cache.reader import Cache
from glagcn.data.dataset import open_data
from glagcn.distributed import precision
from glagcn.distributed.ranks import Ranks
from glagcn.errors import UserError
from glagcn.files import make_folder
from glagcn.inference import BATCH, predict
from glagcn.model.network import LiftingNetwork
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


def render(config: Config, origin: dict[str, str], ranks: Ranks) -> None:
    """Render the sequence that the --viz-* flags name with the checkpoint of --evaluate, else best.pt of the run.

    Rank 0 alone lifts, draws and writes.  Raises UserError, on every rank, where flags or files do not fit.
    """
    log = RunLog(silent=not ranks.is_main)
    config = replace(config, evaluate=config.evaluate or USUAL_CHECKPOINT)
    with ranks.agree():
        check_options(config)
        trained = load_trained(config, origin)
    for assumption in trained.assumed:
        log.say(f"note: {assumption}")
    cache = None if config.viz_keypoints else open_data(config, ranks, log.say)
    with ranks.agree():
        if cache is not None:
            check_skeleton(trained, get_skeleton(cache.skeleton), str(cache.path))
            for warning in differences(trained, cache):
                log.say(f"WARNING: {warning}")
        if ranks.is_main:
            log.say(f"Rendering with {trained.path}, {ranks.device.type}")
            _render(config, trained.model.to(ranks.device), cache, log)


def _render(config: Config, model: LiftingNetwork, cache: Cache | None, log: RunLog) -> None:
    """From the flags to the files, on rank 0."""
    for flag, name in (("--viz-output", config.viz_output), ("--viz-export", config.viz_export)):
        if name:
            make_folder(Path(name).parent, flag)
    video = open_video(Path(config.viz_video)) if config.viz_video else None
    subject = _find_subject(config, model, cache, video, log)
    frames = chosen_frames(config, len(subject.pixels), video, log.say)
    fps = config.viz_fps or subject.fps
    if video and (warning := speed_warning(video, fps)):
        log.say(warning)
    fps /= config.viz_downsample
    log.say(f"{subject.name}: {len(frames)} of {len(subject.pixels)} frames, {fps:g} per second")
    if config.dry_run:
        return
    clip = _lift(model, subject, frames, config.test_flip, log)
    if clip.target is not None and np.isfinite(clip.errors).any():
        log.say(f"MPJPE of the frames shown: {np.nanmean(clip.errors):.1f} mm")
    if config.viz_export:
        write_poses(Path(config.viz_export), clip, subject.name, fps)
        log.say(f"Wrote {config.viz_export}: coordinates of {len(frames)} frames")
    if config.viz_output:
        _animate(config, clip, video, fps, log)


def _find_subject(
    config: Config, model: LiftingNetwork, cache: Cache | None, video: Video | None, log: RunLog
) -> Subject:
    if cache is None:
        return keypoint_subject(
            Path(config.viz_keypoints),
            model.skeleton.num_input_joints,
            config.viz_image_size,
            config.viz_fps,
            video,
            log.say,
        )
    subject = cached_subject(cache, config.viz_subject, config.viz_action, config.viz_camera, log.say)
    return subject if config.viz_ground_truth else replace(subject, target=None)


def _lift(model: LiftingNetwork, subject: Subject, frames: np.ndarray, flip: bool, log: RunLog) -> Clip:
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


def _animate(config: Config, clip: Clip, video: Video | None, fps: float, log: RunLog) -> None:
    """Draw the clip over the video and write --viz-output."""
    path = Path(config.viz_output)
    if video and video.size != clip.image_size:
        found, wanted = ("x".join(map(str, size)) for size in (video.size, clip.image_size))
        log.say(f"{video.path} is {found}, the 2D poses are for {wanted}: scaled to fit")
        scale = np.divide(video.size, clip.image_size)
        clip = replace(clip, pixels=clip.pixels * scale, image_size=video.size)
    if path.suffix.lower() == ".gif" and fps > GIF_FASTEST:
        log.say(f"a .gif shows at most {GIF_FASTEST:g} frames per second: {path} plays slower than {fps:g}")
    animation = Animation(clip, config.viz_size)
    with closing(_pictures(config, animation, video, log)) as pictures:
        write_animation(path, pictures, animation.size_px, fps, config.viz_bitrate)
    log.say(f"Wrote {path}: {len(clip.frames)} frames of {'x'.join(map(str, animation.size_px))}")


def _pictures(config: Config, animation: Animation, video: Video | None, log: RunLog) -> Iterator[np.ndarray]:
    """The pictures of all frames, one after the other; closing it ends the reading of the video."""
    count = len(animation.clip.frames)
    film = nullcontext(repeat(None))
    if video:
        film = closing(video.frames(animation.image_box, config.viz_skip, config.viz_downsample))
    with film as images:
        for index in with_progress(range(count), count, "drawn", log.say):
            image = next(images, None)
            if video and image is None:
                raise UserError(f"--viz-video {video.path} became shorter while it was read; wait until it is complete")
            yield animation.draw(index, image)
