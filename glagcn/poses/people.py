"""Lift the people of a recording with a model."""

import logging
from dataclasses import replace

import numpy as np
import torch

from glagcn.errors import UserError
from glagcn.model.cores import full_precision
from glagcn.model.interface import Model
from glagcn.poses.gaps import Counts, fill_gaps, gap_frames
from glagcn.poses.joints import CONVENTIONS, input_joints
from glagcn.poses.keypoints.tracks import Track
from glagcn.poses.lift import check_pixels, input_windows, lift_frames, warn_if_swapped
from glagcn.poses.recording import Recording
from glagcn.poses.result import Poses
from glagcn.progress import Progress
from glagcn.skeletons import Skeleton

logger = logging.getLogger(__name__)

CHUNK = 1024  # frames between two signs of progress


def lift_people(model: Model, recording: Recording, flip: bool, frames: np.ndarray | None = None) -> list[Poses]:
    """The people of a recording in camera axes, without a root path, by their numbers.

    Each track is lifted alone, from windows of its own frames.
    flip    average with the mirrored-back prediction for the mirrored poses.
    frames  the numbers of the frames to lift; None: all.  Somebody who is in none of them is left out.
    Raises UserError where the joints of the recording do not give those that the model reads, or nobody is left.
    """
    skeleton = model.skeleton
    mapped = recording.tracks
    if recording.convention is not None:
        joints = CONVENTIONS[recording.convention].map_to(skeleton)
        if joints.approximated:
            made = ", ".join(joints.approximated)
            logger.info(f"{skeleton.name} from {recording.convention}: {made} are made of other joints")
        mapped = [replace(track, keypoints=joints.apply(track.keypoints)) for track in mapped]
    there = [track for track in mapped if track.keypoints[..., 2].any()]
    if not there:
        raise UserError(f"no joint that the model reads ({skeleton.name}) is seen in any frame; nothing can be lifted")
    counts, size = Counts(), np.array(recording.image_size)
    filled = [fill_gaps(track.keypoints, gap_frames(recording.fps), counts) for track in there]
    for track, keypoints in zip(there, filled, strict=True):
        try:
            check_pixels(keypoints[..., :2], size)
        except UserError as error:
            raise UserError(f"person {track.person}: {error}") from error
    warn_if_swapped(np.concatenate([keypoints[..., :2] for keypoints in filled]), size)
    rows = [np.arange(len(keypoints)) for keypoints in filled]
    if frames is not None:
        rows = [own[np.isin(own + track.start, frames)] for own, track in zip(rows, there, strict=True)]
    parts, done, total = [], 0, sum(map(len, rows))
    with Progress("lifted") as progress, full_precision():
        for track, keypoints, own in zip(there, filled, rows, strict=True):
            if not len(own):
                continue
            windows = input_windows(model, keypoints, size)  # once: a track may have 100,000 frames
            poses = []
            for chunk in torch.from_numpy(own).split(CHUNK):
                poses.append(lift_frames(model, windows, flip, chunk))
                done += len(chunk)
                progress(done, total)
            parts.append(_person(track, own, np.concatenate(poses), skeleton, recording))
    if counts.missing:
        logger.info(counts.words(input_joints(skeleton)))
    people: dict[int, list[Poses]] = {}
    for part in parts:
        people.setdefault(part.person, []).append(part)
    return [_joined(people[number]) for number in sorted(people)]


def _person(track: Track, rows: np.ndarray, poses: np.ndarray, skeleton: Skeleton, recording: Recording) -> Poses:
    """The lifted `rows` of a track; joints that were missing have confidence 0 and no pixels."""
    keypoints = track.keypoints[rows]  # before gaps were filled
    if skeleton.joint_map is not None:
        rows = [keypoints[:, list(joints)] for joints in skeleton.joint_map]
        places = [np.append(row[..., :2].mean(axis=1), row[..., 2].min(axis=1)[:, None], axis=1) for row in rows]
        keypoints = np.stack(places, axis=1)
    confidence = keypoints[..., 2].astype(np.float32)
    return Poses(
        person=track.person,
        skeleton=skeleton,
        frames=track.start + rows,
        fps=recording.fps,
        xyz=poses.astype(np.float32),
        confidence=confidence,
        pixels=np.where(confidence[..., None] > 0, keypoints[..., :2], np.nan).astype(np.float64),
        image_size=recording.image_size,
    )


def _joined(parts: list[Poses]) -> Poses:
    """One person from the tracks of that person, which follow each other."""
    return replace(
        parts[0],
        frames=np.concatenate([part.frames for part in parts]),
        xyz=np.concatenate([part.xyz for part in parts]),
        confidence=np.concatenate([part.confidence for part in parts]),
        pixels=np.concatenate([part.pixels for part in parts]),
    )
