"""What a detector saw of a video: programs differ in whether they turn, mirror and stretch its pictures.

OpenCV turns a picture as its display matrix says but never mirrors it, and does not stretch pixels that are not square;
other programs show it as it is stored, or as players do.  The keypoints decide: the person is in the image and upright.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.checks import check_track
from glagcn.poses.joints import Convention
from glagcn.poses.keypoints.read import KeypointFile

if TYPE_CHECKING:
    from glagcn.poses.draw.video import Video

logger = logging.getLogger(__name__)

SAME = 0.01  # relative difference of aspect ratios that count as equal
SURE = 0.5  # confidence from which a joint outside the image is no guess of the detector
MOST_OUTSIDE = 0.05  # of the joints, in a picture that a detector saw
LYING = ("on_its_side", "axes_exchanged", "y_up")  # findings about people who are not upright


def as_seen(
    path: Path, found: KeypointFile, video: "Video", order: Convention, prefix: str
) -> "tuple[KeypointFile, Video]":
    """The keypoints in upright pictures of square pixels, and the video that shows these.

    Says what the pictures were taken for where there is a choice.  Raises UserError where the keypoints are those of
    pictures of another shape.
    """
    if found.detected:
        film, (width, height) = video.upright()
        if found.image_size and abs(found.image_size[0] / found.image_size[1] / (width / height) - 1) >= SAME:
            _refuse(path, found, video, False, prefix)
        return found, film
    transposed, across, down = video.shown
    mirrored = (across * down < 0) != transposed
    turns_up = video.turns
    by_opencv = turns_up if transposed else 1 - across
    width, height = video.size[::-1] if transposed else video.size
    turned = video.upright()[0].shown
    # What it is, the quarter turns until it is upright, how the upright picture is shown.
    views = [("as OpenCV turns it", turns_up - by_opencv, turned), ("as it is stored", turns_up, turned)]
    if mirrored:
        views.append(("mirrored, as players show it", 0, video.shown))
    fitting = []
    for words, turns, shown in views[by_opencv == 0 :]:  # else OpenCV's is the stored one
        for pixel, pixels in ((1.0, ", not stretched"), (video.pixel, ", stretched")):
            seen = _turned_size((width * pixel, height), turns_up - turns)
            size = found.image_size or seen
            if abs(size[0] / size[1] / (seen[0] / seen[1]) - 1) < SAME:
                whole = list(_turned_size(size, turns))
                whole[turns_up % 2] *= video.pixel / pixel
                final = round(whole[0]), round(whole[1])
                # Parts of the image were multiplied by the size of the video.
                units = video.size if found.in_parts and not found.image_size else size
                what = words if video.pixel == 1 else words + pixels
                fitting.append((_turn(found.keypoints, units, turns, final), final, what, turns, shown))
            if video.pixel == 1:
                break
    outside, turned_outside = (_outside(found.keypoints, size) for size in (video.size, video.size[::-1]))
    lies = len(fitting) == 1 and found.image_size in (None, video.size) and outside > MOST_OUTSIDE > turned_outside
    if lies or not fitting:
        _refuse(path, found, video, lies, prefix)
    best = fitting[0] if len(fitting) == 1 else min(fitting, key=lambda view: _misfit(view[0], view[1], order))
    keypoints, final, words, turns, shown = best
    if turns or mirrored or video.pixel != 1:
        about = [f"turned by {90 * turns_up} degrees"] * (turns_up > 0) + ["mirrored"] * mirrored
        about += [f"with pixels that are not square (sample aspect ratio {video.pixel:.4g})"] * (video.pixel != 1)
        logger.warning(
            f"{video.path} is stored as {width}x{height}, to be shown {' and '.join(about)}, and detectors differ in "
            f"that: by where the person is, the keypoints are taken for those of the picture {words}. In files and "
            f"pictures they become those of {final[0]}x{final[1]}, upright with square pixels; where that is wrong, "
            f"give {prefix}image_size W,H of what the detector saw, or detect in a copy that ffmpeg has turned"
        )
    return replace(found, keypoints=keypoints, image_size=final), replace(video, shown=shown)


def _turned_size(size: tuple[float, float], turns: int) -> tuple[float, float]:
    return size[::-1] if turns % 2 else size


def _turn(keypoints: np.ndarray, size: tuple[float, float], turns: int, final: tuple[int, int]) -> np.ndarray:
    """Keypoints [...,3] of an image of `size` after quarter turns clockwise, in an image of size `final`."""
    if turns % 4 == 0 and tuple(size) == final:
        return keypoints
    x, y = keypoints[..., 0] / size[0], keypoints[..., 1] / size[1]
    for _ in range(turns % 4):
        x, y = 1 - y, x
    found = np.stack([x * final[0], y * final[1], keypoints[..., 2]], axis=-1)
    return np.where(keypoints[..., 2:] > 0, found, 0).astype(np.float32)


def _misfit(keypoints: np.ndarray, size: tuple[int, int], order: Convention) -> tuple[bool, bool, bool]:
    """How poses do not fit an image: no filmed person is so, joints are outside, or people are not upright."""
    findings = check_track(keypoints[..., :2], keypoints[..., 2], order.points, size)
    refused = any(finding.severity == "refuse" for finding in findings)
    return refused, _outside(keypoints, size) > MOST_OUTSIDE, any(finding.kind in LYING for finding in findings)


def _outside(keypoints: np.ndarray, size: tuple[int, int]) -> float:
    """The part of the sure joints that an image of this size does not have."""
    sure = keypoints[keypoints[..., 2] >= SURE][:, :2]
    return float(np.mean(((sure < 0) | (sure > size)).any(axis=1))) if len(sure) else 0.0


def _refuse(path: Path, found: KeypointFile, video: "Video", lies: bool, prefix: str) -> None:
    """Raise UserError: the keypoints cannot be those of this video."""
    shown, (width, height) = f"{prefix}video {video.path}", video.size
    size = found.image_size or video.size
    if lies or abs(size[0] / size[1] / (height / width) - 1) < SAME:
        raise UserError(
            f"{path} has poses of images on their side: {shown} is displayed as {width}x{height}; detect in the video "
            "as it is displayed, or give the video as the detector saw it"
        )
    raise UserError(
        f"{path} has poses of images of {size[0]}x{size[1]}, and {shown} has another shape, {width}x{height}; give the "
        "video in which they were detected"
    )
