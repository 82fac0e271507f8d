"""--viz-keypoints: 2D poses from a user's file, without ground truth."""

import logging
from pathlib import Path

import numpy as np

from glagcn.conventions import CONVENTIONS, check_convention, check_input, input_joints
from glagcn.data.sources.keypoints.detections import Detections
from glagcn.data.sources.keypoints.read import read_keypoints
from glagcn.data.sources.keypoints.tracks import Counts, fill_gaps, gap_frames, select, tracks
from glagcn.errors import UserError
from glagcn.rendering.recording import Recording
from glagcn.rendering.video_reader import Video
from glagcn.skeleton import Skeleton

logger = logging.getLogger(__name__)

FLAG, JOINTS_FLAG = "--viz-keypoints", "--viz-joints "
DEFAULT_FPS = 25.0


def keypoint_recording(
    path: Path,
    skeleton: Skeleton,
    joints: str | None,
    image_size: tuple[int, int] | None,
    fps: float | None,
    video: Video | None,
) -> Recording:
    """The poses of the largest person of a file, to be rendered; frame k is frame k of the file.

    skeleton         of the model, whose input joints the poses are brought to.
    joints           the order of the file's joints (see glagcn.conventions); None: as the file says, else as its format
                     or the model usually has them.
    image_size, fps  those given go before the file's, and those before the video's.
    Raises UserError where the file is not as it should be, or nothing says how large the image is.
    """
    try:
        held = read_keypoints(path, joints=joints, image_size=image_size, other_size=video.size if video else None)
        held = _in_input_joints(path, held, skeleton, stated=joints is not None)
    except UserError as error:
        raise UserError(f"{FLAG} {error}") from None
    if held.image_size is None:
        raise UserError(
            f"{FLAG} {path} does not state the image size; give --viz-image-size W,H, an array image_size in an "
            ".npz, or the video with --viz-video"
        )
    fps = fps or held.fps or (video.fps if video else None)
    if not fps:
        fps = DEFAULT_FPS
        logger.info(
            f"{path} does not state the frame rate: assuming {DEFAULT_FPS:g} frames per second; --viz-fps sets it"
        )
    filled = _of_one_person(path, held, fps, skeleton)
    return Recording(str(path), filled[..., :2], None, held.image_size, fps, confidence=filled[..., 2])


def _in_input_joints(path: Path, held: Detections, skeleton: Skeleton, stated: bool) -> Detections:
    """The poses in the joints that the model reads; an order that nobody stated is compared with the poses."""
    if held.convention is None:
        count = held.keypoints.shape[1]
        if count != skeleton.num_input_joints:
            raise UserError(
                f"{path} holds poses of {count} joints, and the model reads {skeleton.num_input_joints}; say which "
                f"they are with {JOINTS_FLAG}NAME: {', '.join(CONVENTIONS)}"
            )
        check_input(held.keypoints, skeleton, str(path), JOINTS_FLAG)
        return held
    if not stated:
        check_convention(held.keypoints, CONVENTIONS[held.convention], str(path), JOINTS_FLAG)
    approximated = CONVENTIONS[held.convention].map_to(skeleton).approximated
    if approximated:
        logger.info(f"{path}: joints {held.convention}; made of others: {', '.join(approximated)}")
    return held.mapped_to(skeleton)


def _of_one_person(path: Path, held: Detections, fps: float, skeleton: Skeleton) -> np.ndarray:
    """[T,V,3] of the largest person, from frame 0 to the last, with every gap filled (see `fill_gaps`)."""
    everybody, _ = tracks(held, fps)
    chosen = select(everybody, "largest")
    others = len({track.person for track in everybody}) - 1
    if others:
        logger.info(f"{path}: {others} other people are left out; the largest, in {len(chosen)} stretches, is shown")
    length = max(held.length or 0, int(held.frames[-1]) + 1)
    keypoints = np.zeros((length, *held.keypoints.shape[1:]), np.float32)
    for track in chosen:
        keypoints[track.start : track.start + len(track.keypoints)] = track.keypoints
    counts = Counts()
    filled = fill_gaps(keypoints, gap_frames(fps), counts)
    if counts.missing:
        logger.info(f"{path}: {counts.words(input_joints(skeleton))}")
    return filled
