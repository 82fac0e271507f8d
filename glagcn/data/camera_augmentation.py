"""Camera augmentation: rotate the person, tilt, roll and move the camera, and re-project the 2D of training windows.

The camera of each sequence is fitted to its own 2D and 3D, so no calibration file is needed.  Scaled 3D poses do not
project onto their 2D (univ_annot3 of MPI-INF-3DHP scales poses about the pelvis), so a scale is fitted too and undone
for the projection only.  The difference between given and projected 2D, from joint definitions or a detector, is added
to the re-projected 2D.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glagcn.data.dataset import Split
from glagcn.errors import UserError
from glagcn.skeletons import Skeleton

FITTED_FRAMES = 60  # frames of each sequence to fit, evenly spaced
FITTED_AT_ONCE = 32  # sequences: 2 MB an array, which stays in a core's cache
MAX_ERROR = 0.02  # largest accepted reprojection error, as a fraction of the image width
MIN_DEPTH_MM = 500.0  # smallest depth of a joint in front of a moved camera


@dataclass(frozen=True)
class CameraRange:
    """The ranges of the random camera changes, symmetric about zero.

    turn        degrees about the person's vertical axis, through the root of the target frame.
    tilt, roll  degrees about the camera's x and z axes, through the same point.
    distance    natural logarithm of the factor on the camera distance (0.2: 0.82 to 1.22).
    """

    turn: float = 0.0
    tilt: float = 0.0
    roll: float = 0.0
    distance: float = 0.0

    @property
    def num_draws(self) -> int:
        """Random numbers per window: 4, or 0 if all ranges are zero."""
        ranges = (self.turn, self.tilt, self.roll, self.distance)
        return len(ranges) if any(ranges) else 0


def find_cameras(split: Split, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """The cameras [S,5] and the up directions [S,3] of the sequences of a split, float64.

    A camera is its focal length and centre (x, y), pixels, and the factor on poses about their root that makes them
    project onto their 2D.  Up is the mean direction from the root to the joints on the body's midline, in camera
    coordinates.
    Raises UserError if 2D and 3D have different joints, or if the 3D does not project onto the 2D.
    """
    if skeleton.joint_map is not None:
        raise UserError(
            "--turn, --tilt, --roll and --distance need 2D and 3D with the same joints; "
            f"{skeleton.name} maps other 2D joints. Leave these flags out."
        )
    middle = [joint for joint, other in enumerate(skeleton.mirror) if joint == other and joint != skeleton.root]
    cameras, errors = fit_cameras(split, range(len(split.sequences)), skeleton)
    ups = np.zeros((len(cameras), 3))
    for row, info in enumerate(split.sequences):
        if not errors[row] < MAX_ERROR * info.width:
            raise UserError(
                f"the best-fitting camera of {info.name} has a reprojection error of {errors[row]:.0f} px; --turn, "
                "--tilt, --roll and --distance need matching 2D and 3D. Leave these flags out for this data."
            )
        poses = split.millimetres[np.unique(_fitted_frames(split, row))].astype(np.float64)
        directions = (poses - poses[:, skeleton.root, None])[:, middle].mean(axis=1)
        up = (directions / np.linalg.norm(directions, axis=-1, keepdims=True)).mean(axis=0)
        ups[row] = up / np.linalg.norm(up)
    return cameras, ups


def fit_cameras(split: Split, rows: Iterable[int], skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """The cameras [n,5] of some sequences, as in `find_cameras`, and their median reprojection errors [n] in pixels.

    The error is infinite where the fit diverges.
    """
    rows = list(rows)
    cameras, errors = np.zeros((len(rows), 5)), np.zeros(len(rows))
    for begin in range(0, len(rows), FITTED_AT_ONCE):
        part = slice(begin, begin + FITTED_AT_ONCE)
        frames = np.stack([_fitted_frames(split, row) for row in rows[part]])
        poses = split.millimetres[frames].astype(np.float64)
        root = poses[:, :, skeleton.root, None]
        cameras[part], errors[part] = _fit(split.pixels[frames].astype(np.float64), root, poses - root)
    return cameras, errors


def _fitted_frames(split: Split, row: int) -> np.ndarray:
    """The frames [FITTED_FRAMES] to fit; a shorter sequence has some of them twice."""
    length = split.sequences[row].length
    return int(split.starts[row]) + np.linspace(0, length - 1, FITTED_FRAMES).astype(int)


def _fit(pixels: np.ndarray, root: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit a scale s and a pinhole by Gauss-Newton: pixels = centre + focal (X, Y) / Z, (X, Y, Z) = root + s offsets.

    pixels [n,F,V,2], root [n,F,1,3], offsets [n,F,V,3].
    Returns the cameras [n,5], as in `find_cameras`, and the median reprojection errors [n] in pixels, infinite where
    the fit diverges.
    """
    count, camera = len(pixels), np.tile([1.0, 1, 0, 0, 1], (len(pixels), 1))
    # Coordinates first, [2 or 3,n,F*V]: everything below then runs along the points.
    root, offsets, pixels = (
        np.ascontiguousarray(np.moveaxis(part.reshape(count, -1, part.shape[-1]), 2, 0))
        for part in (np.broadcast_to(root, offsets.shape), offsets, pixels)
    )

    def project() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        focal, centre, scale = camera[:, :2].T[..., None], camera[:, 2:4].T[..., None], camera[:, 4:]
        points = root + scale * offsets
        rays = points[:2] / points[2]
        return rays, pixels - centre - focal * rays, focal * (offsets[:2] - rays * offsets[2]) / points[2]

    with np.errstate(all="ignore"):
        for round_number in range(10):
            rays, residuals, by_scale = project()
            if round_number == 0:  # keep the scale first: the other parameters are then a linear problem
                by_scale[:] = 0
            # Normal equations.  A coordinate depends on a focal length and a centre of its own, and on the scale.
            columns = np.stack([rays, np.ones_like(rays), by_scale], axis=-1)
            products = np.swapaxes(columns, 2, 3) @ np.concatenate([columns, residuals[..., None]], axis=-1)
            system, side = np.zeros((count, 5, 5)), np.zeros((count, 5))
            for axis, own in enumerate(([0, 2, 4], [1, 3, 4])):
                system[:, np.array(own)[:, None], own] += products[axis, :, :, :3]
                side[:, own] += products[axis, :, :, 3]
            diverged = ~np.isfinite(system).all(axis=(1, 2)) | ~np.isfinite(side).all(axis=1)
            system[diverged], side[diverged] = np.eye(5), np.nan
            change = np.einsum("nij,nj->ni", np.linalg.pinv(system, hermitian=True), side)
            camera += change
            if np.all(diverged | (np.abs(change) <= 1e-10 * (1 + np.abs(camera))).all(axis=1)):
                break
        errors = np.median(np.linalg.norm(project()[1], axis=0), axis=1)
    return camera, np.where(np.isfinite(errors), errors, np.inf)


class CameraAugmentation:
    """Applies random camera changes to windows of a split.

    target  the target frame of a window; the rotation axes pass through its root.
    """

    def __init__(self, ranges: CameraRange, split: Split, skeleton: Skeleton, target: int) -> None:
        cameras, ups = find_cameras(split, skeleton)
        self._root, self._target = skeleton.root, target
        largest = [np.deg2rad(ranges.turn), np.deg2rad(ranges.tilt), np.deg2rad(ranges.roll), ranges.distance]
        self._largest = torch.tensor(largest, dtype=torch.float32)
        self._cameras = torch.tensor(cameras, dtype=torch.float32)  # [S,5]
        axes = np.stack([ups, *np.broadcast_to(np.eye(3)[[0, 2], None], (2, *ups.shape))], axis=1)
        self._axes = torch.tensor(axes, dtype=torch.float32)  # [S,3,3]: axes of turn, tilt and roll

    def parameters(self, sequence: np.ndarray, draws: np.ndarray) -> Tensor:
        """The parameters of `apply` for n windows: [n,15] float32 on the host, which is faster here than a GPU.

        sequence  [n] row of each window's sequence.
        draws     [n,4] float32 in [-1, 1] for turn, tilt, roll and distance.
        """
        amounts, number = torch.from_numpy(draws) * self._largest, torch.from_numpy(sequence)
        axes = self._axes.index_select(0, number)
        turn, tilt, roll = rotations(axes.flatten(0, 1), amounts[:, :3].flatten()).unflatten(0, (-1, 3)).unbind(1)
        rotation = product(product(roll, tilt), turn)
        return torch.cat([self._cameras.index_select(0, number), amounts[:, 3:].exp(), rotation.flatten(1)], dim=1)

    def apply(self, pixels: Tensor, millimetres: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The augmented windows: pixels [n,T,V,2] and camera-space millimetres [n,T,V,3].

        parameters  [n,15] from the method `parameters`, on the device of the windows.
        """
        focal, centre, scale, factor, rotation = parameters[:, None, None].split([2, 2, 1, 1, 9], dim=3)

        def project(root: Tensor, offsets: Tensor) -> Tensor:
            points = root + scale * offsets
            return torch.addcdiv(centre, focal * points[..., :2], points[..., 2:].clamp_min(MIN_DEPTH_MM))

        root_slice = slice(self._root, self._root + 1)
        root = millimetres[:, :, root_slice]
        offsets = millimetres - root
        residual = pixels - project(root, offsets)
        pivot = root[:, self._target, None]
        # The root's offset is zero; its slot holds the root's path during the rotation.
        torch.sub(root, pivot, out=offsets[:, :, root_slice])
        offsets = rotated(offsets, rotation.view(-1, 3, 3))
        moved_root = offsets[:, :, root_slice] + pivot * factor
        offsets[:, :, root_slice].zero_()
        return project(moved_root, offsets).add_(residual), moved_root + offsets


def rotations(axes: Tensor, angles: Tensor) -> Tensor:
    """The rotations [n,3,3] by `angles` [n] in radians about unit vectors [n,3] (Rodrigues' formula)."""
    x, y, z = axes.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    sine, cosine = angles.sin().view(-1, 1, 1), angles.cos().view(-1, 1, 1)
    return torch.eye(3, device=axes.device) + sine * cross + (1 - cosine) * product(cross, cross)


# The products below are sums, which stay float32.  A GPU may compute matrix products in TF32, which moves a joint at
# one metre from the root by half a millimetre.


def rotated(poses: Tensor, matrices: Tensor) -> Tensor:
    """The poses [n,T,V,3] of each window multiplied by its matrix of [n,3,3]."""
    x, y, z = poses.split(1, dim=-1)
    first, second, third = matrices[:, None, None].unbind(-1)
    return (first * x).add_(second * y).add_(third * z)


def product(left: Tensor, right: Tensor) -> Tensor:
    """The matrix products [n,3,3] of [n,3,3] and [n,3,3]."""
    return (left[:, :, :, None] * right[:, None]).sum(dim=2)
