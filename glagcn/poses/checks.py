"""What 2D poses cannot be: the checks of every way in."""

import logging

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.joints import Convention, check_convention

logger = logging.getLogger(__name__)

MOST_OUTSIDE = 0.05  # of the joints, where width and height are not exchanged


def check_poses(
    keypoints: np.ndarray, size: np.ndarray, order: Convention, where: str, flag: str, stated: bool
) -> None:
    """Check poses [...,J,3] in which missing joints have confidence 0; nothing where all are missing.

    where   what holds them, and
    flag    what states their convention, for the message: "joints=" or "--joints ".
    stated  somebody has stated their convention `order`: it is not compared with the poses.
    Raises UserError if they are no pixels of an image of `size`, or clearly in another order; warns if width and height
    seem to be exchanged.
    """
    pixels = keypoints[keypoints[..., 2] > 0, :2]
    if not len(pixels):
        return
    check_pixels(pixels, size, where)
    outside, exchanged = share_outside(pixels, size), share_outside(pixels, size[::-1])
    if outside > MOST_OUTSIDE > exchanged:
        logger.warning("many joints are outside an image of %g x %g; are width and height swapped?", *size)
    if not stated:
        check_convention(keypoints, order, where, flag)


def check_pixels(pixels: np.ndarray, size: np.ndarray, where: str) -> None:
    """Raise UserError if `pixels` [n,2] are no pixels of an image of `size`."""
    width, height = size.tolist()
    if np.abs(pixels).max() <= 2 < max(width, height):
        raise UserError(
            f"{where} is between {np.min(pixels):.3g} and {np.max(pixels):.3g}, so it seems to be normalised; "
            f"expected pixels of an image of {width:g} x {height:g}"
        )
    centre = np.median(pixels, axis=0)
    if (centre < -size).any() or (centre > 2 * size).any():
        raise UserError(
            f"the median joint of {where} is at ({centre[0]:.0f}, {centre[1]:.0f}), far outside an image of "
            f"{width:g} x {height:g}; expected pixels, and image_size as (width, height)"
        )


def share_outside(pixels: np.ndarray, size: np.ndarray) -> float:
    """The fraction of joints [n,2] outside an image of this size."""
    return float(np.mean(((pixels < 0) | (pixels > size)).any(axis=-1)))
