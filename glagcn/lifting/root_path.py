"""Where a lifted person is in camera space: the place of the root that makes the 3D pose project onto the 2D one."""

from dataclasses import replace

import numpy as np

from glagcn.lifting.person import CAMERA, LiftedPerson, interpolated

# What a 35 mm lens sees along the longer side of a 36 x 24 mm picture, rounded from 54.4.  Human3.6M's cameras see 47
# degrees, MPI-INF-3DHP's 69, and phones about 65.  The depth that comes out is in proportion to the focal length.
USUAL_VIEW_DEGREES = 55.0
# Two joints would do for the three unknowns, but then the depth hangs on the length of a single bone.
LEAST_JOINTS = 4
# Someone whose joints lie within such an angle (radians, standard deviation) would be hundreds of metres away.
LEAST_SPREAD = 1e-3


def usual_focal(image_size: tuple[int, int]) -> float:
    """A guess of the focal length in pixels from the image's (width, height): USUAL_VIEW_DEGREES on the longer side."""
    return max(image_size) / 2 / np.tan(np.radians(USUAL_VIEW_DEGREES) / 2)


def with_root(person: LiftedPerson, focal: float) -> tuple[LiftedPerson, np.ndarray]:
    """The person with its root's path, and the frames [T] bool in which the 2D told where it is.

    focal  length in pixels, the same along both axes; the principal point is the centre of the image.

    The path in the other frames is interpolated: those with fewer than LEAST_JOINTS joints of a confidence above 0,
    those whose joints lie on one spot, and those in which a joint would lie behind the camera.  Without a single good
    frame the root is None.
    Raises ValueError for a person that is not in camera axes.
    """
    if person.axes != CAMERA:
        raise ValueError(f"the axes of person {person.person} are {person.axes}; expected {CAMERA}")
    rays = (person.pixels - np.asarray(person.image_size) / 2) / focal
    poses = person.poses.astype(np.float64)
    root, found = find_root(poses, rays, person.confidence)
    if not found.any():
        return replace(person, root=None), found
    root = interpolated(person.frames[found], root[found], person.frames)
    return replace(person, root=root), found


def find_root(poses: np.ndarray, rays: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The roots [T,3] of poses [T,V,3] seen along rays [T,V,2] (x / z, y / z), in the unit of the poses, and where they
    are good [T].

    Least squares of the pinhole's equations t_x - ray_x t_z = ray_x z - x, and likewise of y, weighted with the
    confidence [T,V].  Subtracting the weighted means takes t_x and t_y out of the 3 x 3 normal equations, and leaves
    one for t_z.
    """
    usable = np.isfinite(rays).all(axis=-1) & (confidence > 0)
    weights = np.where(usable, confidence, 0.0)[..., None].astype(np.float64)
    rays = np.where(usable[..., None], rays, 0.0)
    sides = rays * poses[..., 2:] - poses[..., :2]
    with np.errstate(divide="ignore", invalid="ignore"):  # frames without joints, which `good` leaves out
        mean_ray, mean_side = ((weights * values).sum(axis=1) / weights.sum(axis=1) for values in (rays, sides))
        apart = rays - mean_ray[:, None]
        spread = (weights * apart**2).sum(axis=(1, 2))
        depth = -(weights * apart * sides).sum(axis=(1, 2)) / spread
        good = (usable.sum(axis=1) >= LEAST_JOINTS) & (spread > LEAST_SPREAD**2 * weights.sum(axis=(1, 2)))
        good &= depth + poses[..., 2].min(axis=1) > 0
        root = np.column_stack([mean_side + mean_ray * depth[:, None], depth])
    return root, good
