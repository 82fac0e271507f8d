"""Recognise the 3D annotation of MPI-INF-3DHP, annot3 or univ_annot3, by its reprojection error."""

import numpy as np

# The 2D and 3D of hips and spine are not exactly the same points; the other joints of annot3 reproject within 0.01 px.
INEXACT_JOINTS = (8, 11, 15)
# Joints above the waist, where annot3 and univ_annot3 differ only in scale.
COMPARED_JOINTS = (0, 1, 2, 3, 4, 5, 6, 7, 16)
EXACT_PX, INEXACT_PX = 0.1, 0.5
MIN_DEPTH_MM = 100.0


def projection_error(pixels: np.ndarray, millimetres: np.ndarray) -> float | None:
    """Mean reprojection error in pixels of the best pinhole, for pixels [T,17,2] and camera-space millimetres [T,17,3].

    The pinhole is the least-squares solution over all frames of u Z = fx X + cx Z and v Z = fy Y + cy Z, as in mmpose,
    margipose and HDFormer.  None if a joint has a depth below 10 cm: such poses are root-relative and do not project.
    """
    if millimetres[:, :, 2].min() < MIN_DEPTH_MM:
        return None
    fitted = np.setdiff1d(np.arange(17), INEXACT_JOINTS)
    depth = millimetres[..., 2].astype(np.float64)
    residuals = []
    for axis in (0, 1):
        design = np.stack([millimetres[:, fitted, axis], depth[:, fitted]], axis=-1).reshape(-1, 2)
        target = (pixels[:, fitted, axis] * depth[:, fitted]).ravel()
        focal, centre = np.linalg.lstsq(design, target, rcond=None)[0]
        projected = focal * millimetres[:, COMPARED_JOINTS, axis] / depth[:, COMPARED_JOINTS] + centre
        residuals.append(projected - pixels[:, COMPARED_JOINTS, axis])
    return float(np.hypot(*residuals).mean())


def guess_annotation(pixels: np.ndarray, millimetres: np.ndarray) -> tuple[str | None, float | None]:
    """("annot3" | "univ" | None if unclear, reprojection error in pixels) of one sequence."""
    error = projection_error(pixels, millimetres)
    if error is None or EXACT_PX <= error <= INEXACT_PX:
        return None, error
    return ("annot3" if error < EXACT_PX else "univ"), error


def annotation_warning(name: str, annotation: str, pixels: np.ndarray, millimetres: np.ndarray) -> str | None:
    """A warning if the poses of sequence `name` look like the other annotation, else None."""
    guess, error = guess_annotation(pixels, millimetres)
    if guess is None or guess == annotation:
        return None
    return (
        f"warning: {name} was read as {annotation}, but its reprojection error of {error:.3g} px is typical of "
        f"{guess}; if the files contain {guess}, pass --annotation {guess}"
    )
