"""Writes the coordinates of the frames shown to .npz or .csv."""

import csv
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from glagcn.data.dataset import Cache, SequenceInfo, Split
from glagcn.data.datasets import get_dataset
from glagcn.errors import UserError
from glagcn.files import write_atomically
from glagcn.poses.draw.animation import Clip
from glagcn.poses.draw.video import Video
from glagcn.poses.gaps import USUAL_FPS, Counts, fill_gaps, gap_frames
from glagcn.poses.joints import CONVENTIONS, check_convention, check_input, input_joints
from glagcn.poses.keypoints.read import KeypointFile, read_keypoints
from glagcn.poses.keypoints.tracks import select, tracks
from glagcn.skeletons import Skeleton, get_skeleton

# ---- The sequence to render: 2D poses, and true 3D poses if the data set has them.


logger = logging.getLogger(__name__)

MOST_LISTED = 40


@dataclass(frozen=True)
class Recording:
    """All T frames of one sequence.

    name        for the log.
    pixels      [T,Vin,2], image coordinates.
    target      [T,V,3] mm relative to the root, camera coordinates, or None.
    image_size  (width, height) in pixels.
    fps         frames per second.
    rotation    [3,3] camera to world coordinates, z up; None if unknown.
    confidence  [T,Vin] of the joints, 0 where a place was filled in; None if unknown.
    """

    name: str
    pixels: np.ndarray
    target: np.ndarray | None
    image_size: tuple[int, int]
    fps: float
    rotation: np.ndarray | None = None
    confidence: np.ndarray | None = None


def cached_recording(cache: Cache, subject: str | None, action: str | None, camera: int) -> Recording:
    """The sequence of --viz-subject, --viz-action and --viz-camera, from either split of a cache.

    action  a prefix is enough: "Walking" finds "Walking 1"; None if the subject has only one action.
    camera  0 also finds a sequence with a single unnumbered camera.
    Raises UserError, listing the valid names, if there is no such sequence.
    """
    everything = [(split, number) for split in (cache.test, cache.train) for number in range(len(split.sequences))]
    split, number = _choose(everything, subject, action, camera)
    info, first = split.sequences[number], int(split.starts[number])
    frames = slice(first, first + info.length)
    target = split.millimetres[frames]
    root = get_skeleton(cache.skeleton).root
    return Recording(
        name=info.name,
        pixels=split.pixels[frames],
        target=target - target[:, root, None],
        image_size=(info.width, info.height),
        fps=float(info.fps),
        rotation=get_dataset(cache.dataset).camera_rotation(info),
    )


def _choose(
    everything: list[tuple[Split, int]], subject: str | None, action: str | None, camera: int
) -> tuple[Split, int]:
    """The split and index of the sequence."""
    rows = [(split.sequences[number], split, number) for split, number in everything]
    subjects = _distinct(info.subject for info, *_ in rows)
    if subject not in subjects:
        must = f"must be one of {_listed(subjects)}"
        if subject is None:
            raise UserError(f"--viz-subject is missing: {must}")
        raise UserError(f"invalid --viz-subject {subject}: {must}")
    rows = [row for row in rows if row[0].subject == subject]
    actions = _distinct(info.action for info, *_ in rows)
    matching = _matching_actions(actions, action)
    if not matching:
        raise UserError(_no_action(subject, actions, action))
    if len(matching) > 1:
        logger.info(f"--viz-action {action} matches {_listed(matching)}: taking the first")
    rows = [row for row in rows if row[0].action == matching[0]]
    for info, split, number in rows:
        if info.camera == camera or (info.camera == -1 and camera == 0):
            return split, number
    raise UserError(
        f"invalid --viz-camera {camera}: must be one of "
        f"{_listed(sorted({str(max(info.camera, 0)) for info, *_ in rows}))} for {_take(rows[0][0])}"
    )


def _matching_actions(actions: list[str], wanted: str | None) -> list[str]:
    """The actions that match a name: exactly, else as numbered takes ("Walking 1"), else as a prefix."""
    if wanted is None:
        return actions if len(actions) == 1 else []
    if wanted in actions:
        return [wanted]
    takes = [action for action in actions if action.startswith(f"{wanted} ")]
    return takes or [action for action in actions if wanted and action.startswith(wanted)]


def _no_action(subject: str, actions: list[str], wanted: str | None) -> str:
    if actions == [""]:
        return f"invalid --viz-action {wanted}: {subject} has a single sequence without a name; leave the flag out"
    must = f"must be one of {_listed(actions)} for {subject}"
    return f"--viz-action is missing: {must}" if wanted is None else f"invalid --viz-action {wanted}: {must}"


def _take(info: SequenceInfo) -> str:
    return f"{info.subject}/{info.action}".removesuffix("/")


def _distinct(names) -> list[str]:
    return list(dict.fromkeys(names))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more


# ---- --viz-keypoints: 2D poses from a user's file, without ground truth.


FLAG, JOINTS_FLAG = "--viz-keypoints", "--viz-joints "


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
    joints           the order of the file's joints (see glagcn.poses.joints); None: as the file says, else as its
                     format or the model usually has them.
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
        fps = USUAL_FPS
        logger.info(
            f"{path} does not state the frame rate: assuming {USUAL_FPS:g} frames per second; --viz-fps sets it"
        )
    filled = _of_one_person(path, held, fps, skeleton)
    return Recording(str(path), filled[..., :2], None, held.image_size, fps, confidence=filled[..., 2])


def _in_input_joints(path: Path, held: KeypointFile, skeleton: Skeleton, stated: bool) -> KeypointFile:
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


def _of_one_person(path: Path, held: KeypointFile, fps: float, skeleton: Skeleton) -> np.ndarray:
    """[T,V,3] of the largest person, from frame 0 to the last, with every gap filled (see `fill_gaps`)."""
    everybody = tracks(held, fps)
    chosen = select(everybody, "largest")
    others = len({track.person for track in everybody}) - 1
    if others:
        logger.info(f"{path}: {others} other people are left out; the largest, in {len(chosen)} stretches, is shown")
    keypoints = np.zeros((held.length, *held.keypoints.shape[1:]), np.float32)
    for track in chosen:
        keypoints[track.start : track.start + len(track.keypoints)] = track.keypoints
    counts = Counts()
    filled = fill_gaps(keypoints, gap_frames(fps), counts)
    if counts.missing:
        logger.info(f"{path}: {counts.words(input_joints(skeleton))}")
    return filled


# ---- Writes the coordinates of the frames shown to .npz or .csv.


SUFFIXES = (".npz", ".csv")
ABOUT = (
    "3D: millimetres relative to the root joint, camera coordinates (x right, y down, z forward). "
    "2D: pixels of an image of {width} x {height}, x right, y down. "
    "frames: numbers in the sequence {name}, from 0. Skeleton: {skeleton}."
)


def check_export(path: Path) -> None:
    """Raise UserError unless `path` ends in .npz or .csv and is not a folder."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"invalid --viz-export {path}: must end in .npz or .csv")
    if path.is_dir():
        raise UserError(f"invalid --viz-export {path}: is a folder; give the name of a file")


def write_poses(path: Path, clip: Clip, name: str, fps: float) -> None:
    """Write the coordinates of the n frames of a clip as .npz or .csv, atomically.

    name  of the sequence;  fps  of the frames shown.

    .npz: frames [n], joints [V] names, parents [V], predicted_mm [n,V,3], target_mm [n,V,3] if there is a target,
    pixels [n,Vin,2], fps, about (text on units and coordinates).  No pickled objects.
    .csv: a row per frame and joint: frame, joint, x_mm, y_mm, z_mm, then true_x_mm, ... if there is a target, then
    u_px, v_px, which are empty for a joint without a 2D input joint.
    """
    write = _write_npz if path.suffix.lower() == ".npz" else _write_csv
    write_atomically(path, lambda file: write(file, clip, name, fps))


def _write_npz(file: BinaryIO, clip: Clip, name: str, fps: float) -> None:
    width, height = clip.image_size
    arrays: dict[str, Any] = {
        "frames": clip.frames.astype(np.int64),
        "joints": np.array(clip.skeleton.joints),
        "parents": np.array(clip.skeleton.parents, dtype=np.int64),
        "predicted_mm": clip.predicted,
        "pixels": clip.pixels,
        "fps": np.float64(fps),
        "about": np.array(ABOUT.format(width=width, height=height, name=name, skeleton=clip.skeleton.name)),
    }
    if clip.target is not None:
        arrays["target_mm"] = clip.target
    np.savez_compressed(file, **arrays)


def _write_csv(file: BinaryIO, clip: Clip, name: str, fps: float) -> None:  # noqa: ARG001
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    table = csv.writer(text, lineterminator="\n")
    true = [] if clip.target is None else ["true_x_mm", "true_y_mm", "true_z_mm"]
    table.writerow(["frame", "joint", "x_mm", "y_mm", "z_mm", *true, "u_px", "v_px"])
    inputs = _input_joints(clip)
    for index, frame in enumerate(clip.frames):
        for joint, label in enumerate(clip.skeleton.joints):
            values = [clip.predicted[index, joint]]
            values += [] if clip.target is None else [clip.target[index, joint]]
            numbers = [f"{value:.3f}" for value in np.concatenate(values)]
            pixel = inputs[joint]
            numbers += ["", ""] if pixel is None else [f"{value:.3f}" for value in clip.pixels[index, pixel]]
            table.writerow([int(frame), label, *numbers])
    text.flush()
    text.detach()  # the caller closes the file


def _input_joints(clip: Clip) -> list[int | None]:
    """For each joint the index of the same joint in the 2D input; None for a mean of several input joints."""
    skeleton = clip.skeleton
    if skeleton.joint_map is None:
        return list(range(skeleton.num_joints))
    return [joints[0] if len(joints) == 1 else None for joints in skeleton.joint_map]
