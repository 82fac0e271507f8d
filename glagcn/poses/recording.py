"""The keypoints that are to be lifted: who is where in which frames of which video."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.checks import check_poses
from glagcn.poses.gaps import USUAL_FPS
from glagcn.poses.joints import CONVENTIONS, conventions_of, guess_convention
from glagcn.poses.keypoints.read import KeypointFile, read_keypoints
from glagcn.poses.keypoints.tracks import Track, select, tracks
from glagcn.poses.options import LiftOptions

logger = logging.getLogger(__name__)

SAME = 0.01  # relative difference of aspect ratios or frame rates that count as equal
SURE = 0.5  # confidence from which a joint outside the image is no guess of the detector
MOST_OUTSIDE = 0.05  # of the joints, in a video that is not turned
MOST_LISTED = 10


@dataclass(frozen=True)
class Film:
    """The facts of a video that keypoints must agree with.

    size    (width, height) in pixels as displayed.
    fps     frames per second; 0 if unknown.
    frames  their number; None: it need not be that of the keypoints.
    """

    path: Path
    size: tuple[int, int]
    fps: float
    frames: int | None


@dataclass(frozen=True)
class Recording:
    """The chosen people of a keypoint file, or the person of a sequence of a data set.

    convention  name of the joints of the tracks; None: those that the model reads.
    tracks      of the chosen people, in the frame numbers of the video.
    image_size  (width, height) in pixels.
    fps         frames per second.
    """

    convention: str | None
    tracks: list[Track]
    image_size: tuple[int, int]
    fps: float


def read_recording(options: LiftOptions, film: Film | None) -> Recording:
    """Read the keypoint file, compare it with the video, and choose the people.

    Raises UserError where the file is damaged, does not fit the video, or lacks what nobody else says.
    """
    path = options.file
    found = read_keypoints(
        path,
        options.format,
        options.joints,
        image_size=options.image_size,
        other_size=film.size if film else None,
        least_confidence=options.min_confidence,
    )
    convention = _convention(options, found)
    if found.image_size is None:
        raise UserError(
            f"{path} does not say how large its images are; give {options.prefix}image_size W,H or the video with "
            f"{options.prefix}video"
        )
    if film:
        check_film(options, found, film)
    size, flag, stated = np.array(found.image_size), f"{options.prefix}joints ", options.joints is not None
    check_poses(found.keypoints, size, CONVENTIONS[convention], str(path), flag, stated)
    last, (width, height) = int(found.frames[-1]), found.image_size
    logger.info(
        f"{path}: {found.format}, joints {convention} ({CONVENTIONS[convention].title}), images of {width}x{height}, "
        f"{len(found.frames)} poses in {len(np.unique(found.frames))} of the frames 0 to {last}"
    )
    if film and film.frames and last + 1 < film.frames:
        logger.info(f"{film.path} has {film.frames} frames: nobody is in those after frame {last}")
    fps = _frames_per_second(options, found, film)
    everybody = tracks(found, fps)
    chosen = select(everybody, options.person)
    if (found.persons < 0).any() and len({track.person for track in everybody}) > 1:
        logger.info("not every pose has the id of a person: people are followed by the overlap of their boxes")
    if gaps := len(everybody) - len({track.person for track in everybody}):
        logger.info(f"gaps of more than half a second, in which somebody is not lifted: {gaps}")
    _say_people(everybody, chosen, options)
    return Recording(convention, chosen, found.image_size, fps)


def check_film(options: LiftOptions, found: KeypointFile, film: Film) -> None:
    """Raise UserError where the keypoints of a file cannot be those of a video: its length, shape or rotation."""
    path, shown = options.file, f"{options.prefix}video {film.path}"
    if film.frames is not None and found.frames[-1] >= film.frames:
        raise UserError(
            f"{path} has poses up to frame {found.frames[-1]}, and {shown} has the frames 0 to "
            f"{film.frames - 1}; give the video in which they were detected"
        )
    assert found.image_size is not None
    (width, height), (shown_width, shown_height) = found.image_size, film.size
    same_shape = _alike(width / height, shown_width / shown_height)
    on_its_side = _alike(width / height, shown_height / shown_width) and not same_shape
    if on_its_side or _fits_turned(found, film.size):
        raise UserError(
            f"{path} has poses of images on their side: {shown} is displayed as {shown_width}x"
            f"{shown_height}; detect in the video as it is displayed, or give the video as the detector saw it"
        )
    if not same_shape:
        raise UserError(
            f"{path} has poses of images of {width}x{height}, and {shown} has another shape, "
            f"{shown_width}x{shown_height}; give the video in which they were detected"
        )


def _alike(one: float, other: float) -> bool:
    return abs(one / other - 1) < SAME


def _fits_turned(found: KeypointFile, size: tuple[int, int]) -> bool:
    """Whether the joints leave an image of this size, and not one on its side."""
    sure = found.keypoints[found.keypoints[..., 2] >= SURE][:, :2]
    if found.image_size != size or not len(sure):
        return False
    outside, turned = (float(np.mean(((sure < 0) | (sure > side)).any(axis=1))) for side in (size, size[::-1]))
    return outside > MOST_OUTSIDE > turned


def _convention(options: LiftOptions, found: KeypointFile) -> str:
    """The name of the joints; an order that nobody states is compared with the poses."""
    path, count = options.file, found.keypoints.shape[1]
    convention, usual = found.convention, options.usual_joints
    if convention is None and usual in CONVENTIONS and len(CONVENTIONS[usual].joints) == count:
        convention = usual
    if convention is None:
        known = [convention.name for convention in conventions_of(count)]
        if not known:
            raise UserError(f"{path} has poses of {count} joints; expected those of {', '.join(CONVENTIONS)}")
        looks = next(iter(guess_convention(found.keypoints)), known[0])
        raise UserError(
            f"{path} does not say which {count} joints its poses have; give {options.prefix}joints, one of "
            f"{', '.join(known)}. They look like {looks}"
        )
    return convention


def _frames_per_second(options: LiftOptions, found: KeypointFile, film: Film | None) -> float:
    """From the flag, the file or the video, in this order."""
    fps = options.fps or found.fps or (film.fps if film else None)
    if not fps:
        logger.info(f"nothing states the frames per second: taken for {USUAL_FPS:g}; {options.prefix}fps sets them")
        return USUAL_FPS
    if film and film.fps and not _alike(fps, film.fps):
        logger.warning(
            f"{film.path} has {film.fps:g} frames per second, and the poses have {fps:g}; frame n of one is "
            "taken for frame n of the other"
        )
    return fps


def _say_people(everybody: list[Track], chosen: list[Track], options: LiftOptions) -> None:
    lengths: dict[int, int] = {}
    for track in everybody:
        lengths[track.person] = lengths.get(track.person, 0) + len(track.keypoints)
    listed = [f"{number} ({length} frames)" for number, length in sorted(lengths.items())[:MOST_LISTED]]
    more = f" and {len(lengths) - MOST_LISTED} more" if len(lengths) > MOST_LISTED else ""
    logger.info(f"people: {', '.join(listed)}{more}")
    if len(lengths) > 1 and options.person != "all":
        which = "" if options.person.isdecimal() else f", the {options.person}"
        advice = "; --person all lifts everybody" if options.prefix == "--" else ""  # --render has no such flag
        logger.info(f"lifting person {chosen[0].person}{which}{advice}")
