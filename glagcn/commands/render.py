"""`main_sagcn_gpus.py --render`: lift one sequence, draw it as an animation and write its coordinates."""

import logging
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import cast

import numpy as np

from glagcn import dist
from glagcn.checkpoints.load import check_skeleton, differences, load_for_test
from glagcn.config.open_data import cache_of_run, open_data
from glagcn.config.options import Config, RenderConfig
from glagcn.config.resolve import changed
from glagcn.data.dataset import Cache, Split
from glagcn.data.datasets import get_dataset
from glagcn.errors import UserError
from glagcn.files import make_folder
from glagcn.model.interface import Model
from glagcn.poses.draw.animation import Animation, animate, frame_errors
from glagcn.poses.draw.video import SUFFIXES, Video, open_video
from glagcn.poses.gaps import mark_missing, with_confidence
from glagcn.poses.joints import input_convention
from glagcn.poses.keypoints.tracks import Track
from glagcn.poses.lift import lift_people
from glagcn.poses.recording import Recording, read_recording
from glagcn.poses.result import Poses
from glagcn.poses.writers.tables import write_comparison
from glagcn.skeletons import Skeleton, get_skeleton
from glagcn.train import hardware as precision

logger = logging.getLogger(__name__)

DEFAULT_CHECKPOINT = "best.pt"
MOST_LISTED = 40  # names in a message


def render(config: Config, drawing: RenderConfig, origin: dict[str, str]) -> None:
    """Render the sequence of the --viz_* flags with the checkpoint of --evaluate, else best.pt of the run.

    Only rank 0 lifts, draws and writes.  Raises UserError on all ranks for invalid flags or files.
    """
    config = changed(config, evaluate=config.run.evaluate or DEFAULT_CHECKPOINT)
    precision.set_up(config.optim, dist.device())
    with dist.agree():
        check_options(drawing)
        loaded = load_for_test(config, origin, own_poses=drawing.keypoints is not None)
    for assumption in loaded.assumed:
        logger.info(f"note: {assumption}")
    cache = None if drawing.keypoints else open_data(config.data, cache_of_run(loaded.content, origin))
    with dist.agree():
        if cache is not None:
            check_skeleton(loaded, get_skeleton(cache.skeleton), str(cache.path))
            for warning in differences(loaded, cache):
                logger.warning(warning)
        if dist.is_main():
            logger.info(f"Rendering with {loaded.path}, {dist.device().type}")
            _render(config, drawing, loaded.model.to(dist.device()), cache)


def check_options(drawing: RenderConfig) -> None:
    """Raise UserError, naming the flags, if the --viz_* flags do not fit each other."""
    if not drawing.output and not drawing.export:
        raise UserError("--render needs an output file; give --viz_output FILE.gif or FILE.mp4, or --viz_export FILE")
    for flag, name, suffixes, source, given in (
        ("--viz_output", drawing.output, SUFFIXES, "--viz_video", drawing.video),
        ("--viz_export", drawing.export, (".npz", ".csv"), "--viz_keypoints", drawing.keypoints),
    ):
        if name and Path(name).suffix.lower() not in suffixes:
            raise UserError(f"invalid {flag} {name}: must end in {' or '.join(suffixes)}")
        if name and Path(name).is_dir():
            raise UserError(f"invalid {flag} {name}: is a folder; give the name of a file")
        if name and given and Path(name).resolve() == Path(given).resolve():
            raise UserError(f"invalid {flag} {name}: would overwrite {source}; give another name")
    if (size := drawing.image_size) and (len(size) != 2 or min(size) < 1):
        given = ",".join(map(str, size))
        raise UserError(f"invalid --viz_image_size {given}: must be width and height, such as 1920,1080")
    if drawing.keypoints and (drawing.subject or drawing.action):
        raise UserError("--viz_keypoints excludes --viz_subject and --viz_action; give one or the other")
    for flag, value in (("--viz_joints", drawing.joints), ("--viz_image_size", size)):
        if value and not drawing.keypoints:
            raise UserError(f"{flag} has no effect without --viz_keypoints; leave it out")


def _render(config: Config, drawing: RenderConfig, model: Model, cache: Cache | None) -> None:
    """Lift, draw and write, on rank 0."""
    for flag, file in (("--viz_output", drawing.output), ("--viz_export", drawing.export)):
        if file:
            make_folder(Path(file).parent, flag)
    video = open_video(Path(drawing.video)) if drawing.video else None
    truth = rotation = None
    if cache is None:
        name, recording = drawing.keypoints or "", read_own(drawing, model.skeleton, video)
        video = recording.video
    else:
        name, recording, truth, rotation = read_sequence(cache, drawing.subject, drawing.action, drawing.camera)
    length = max(track.start + len(track.keypoints) for track in recording.tracks)
    frames = chosen_frames(drawing, length, video)
    fps = drawing.fps or recording.fps
    if cache and video and video.fps and isfinite(fps) and abs(video.fps / fps - 1) >= 0.01:
        logger.info(
            f"WARNING: {video.path} has {video.fps:g} frames per second and the poses have {fps:g}; frame k of one is "
            "shown with frame k of the other"
        )
    if cache and video and drawing.limit is None and video.count(length, 1, 1):
        logger.warning(
            f"{video.path} has more frames than the {length} of the poses; frame k of one is shown with frame k of the "
            "other"
        )
    fps /= drawing.downsample
    logger.info(f"{name}: {len(frames)} of {length} frames, {fps:g} per second")
    if config.run.dry_run:
        return
    try:
        people = lift_people(model, recording, config.data.test_flip, np.array(frames))
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    if not people:
        raise UserError(f"{name}: nobody is in the frames to show; choose others with --viz_skip and --viz_limit")
    times = people[0].frames / (fps * drawing.downsample) if recording.times is None else people[0].times
    poses = replace(people[0], fps=fps, times=times)
    truth = truth if drawing.ground_truth else None
    if truth and (errors := frame_errors(poses, truth)):
        logger.info(f"MPJPE of the frames shown: {np.mean(list(errors.values())):.1f} mm")
    if drawing.export:
        write_comparison(Path(drawing.export), poses, truth, name)
        logger.info(f"Wrote {drawing.export}: coordinates of {len(poses.frames)} frames")
    if drawing.output:
        if cache and video and video.size != poses.image_size:
            found, wanted = ("x".join(map(str, size)) for size in (video.size, poses.image_size))
            logger.info(f"{video.path} is {found}, the 2D poses are for {wanted}: scaling the video")
        animation = Animation([poses], drawing.size, truth, rotation)
        animate(Path(drawing.output), animation, frames, fps, drawing.bitrate, video, recording.times)


def chosen_frames(drawing: RenderConfig, length: int, video: Video | None) -> range:
    """The numbers of the frames to show, of a sequence of `length` frames: every --viz_downsample-th frame from
    --viz_skip on, at most --viz_limit, and none after the end of the video.

    Raises UserError if no frame is left.
    """
    if drawing.skip >= length:
        raise UserError(f"invalid --viz_skip {drawing.skip}: must be 0 to {length - 1} for {length} frames")
    frames = range(drawing.skip, length, drawing.downsample)[: drawing.limit]
    if video is None:
        return frames
    filmed = video.count(drawing.skip, drawing.downsample, len(frames))
    if filmed == 0:
        raise UserError(f"invalid --viz_skip {drawing.skip}: --viz_video {video.path} is shorter; give a smaller value")
    if filmed < len(frames):
        logger.info(f"{video.path} ends before the poses do: showing {filmed} frames instead of {len(frames)}")
    return frames[:filmed]


def read_own(drawing: RenderConfig, skeleton: Skeleton, video: Video | None) -> Recording:
    """The largest person of --viz_keypoints, as `glagcn lift` reads it; joints that nothing states are the model's.

    The video may be shorter than the poses.  Raises UserError.
    """
    try:
        return read_recording(
            Path(drawing.keypoints or ""),
            video,
            joints=drawing.joints,
            usual_joints=input_convention(skeleton).name,
            image_size=cast(tuple[int, int] | None, drawing.image_size),
            fps=drawing.fps,
            prefix="--viz_",
            may_end=True,
        )
    except UserError as error:
        raise UserError(f"--viz_keypoints {error}") from None


def read_sequence(
    cache: Cache, subject: str | None, action: str | None, camera: int
) -> tuple[str, Recording, Poses | None, np.ndarray | None]:
    """The sequence of --viz_subject, --viz_action and --viz_camera, from either split of a cache.

    action  a prefix is enough: "Walking" finds "Walking 1"; None if the subject has only one action.
    camera  0 also finds a sequence with a single unnumbered camera.
    Returns its name, its 2D poses, its true poses in the frames that have them (None without), and the rotation [3,3]
    from camera to world coordinates with z up (None if unknown).  Raises UserError, listing the valid names, if there
    is no such sequence.
    """
    split, number = _find(cache, subject, action, camera)
    info, first, skeleton = split.sequences[number], int(split.starts[number]), get_skeleton(cache.skeleton)
    part, size, fps = slice(first, first + info.length), (info.width, info.height), float(info.fps)
    keypoints = mark_missing(with_confidence(split.pixels[part]), size)
    target = split.millimetres[part] - split.millimetres[part][:, skeleton.root, None]
    frames = np.flatnonzero(np.isfinite(target).all(axis=(1, 2)))
    truth = None
    if len(frames):
        shape = len(frames), skeleton.num_joints
        truth = Poses(0, skeleton, frames, fps, target[frames], np.ones(shape), np.full((*shape, 2), np.nan), size)
    rotation = get_dataset(cache.dataset).camera_rotation(info)
    return info.name, Recording(None, [Track(0, 0, keypoints)], size, fps), truth, rotation


def _find(cache: Cache, subject: str | None, action: str | None, camera: int) -> tuple[Split, int]:
    """The split and number of a sequence."""
    rows = [(info, split, number) for split in (cache.test, cache.train) for number, info in enumerate(split.sequences)]
    subjects = list(dict.fromkeys(info.subject for info, *_ in rows))
    rows = [row for row in rows if row[0].subject == subject]
    if not rows:
        raise _unknown("--viz_subject", subject, subjects)
    actions = list(dict.fromkeys(info.action for info, *_ in rows))
    matching = _matching_actions(actions, action)
    if not matching and actions == [""]:
        raise UserError(
            f"invalid --viz_action {action}: {subject} has a single sequence without a name; leave the flag out"
        )
    if not matching:
        raise _unknown("--viz_action", action, actions, f" for {subject}")
    if len(matching) > 1:
        logger.info(f"--viz_action {action} matches {_listed(matching)}: taking the first")
    rows = [row for row in rows if row[0].action == matching[0]]
    for info, split, number in rows:
        if info.camera == camera or (info.camera == -1 and camera == 0):
            return split, number
    cameras = sorted({str(max(info.camera, 0)) for info, *_ in rows})
    raise _unknown("--viz_camera", camera, cameras, f" for {subject}/{matching[0]}".removesuffix("/"))


def _unknown(flag: str, value: object, names: list[str], of: str = "") -> UserError:
    found = f"{flag} is missing" if value is None else f"invalid {flag} {value}"
    return UserError(f"{found}: must be one of {_listed(names)}{of}")


def _matching_actions(actions: list[str], wanted: str | None) -> list[str]:
    """The actions that match a name: exactly, else as numbered takes ("Walking 1"), else as a prefix."""
    if wanted is None:
        return actions if len(actions) == 1 else []
    if wanted in actions:
        return [wanted]
    takes = [action for action in actions if action.startswith(f"{wanted} ")]
    return takes or [action for action in actions if wanted and action.startswith(wanted)]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more
