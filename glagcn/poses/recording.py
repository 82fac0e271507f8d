"""The keypoints that are to be lifted: who is where in which frames of which video."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.checks import ORDERS, check_movement, check_poses, fit_orders, warn_of
from glagcn.poses.gaps import USUAL_FPS, mark_missing
from glagcn.poses.joints import CONVENTIONS, conventions_of
from glagcn.poses.keypoints.read import MOST_FRAMES, KeypointFile, read_keypoints
from glagcn.poses.keypoints.tracks import Track, likely_same, select, tracks

if TYPE_CHECKING:
    from glagcn.poses.draw.video import Video

logger = logging.getLogger(__name__)

SAME = 0.01  # relative difference of aspect ratios or frame rates that count as equal
SURE = 0.5  # confidence from which a joint outside the image is no guess of the detector
MOST_OUTSIDE = 0.05  # of the joints, in a video that is not turned
MOST_LISTED = 10
SAME_TIME = 0.9  # where fewer entries have a frame of their own by their times, those or the rate are wrong


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


def read_recording(
    path: Path,
    video: "Video | None" = None,
    length: int | None = None,
    *,
    format: str | None = None,
    joints: str | None = None,
    usual_joints: str | None = None,
    image_size: tuple[int, int] | None = None,
    fps: float | None = None,
    person: str = "largest",
    min_confidence: float | None = None,
    prefix: str = "--",
) -> Recording:
    """Read a keypoint file, compare it with its video, and choose the people.

    length          the frames of the video; None: they need not be as many as those of the keypoints.
    format, joints  of the file, as `read_keypoints` takes them.
    usual_joints    the joints of a file that does not say which it has; None: it is refused.
    image_size, fps  go before what the file says, and that before what the video does.
    min_confidence  as `read_keypoints` takes it.
    person          "largest", "longest", "all", the number of a person, or such numbers of one, parted by commas.
    prefix          of the flags in messages.
    Raises UserError where the file is damaged, does not fit the video, or lacks what nobody else says.
    """
    found = read_keypoints(path, format, joints, image_size, min_confidence, video.size if video else None)
    found = _by_times(path, found, fps or found.fps or (video.fps if video else None), length)
    convention = found.convention or _unstated(path, found, usual_joints, prefix)
    order, size = CONVENTIONS[convention], found.image_size
    if size is None:
        raise UserError(
            f"{path} does not say how large its images are; give {prefix}image_size W,H or the video with {prefix}video"
        )
    if video and length and found.frames[0] > 0 and found.frames[-1] == length:
        logger.warning(
            f"{path} has frames up to {length}, and {prefix}video {video.path} has the frames 0 to {length - 1}: its "
            "pictures seem to be numbered from 1, so picture 1 is taken for frame 0"
        )
        found = replace(found, frames=found.frames - 1)
    if video:
        _check_video(path, found, video, length, prefix)
    check_poses(found.keypoints, size, order, str(path), joints is not None, prefix)
    found = _near_image(path, found, size)
    last, (width, height) = int(found.frames[-1]), size
    logger.info(
        f"{path}: {found.format}, joints {convention} ({order.title}), images of {width}x{height}, "
        f"{len(found.frames)} poses in {len(np.unique(found.frames))} of the frames 0 to {last}"
    )
    if video and length and last + 1 < length:
        logger.info(f"{video.path} has {length} frames: nobody is in those after frame {last}")
    fps = fps or found.fps or (video.fps if video else None)
    if not fps:
        logger.info(f"nothing states the frames per second: taken for {USUAL_FPS:g}; {prefix}fps sets them")
        fps = USUAL_FPS
    elif video and video.fps and not _alike(fps, video.fps):
        logger.warning(
            f"{video.path} has {video.fps:g} frames per second, and the poses have {fps:g}; frame n of one is "
            "taken for frame n of the other"
        )
    chosen = _choose(found, fps, person, prefix)
    warn_of(check_movement([track.keypoints for track in chosen], order.points), str(path), prefix)
    return Recording(convention, chosen, size, fps)


def _by_times(path: Path, found: KeypointFile, fps: float | None, length: int | None) -> KeypointFile:
    """The poses in the frames where their own times put them, from that of the first entry on.

    fps     None: that of the times.
    length  the frames of the video: as many entries are its frames, whatever their times.
    """
    times = found.times
    entries, rows = np.unique(found.frames, return_index=True)
    if times is None or found.length == length or times[-1] == times[0]:
        return found
    rate = (len(entries) - 1) / max(float(times[-1] - times[0]), 1e-9)
    if fps is None:
        steps = np.diff(np.unique(times))
        fps = round(1 / float(steps[steps < 1.5 * np.median(steps)].mean()), 4)  # the others are gaps
        logger.info(f"{path}: {fps:g} frames per second, by the times in the file")
        found = replace(found, fps=fps)
    places = np.rint(times * fps).astype(np.int64)
    if np.array_equal(places, found.frames):
        return found
    if len(np.unique(places[rows])) < SAME_TIME * len(entries) or places[-1] >= (length or MOST_FRAMES):
        logger.warning(
            f"{path}: by its times it has {rate:.3g} poses a second, which do not fit {fps:g} frames per second"
            f"{f' and a video of {length} frames' if length else ''}; the times are not used, and each entry is a frame"
        )
        return found
    logger.warning(
        f"{path}: its entries do not follow each other by 1/{fps:g} s; they are placed by the times in the file, up to "
        f"frame {places[-1]}"
    )
    _, first, inverse = np.unique(places, return_index=True, return_inverse=True)
    once = found.frames == found.frames[first][inverse]
    return replace(
        found, frames=places[once], keypoints=found.keypoints[once], persons=found.persons[once], times=None,
        length=int(places[-1]) + 1,
    )  # fmt: skip


def _near_image(path: Path, found: KeypointFile, size: tuple[int, int]) -> KeypointFile:
    """The poses without joints far outside the image, once the check has seen those too."""
    keypoints = mark_missing(found.keypoints, size, 0)
    seen = keypoints[..., 2].any(axis=1)
    if not seen.any():
        raise UserError(f"{path}: every joint is far outside the images of {size[0]}x{size[1]}")
    return replace(found, frames=found.frames[seen], keypoints=keypoints[seen], persons=found.persons[seen])


def _choose(found: KeypointFile, fps: float, person: str, prefix: str) -> list[Track]:
    """The tracks of the chosen people; says who there is."""
    same = [int(number) for number in person.split(",")] if "," in person else []
    everybody = tracks(found, fps, same=same)
    chosen = select(everybody, same[0] if same else person)
    lengths: dict[int, int] = {}
    for track in everybody:
        lengths[track.person] = lengths.get(track.person, 0) + len(track.keypoints)
    if (found.persons < 0).any() and len(lengths) > 1:
        logger.info("not every pose has the id of a person: people are followed by the overlap of their boxes")
    if len(everybody) > len(lengths):
        gaps = len(everybody) - len(lengths)
        logger.info(f"gaps of more than half a second, in which somebody is not lifted: {gaps}")
    if len(lengths) == 1:
        logger.info("1 person (number {}) in {} frames".format(*next(iter(lengths.items()))))
        return chosen
    listed = [f"number {number} in {length} frames" for number, length in sorted(lengths.items())[:MOST_LISTED]]
    more = f" and {len(lengths) - MOST_LISTED} more" if len(lengths) > MOST_LISTED else ""
    logger.info(f"{len(lengths)} people: {', '.join(listed)}{more}")
    if person == "all":
        return chosen
    number, flag = chosen[0].person, prefix == "--"  # --render has no --person
    which = f", the {person}" if person.isalpha() else ""
    logger.info(f"lifting person {number}{which}{'; --person all lifts everybody' if flag else ''}")
    for other in likely_same(everybody, chosen, fps):
        logger.warning(
            f"person {other} is never seen together with {number}, and near where one of them begins the other ends: "
            f"likely the same person with another number{f'; --person {number},{other} joins them' if flag else ''}"
        )
    return chosen


def _unstated(path: Path, found: KeypointFile, usual: str | None, prefix: str) -> str:
    """The joints of a file that does not say which it has."""
    known = [convention.name for convention in conventions_of(found.keypoints.shape[1])]
    if usual in known:
        return usual
    if not known:
        count = found.keypoints.shape[1]
        raise UserError(f"{path} has poses of {count} joints; expected those of {', '.join(CONVENTIONS)}")
    looks = next(iter(fit_orders(found.keypoints[..., :2], found.keypoints[..., 2] > 0, ORDERS)), known[0])
    raise UserError(
        f"{path} does not say which {found.keypoints.shape[1]} joints its poses have; give {prefix}joints, one of "
        f"{', '.join(known)}. They look like {looks}"
    )


def _check_video(path: Path, found: KeypointFile, video: "Video", length: int | None, prefix: str) -> None:
    """Raise UserError where the keypoints cannot be those of a video: its length, shape or rotation."""
    shown = f"{prefix}video {video.path}"
    if length is not None and found.frames[-1] >= length:
        raise UserError(
            f"{path} has poses up to frame {found.frames[-1]}, and {shown} has the frames 0 to {length - 1}; give the "
            "video in which they were detected"
        )
    assert found.image_size is not None
    (width, height), (shown_width, shown_height) = found.image_size, video.size
    same_shape = _alike(width / height, shown_width / shown_height)
    on_its_side = _alike(width / height, shown_height / shown_width) and not same_shape
    if on_its_side or _fits_turned(found, video.size):
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
