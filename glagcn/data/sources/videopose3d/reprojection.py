"""Check that 2D and 3D files match: project the 3D with the known cameras and compare it with the 2D."""

from collections.abc import Iterable

import numpy as np

from glagcn.data.sources.videopose3d.cameras import Camera, project

FRAMES_OF_A_TAKE = 8
# The error of ground-truth 2D is below a pixel, of detectors about ten pixels, of swapped cameras hundreds of pixels.
MAX_GROUND_TRUTH_PX = 5.0
MAX_DETECTED_PX = 40.0


def thinned(frames: int) -> np.ndarray:
    """A few frame numbers, evenly spaced over a take."""
    return np.unique(np.linspace(0, frames - 1, FRAMES_OF_A_TAKE).astype(int))


def distance(camera: Camera, millimetres: np.ndarray, pixels: np.ndarray) -> float:
    """The median distance in pixels between pixels [T,V,2] and projected camera-space millimetres [T,V,3].

    Ignores values that are not finite, which are checked elsewhere; NaN if there are no others.
    """
    with np.errstate(all="ignore"):
        distances = np.linalg.norm(project(millimetres, camera) - pixels, axis=-1)
    finite = distances[np.isfinite(distances)]
    return float(np.median(finite)) if len(finite) else np.nan


def reprojection_warning(keypoints: str, distances: Iterable[tuple[str, float]]) -> str | None:
    """A warning that lists the (view, pixels) with too large a reprojection error for the 2D source, else None."""
    bound = MAX_GROUND_TRUTH_PX if keypoints == "gt" else MAX_DETECTED_PX
    far = [(view, found) for view, found in distances if not found <= bound]
    if not far:
        return None
    listed = ", ".join(f"{view} {found:.0f} px" for view, found in far[:8]) + (", ..." if len(far) > 8 else "")
    return (
        f"warning: large reprojection error in {len(far)} views (median: {listed}; expected below {bound:g} px): "
        "the cameras are in another order, or the 2D and 3D files are of different versions. Results are meaningless"
    )
