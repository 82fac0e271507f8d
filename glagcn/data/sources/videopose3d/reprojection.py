"""Whether the 2D of two files belongs to their 3D, told by projecting the 3D with the known cameras."""

from collections.abc import Iterable

import numpy as np

from glagcn.data.sources.videopose3d.cameras import Camera, project

FRAMES_OF_A_TAKE = 8
# True 2D is within a pixel, and detectors are within some ten; a camera taken for another is off by hundreds.
LARGEST_TRUE_PX = 5.0
LARGEST_DETECTED_PX = 40.0


def thinned(frames: int) -> np.ndarray:
    """A few frame numbers, evenly spread over a take."""
    return np.unique(np.linspace(0, frames - 1, FRAMES_OF_A_TAKE).astype(int))


def distance(camera: Camera, millimetres: np.ndarray, pixels: np.ndarray) -> float:
    """The median distance of pixels [T,V,2] from the projection of camera-space millimetres [T,V,3], pixels.

    NaN where nothing can be compared; what is not finite is left out, for others to complain about.
    """
    with np.errstate(all="ignore"):
        distances = np.linalg.norm(project(millimetres, camera) - pixels, axis=-1)
    finite = distances[np.isfinite(distances)]
    return float(np.median(finite)) if len(finite) else np.nan


def reprojection_warning(keypoints: str, distances: Iterable[tuple[str, float]]) -> str | None:
    """One warning for the (view, pixels) whose distance is beyond what the 2D source explains, else None."""
    bound = LARGEST_TRUE_PX if keypoints == "gt" else LARGEST_DETECTED_PX
    far = [(view, found) for view, found in distances if not found <= bound]
    if not far:
        return None
    listed = ", ".join(f"{view} {found:.0f} px" for view, found in far[:8]) + (", ..." if len(far) > 8 else "")
    return (
        f"warning: the 3D does not project onto the 2D in {len(far)} views (median distance: {listed}; expected below "
        f"{bound:g} px): cameras in another order, or 2D and 3D files of two versions? Results will be meaningless"
    )
