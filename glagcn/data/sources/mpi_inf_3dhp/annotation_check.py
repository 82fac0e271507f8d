"""Which of the two 3D annotations of MPI-INF-3DHP some poses are, told by whether they project onto their 2D."""

import numpy as np

# Hips and spine are not exactly the same points in 2D and 3D; the other joints of annot3 reproject to 0.01 px.
INEXACT_JOINTS = (8, 11, 15)
# Above the waist, where annot3 and univ_annot3 are known to differ by the scale alone.
JUDGED_JOINTS = (0, 1, 2, 3, 4, 5, 6, 7, 16)
EXACT_PX, INEXACT_PX = 0.1, 0.5
NEAREST_MM = 100.0


def projection_error(pixels: np.ndarray, millimetres: np.ndarray) -> float | None:
    """Mean residual in pixels of the best pinhole, for pixels [T,17,2] and camera-space millimetres [T,17,3].

    Least squares over all frames of u Z = fx X + cx Z and v Z = fy Y + cy Z, as mmpose, margipose and HDFormer fit
    the test cameras.  None when a pelvis is nearer than 10 cm: such poses are root-relative and project nowhere.
    """
    if millimetres[:, :, 2].min() < NEAREST_MM:
        return None
    fitted = np.setdiff1d(np.arange(17), INEXACT_JOINTS)
    depth = millimetres[..., 2].astype(np.float64)
    residuals = []
    for axis in (0, 1):
        design = np.stack([millimetres[:, fitted, axis], depth[:, fitted]], axis=-1).reshape(-1, 2)
        target = (pixels[:, fitted, axis] * depth[:, fitted]).ravel()
        focal, centre = np.linalg.lstsq(design, target, rcond=None)[0]
        projected = focal * millimetres[:, JUDGED_JOINTS, axis] / depth[:, JUDGED_JOINTS] + centre
        residuals.append(projected - pixels[:, JUDGED_JOINTS, axis])
    return float(np.hypot(*residuals).mean())


def judge_annotation(pixels: np.ndarray, millimetres: np.ndarray) -> tuple[str | None, float | None]:
    """("annot3" | "univ" | None where undecided, the projection error in pixels) of one sequence."""
    error = projection_error(pixels, millimetres)
    if error is None or EXACT_PX <= error <= INEXACT_PX:
        return None, error
    return ("annot3" if error < EXACT_PX else "univ"), error


def annotation_warning(name: str, annotation: str, pixels: np.ndarray, millimetres: np.ndarray) -> str | None:
    """A warning when the poses of sequence `name` look like the annotation that was not assumed, else None."""
    judged, error = judge_annotation(pixels, millimetres)
    if judged is None or judged == annotation:
        return None
    return (
        f"warning: {name} was read as {annotation}, but its 3D projects onto its 2D with an error of {error:.3g} px, "
        f"which is typical of {judged}; if that is what the files hold, pass --annotation {judged}"
    )
