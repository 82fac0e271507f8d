"""Joints that a detector did not find, in the 2D of a data set."""

import numpy as np

from glagcn.data.sources.keypoints.detections import mark_missing, with_confidence
from glagcn.data.sources.keypoints.tracks import fill_gaps, gap_frames
from glagcn.errors import UserError


def check_found(where: str, pixels: np.ndarray, advice: str) -> None:
    """Raise UserError that starts with `where` if a joint of pixels [T,V,2] is NaN, at (0, 0) or at (-1, -1)."""
    missing = mark_missing(with_confidence(pixels))[..., 2] == 0
    if missing.any():
        frames = np.flatnonzero(missing.any(axis=1))
        raise UserError(
            f"{where}: joints are missing, which is NaN, (0, 0) or (-1, -1), in {len(frames)} of {len(pixels)} frames, "
            f"first joint {int(missing[frames[0]].argmax())} of {pixels.shape[1]} in frame {frames[0]} (both counted "
            f"from 0); expected a place for every joint. {advice}"
        )


def fill_missing(where: str, pixels: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [T,V,2] with a place for every joint, and the confidences [T,V]: 0 where the place was filled in, else 1.

    Gaps are filled as in the keypoints of users, see `fill_gaps`.
    Raises UserError that starts with `where` if no joint is there.
    """
    marked = mark_missing(with_confidence(pixels))
    if not marked[..., 2].any():
        raise UserError(f"{where}: every joint is missing in every frame; expected at least one. Leave the take out.")
    filled = fill_gaps(marked, gap_frames(fps))
    return filled[..., :2], filled[..., 2]
