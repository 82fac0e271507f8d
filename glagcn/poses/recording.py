"""The keypoints that are to be lifted: who is where in which frames of which video."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.checks import ORDERS, check_movement, check_poses, fit_orders, warn_of, with_right_sides
from glagcn.poses.gaps import mark_missing
from glagcn.poses.joints import CONVENTIONS, conventions_of
from glagcn.poses.keypoints.read import KeypointFile, read_keypoints
from glagcn.poses.keypoints.tracks import Track, likely_same, select, tracks
from glagcn.poses.times import set_times
from glagcn.poses.views import as_seen

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from glagcn.poses.draw.video import Video

logger = logging.getLogger(__name__)

MOST_LISTED = 10


@dataclass(frozen=True)
class Recording:
    """The chosen people of a keypoint file, or the person of a sequence of a data set.

    convention  name of the joints of the tracks; None: those that the model reads.
    tracks      of the chosen people, in the frame numbers of the video.
    image_size  (width, height) in pixels.
    fps         frames per second.
    times       [length] seconds of all frames after the first; None: they are evenly spaced, fps a second.
    video       whose pictures have the keypoints at their places; None without one.
    """

    convention: str | None
    tracks: list[Track]
    image_size: tuple[int, int]
    fps: float
    times: np.ndarray | None = None
    video: "Video | None" = None

    def places(self, track: Track) -> np.ndarray:
        """[T] the frames of a track in numbers of a constant rate: frame numbers, or times in units of 1 / fps."""
        frames = track.start + np.arange(len(track.keypoints))
        return frames if self.times is None else self.times[frames] * self.fps


def read_recording(
    source: "Path | ArrayLike",
    video: "Video | None" = None,
    *,
    format: str | None = None,
    joints: str | None = None,
    usual_joints: str | None = None,
    image_size: tuple[int, int] | None = None,
    fps: float | None = None,
    person: str = "largest",
    min_confidence: float | None = None,
    prefix: str = "--",
    may_end: bool = False,
) -> Recording:
    """Read a keypoint file or array, compare it with its video, and choose the people.

    source          a path, or an array as an .npy file holds it.
    format, joints  of the file, as `read_keypoints` takes them.
    usual_joints    the joints of a file that does not say which it has; None: it is refused.
    image_size, fps  go before what the file says, and that before what the video does.
    min_confidence  as `read_keypoints` takes it.
    person          "largest", "longest", "all", the number of a person, or such numbers of one, parted by commas.
    prefix          of the flags in messages.
    may_end         the video may end before the keypoints do.
    Raises UserError where the file is damaged, does not fit the video, or lacks what nobody else says.
    """
    sizes = (video.size, len(video.times)) if video else (None, None)
    path = source if isinstance(source, Path) else Path("keypoints")  # in messages
    found = read_keypoints(source, format, joints, image_size, min_confidence, *sizes)
    # The times in a file that this program detected are those of the video.
    found = set_times(path, found, fps, None if found.detected else video, prefix)
    uneven = found.times is not None
    if video and not may_end and found.frames[-1] >= len(video.times):
        raise UserError(
            f"{path} has poses up to frame {found.frames[-1]}, and {prefix}video {video.path} has the frames 0 to "
            f"{len(video.times) - 1}; give the video in which they were detected"
            + (" (of a variable rate: ffmpeg writes more pictures than frames, but for -fps_mode passthrough)" * uneven)
        )
    convention = found.convention or _unstated(path, found, usual_joints, prefix)
    order = CONVENTIONS[convention]
    if video:
        found, video = as_seen(path, found, video, order, prefix)
    if found.image_size is None:
        raise UserError(
            f"{path} does not say how large its images are; give {prefix}image_size W,H or the video with {prefix}video"
        )
    size, rate = found.image_size, found.fps
    assert rate is not None
    keypoints = check_poses(found.keypoints, size, order, str(path), joints is not None, prefix)
    found = _near_image(path, replace(found, keypoints=keypoints), size)
    logger.info(
        f"{path}: {found.format}, joints {convention} ({order.title}), images of {size[0]}x{size[1]}, "
        f"{len(found.frames)} poses in {len(np.unique(found.frames))} of the frames 0 to {found.frames[-1]}"
    )
    chosen = _choose(found, rate, person, prefix)
    recording = Recording(convention, chosen, size, rate, found.times, video)
    put = [
        with_right_sides(track.keypoints, order.points, rate, str(path), track.start, recording.places(track))
        for track in chosen
    ]
    warn_of(check_movement(put, order.points, [track.start for track in chosen]), str(path), prefix)
    return replace(recording, tracks=[replace(track, keypoints=each) for track, each in zip(chosen, put, strict=True)])


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
    if others := likely_same(everybody, chosen, fps):
        ids = ",".join(map(str, others))
        logger.warning(
            f"person {ids} is never seen together with {number}, and near where one of them begins the other ends: "
            f"likely the same person with another number{f'; --person {number},{ids} joins them' if flag else ''}"
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
