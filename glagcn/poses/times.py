"""When the frames of a video are, and which of them a pose belongs to.

Frame numbers and times come from the keypoint file and from the video.  Everything after this has frames numbered as
those of the video, a rate for the model, and the times of the frames where that rate is not theirs.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glagcn.poses.gaps import GAP_SECONDS, USUAL_FPS
from glagcn.poses.keypoints.read import MOST_FRAMES, KeypointFile

if TYPE_CHECKING:
    from glagcn.poses.draw.video import Video

logger = logging.getLogger(__name__)

EVEN = 0.25  # of a frame: no time is farther from those of a constant rate, so that they count as such
SAME_RATE = 0.01  # relative difference of rates that count as equal
CLOSE_RATE = 0.1  # of a stated rate and that of uneven times, which is a mean of something
SAME_TIME = 0.75  # of the usual step: an entry this near to a frame of the video is that frame
LATE, LATE_PART = 0.1, 0.05  # seconds, and part of the duration: times that differ more contradict each other
# Every n-th frame was detected where there are so many times fewer poses, and at least LEAST of them: fewer would fit
# some n by chance.
MOST_SKIPPED, LEAST = 10, 10
FASTER = 2.2  # the rate for the model is at most so many times the mean one without gaps: times may come in pairs


def set_times(path: Path, found: KeypointFile, fps: float | None, video: "Video | None", prefix: str) -> KeypointFile:
    """The poses in the frames of the video, with a rate and, where they are not at that rate, the times of all frames.

    fps     that somebody states; it goes before that of the file, and that before those of times.
    prefix  of the flags in messages.
    """
    shown = _of_video(video) if video else None
    found = _numbered(path, found, fps, video, shown)
    times, name = (found.times, path) if shown is None or video is None else (shown, video.path)
    if times is not None and shown is not None:
        _compare(path, found, name, shown)
    stated = fps or found.fps
    if times is None or len(times) < 2 or times[-1] <= times[0]:
        rate = stated or (video.fps if video else None)
        if not rate:
            rate = USUAL_FPS
            logger.info(f"nothing states the frames per second: taken for {rate:g}; {prefix}fps sets them")
        return replace(found, fps=rate, times=None)
    times = times - times[0]
    mean, steps = (len(times) - 1) / float(times[-1]), np.diff(times)
    if np.abs(times * mean - np.arange(len(times))).max() <= EVEN:
        rate = video.fps if video and shown is not None and alike(video.fps, mean) else round(mean, 4)
        if stated and not alike(stated, rate):
            used = "its times are not used" if shown is None else "frame n of one is taken for frame n of the other"
            logger.warning(f"{name} has {rate:g} frames per second, and the poses have {stated:g}; {used}")
        elif not stated and (video is None or rate != video.fps):
            logger.info(f"{name}: {rate:g} frames per second, by the times in the file")
        return replace(found, fps=stated or rate, times=None)
    rate, doubt = fps or _usual_rate(steps), ""
    if times[-1] * rate >= MOST_FRAMES:
        doubt = f"its clock jumps, its {len(times)} frames would last {times[-1]:.6g} s"
    elif stated and not (1 - CLOSE_RATE) * mean <= stated <= (1 + CLOSE_RATE) * _usual_rate(steps):
        doubt = f"{mean:.3g} frames a second by its times do not fit {stated:g} frames per second"
    if doubt:
        logger.warning(f"{name}: {doubt}; the times are not used, and each entry is a frame")
        return replace(found, fps=stated or rate, times=None)
    logger.info(
        f"{name} has a variable frame rate, its frames {steps.min():.3g} to {steps.max():.3g} s apart: the poses are "
        f"lifted as if there were {rate:.4g} a second evenly, and given at the times of the frames"
    )
    beyond = np.arange(1, max(found.length - len(times), 0) + 1) / rate  # the video may end before the poses do
    return replace(found, fps=rate, times=np.concatenate([times, times[-1] + beyond]))


def alike(one: float, other: float) -> bool:
    """Whether two rates are the same."""
    return bool(other) and abs(one / other - 1) < SAME_RATE


def _usual_rate(steps: np.ndarray) -> float:
    """The rate of frames that are so many seconds apart, but for gaps; of several rates the fastest that is usual."""
    steps = steps[steps > 0]
    short = steps[steps <= max(GAP_SECONDS, float(steps.min()))]
    usual = steps[steps < 1.5 * np.quantile(steps, 0.25)]
    return round(min(1 / float(usual.mean()), FASTER / float(short.mean())), 4)


def _of_video(video: "Video") -> np.ndarray | None:
    """[length] seconds after the first frame; None, with a warning, where they do not grow."""
    if video.path.is_dir():  # pictures have no times
        return None
    if (times := growing(video.times)) is None:
        logger.warning(f"{video.path}: the times of its frames are missing or go back; they count as evenly spaced")
        return None
    return times - times[0]


def growing(times: np.ndarray) -> np.ndarray | None:
    """Times [N] of frames, some of which may be NaN, without gaps; None where half are missing, or they do not grow."""
    known = np.flatnonzero(np.isfinite(times))
    if len(known) * 2 <= len(times) or (np.diff(times[known]) <= 0).any():
        return None
    return np.interp(np.arange(len(times)), known, times[known])


def _numbered(
    path: Path, found: KeypointFile, fps: float | None, video: "Video | None", shown: np.ndarray | None
) -> KeypointFile:
    """The poses with the numbers that their frames have in the video."""
    length = len(video.times) if video else None
    if found.counted and found.times is not None and found.length != length:
        return _by_times(path, found, fps or found.fps, video, shown)
    if video is None or length is None:
        return found
    last, first = int(found.frames[-1]), int(found.first == 1)
    if first and found.length == length + 1:
        logger.warning(
            f"{path} has frames up to {last}, and {video.flag} {video.path} has the frames 0 to {length - 1}: its "
            "pictures seem to be numbered from 1, so picture 1 is taken for frame 0"
        )
        times = None if found.times is None else found.times[1:]
        return replace(found, frames=found.frames - 1, times=times, length=length)
    count = found.length - first
    step = round(length / max(count, 1))
    if 1 < step <= MOST_SKIPPED and count >= LEAST and count in (length // step, -(-length // step)):
        logger.warning(
            f"{path} has {count} frames and {video.path} has {length}: every {step}. frame seems to have been detected "
            f"(vid_stride, frame_skip), so number n is taken for frame {step} {'(n - 1)' if first else 'n'} of the "
            "video; if they are its first frames, give an array with NaN for the others"
        )
        rate = None if found.fps and video.fps and alike(found.fps * step, video.fps) else found.fps
        return replace(found, frames=(found.frames - first) * step, fps=rate, times=None, length=length)
    if first:
        logger.warning(
            f"{path} begins with number 1 and ends with {found.length - 1}, and the frames of {video.path} are 0 to "
            f"{length - 1}: number n is taken for frame n; if its pictures are numbered from 1, as ffmpeg does, every "
            "pose is one frame late: number them from 0 (ffmpeg -start_number 0)"
        )
    if last + 1 < length:
        unread = length - found.length >= np.median([1, *np.diff(np.unique(found.frames))])
        (logger.warning if unread else logger.info)(
            f"{video.path} has {length} frames: nobody is in those after frame {last}"
            + (f", the last in {path}, or the detector did not read them" if unread else "")
        )
    return found


def _by_times(
    path: Path, found: KeypointFile, fps: float | None, video: "Video | None", shown: np.ndarray | None
) -> KeypointFile:
    """The poses of entries without a number, at the frames where their times put them."""
    times = found.times
    assert times is not None
    at = times - times[0]
    if shown is not None and video is not None:
        step = float(np.median(np.diff(shown))) if len(shown) > 1 else 0.0
        if times[0] >= 0 and times[-1] <= shown[-1] + step:  # by the clock of the video; the zero of others is anywhere
            at = times
        places = np.searchsorted((shown[1:] + shown[:-1]) / 2, at)
        if np.abs(shown[places] - at).max() > SAME_TIME * step or len(np.unique(places)) < len(places):
            logger.warning(
                f"{path}: the times of its {len(times)} entries are not those of frames of {video.path}; they are not "
                "used, and each entry is a frame"
            )
            return _numbered(path, replace(found, times=None), fps, video, shown)
        why, between = f"they are placed at those of {video.path} by the times in the file", None
    else:
        rate = fps or _usual_rate(np.diff(times))
        places = np.rint(at * rate).astype(np.int64)
        if len(np.unique(places)) < len(places) or places[-1] >= MOST_FRAMES:
            return found
        why = f"they do not follow each other by 1/{rate:.4g} s and are placed by the times in the file"
        between = np.interp(np.arange(places[-1] + 1), places, at)
    if not np.array_equal(places, np.arange(len(places))):
        logger.warning(f"{path}: its entries are not the frames one after the other: {why}, up to frame {places[-1]}")
    length = len(shown) if shown is not None else int(places[-1]) + 1
    return replace(found, frames=places[found.frames], times=between, length=length)


def _compare(path: Path, found: KeypointFile, name: Path, shown: np.ndarray) -> None:
    """Warn where a file's times contradict those that its frame numbers have in the video."""
    if found.times is None:
        return
    frames = np.unique(found.frames)
    frames = frames[frames < min(len(shown), len(found.times))]
    own, other = (times[frames] - times[frames[:1]] for times in (found.times, shown))
    if len(frames) and np.abs(own - other).max() > max(LATE, LATE_PART * float(other[-1])):
        logger.warning(
            f"{path}: by its times its poses span {own[-1]:.3g} s, and the same frames of {name} {other[-1]:.3g} s: "
            "they contradict each other; the frame numbers and the times of the video are used"
        )
