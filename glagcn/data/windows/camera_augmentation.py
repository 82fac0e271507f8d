"""Training windows seen from elsewhere: the person turned, the camera tilted, rolled and moved, and projected again.

A camera is found for every sequence from its own 2D and 3D, so no calibration file is needed.  3D poses may be scaled
about the root (univ_annot3 of MPI-INF-3DHP keeps the pelvis and scales the rest), and then project onto nothing: the
scale is found along with the camera, and undone for the projection alone.  What the 2D is off by, from the joints'
definitions or from a detector, is carried along.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glagcn.data.cache.reader import Split
from glagcn.errors import UserError
from glagcn.skeleton import Skeleton

FITTED_FRAMES = 60  # of each sequence, evenly spread
FAR_OFF = 0.02  # of the image's width: 2D that the found camera misses by more does not belong to its 3D
NEAREST_MM = 500.0  # no joint comes nearer to a moved camera


@dataclass(frozen=True)
class ViewChange:
    """How far a draw may move, either way: degrees, and distance as the exponent of a factor (0.2: 0.82 to 1.22).

    turn  about the person's vertical, through the root of the target frame;  tilt, roll  of the camera's axes there.
    """

    turn: float = 0.0
    tilt: float = 0.0
    roll: float = 0.0
    distance: float = 0.0

    @property
    def draws(self) -> int:
        """How many numbers to draw for a window: one for each way to move, none where nothing moves."""
        ways = (self.turn, self.tilt, self.roll, self.distance)
        return len(ways) if any(ways) else 0


@dataclass(frozen=True)
class SequenceCameras:
    """The pinholes of S sequences, float64: focal [S,2] and centre [S,2] in pixels; scale [S], by which poses must be
    multiplied about their root to project; up [S,3], the mean direction from the root to the joints in the middle of
    the body, in camera coordinates; missed [S], the median distance in pixels of projection and 2D."""

    focal: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    up: np.ndarray
    missed: np.ndarray


def find_cameras(split: Split, skeleton: Skeleton) -> SequenceCameras:
    """The camera of every sequence of a split.

    Raises UserError where the 2D is of other joints than the 3D, or does not project from it.
    """
    if skeleton.joint_map is not None:
        raise UserError(f"--turn and its kin need 2D of the joints of the 3D, and {skeleton.name} reads others")
    found = []
    middle = [joint for joint, other in enumerate(skeleton.mirror) if joint == other and joint != skeleton.root]
    for info, start in zip(split.sequences, split.starts, strict=True):
        frames = int(start) + np.unique(np.linspace(0, info.length - 1, FITTED_FRAMES).astype(int))
        pixels, poses = (split.pixels[frames].astype(np.float64), split.millimetres[frames].astype(np.float64))
        root = poses[:, skeleton.root, None]
        scale, focal, centre, missed = _fit(pixels, root, poses - root)
        if not missed < FAR_OFF * info.width:
            raise UserError(
                f"--turn and its kin project 3D poses again, and those of {info.name} miss their 2D by {missed:.0f} "
                "pixels with the best camera; leave them out for this data"
            )
        directions = (poses - root)[:, middle].mean(axis=1)
        up = (directions / np.linalg.norm(directions, axis=-1, keepdims=True)).mean(axis=0)
        found.append((focal, centre, scale, up / np.linalg.norm(up), missed))
    return SequenceCameras(*(np.array(column) for column in zip(*found, strict=True)))


def _fit(pixels: np.ndarray, root: np.ndarray, offsets: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, float]:
    """Gauss-Newton for the scale s and a pinhole: pixels [n,V,2] = centre + focal (X, Y) / Z of root + s offsets.

    -> (scale, focal [2], centre [2], median distance in pixels, infinite where nothing fits).
    """
    scale, focal, centre = 1.0, np.ones(2), np.zeros(2)
    with np.errstate(all="ignore"):
        for round_number in range(10):
            points = root + scale * offsets
            rays = points[..., :2] / points[..., 2:]
            missing = pixels - centre - focal * rays
            by_scale = focal * (offsets[..., :2] - rays * offsets[..., 2:]) / points[..., 2:]
            columns = np.zeros((*missing.shape, 5))
            columns[..., 0] = by_scale
            for axis in (0, 1):
                columns[..., axis, 1 + axis] = rays[..., axis]
                columns[..., axis, 3 + axis] = 1
            flat = columns.reshape(-1, 5)
            if not np.isfinite(flat).all():
                return 1.0, focal, centre, np.inf
            if round_number == 0:  # for a given scale the rest is linear
                flat[:, 0] = 0
            change = np.linalg.lstsq(flat, missing.ravel(), rcond=None)[0]
            scale, focal, centre = scale + change[0], focal + change[1:3], centre + change[3:5]
    points = root + scale * offsets
    distances = np.linalg.norm(pixels - centre - focal * points[..., :2] / points[..., 2:], axis=-1)
    return float(scale), focal, centre, float(np.median(distances))


class Views:
    """Moves windows of a split by draws.  Built once for a split.

    target  the frame of a window through whose root the axes of the turns go.
    """

    def __init__(self, change: ViewChange, split: Split, skeleton: Skeleton, target: int) -> None:
        cameras = find_cameras(split, skeleton)
        self._root, self._target = skeleton.root, target
        largest = [np.deg2rad(change.turn), np.deg2rad(change.tilt), np.deg2rad(change.roll), change.distance]
        self._largest = torch.tensor(largest, dtype=torch.float32)
        columns = np.concatenate([cameras.focal, cameras.centre, cameras.scale[:, None]], axis=1)
        self._cameras = torch.tensor(columns, dtype=torch.float32)  # [S,5]
        axes = np.stack([cameras.up, *np.broadcast_to(np.eye(3)[[0, 2], None], (2, *cameras.up.shape))], axis=1)
        self._axes = torch.tensor(axes, dtype=torch.float32)  # [S,3,3] of turn, tilt and roll

    def numbers(self, sequence: np.ndarray, draws: np.ndarray) -> Tensor:
        """What `move` needs of n windows: [n,15] float32 on the host.  A GPU would take longer to launch all this than
        the host takes to do it.

        sequence  [n] the windows' sequences;  draws  [n,4] float32 in [-1, 1] for turn, tilt, roll and distance.
        """
        amounts, number = torch.from_numpy(draws) * self._largest, torch.from_numpy(sequence)
        axes = self._axes.index_select(0, number)
        turn, tilt, roll = rotations(axes.flatten(0, 1), amounts[:, :3].flatten()).unflatten(0, (-1, 3)).unbind(1)
        rotation = product(product(roll, tilt), turn)
        return torch.cat([self._cameras.index_select(0, number), amounts[:, 3:].exp(), rotation.flatten(1)], dim=1)

    def move(self, pixels: Tensor, millimetres: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Windows as they would look: pixels [n,T,V,2] and camera-space millimetres [n,T,V,3] again.

        numbers  [n,15] as the method of that name gives them, where the windows are.
        """
        focal, centre, scale, factor, rotation = numbers[:, None, None].split([2, 2, 1, 1, 9], dim=3)

        def project(root: Tensor, offsets: Tensor) -> Tensor:
            points = root + scale * offsets
            return torch.addcdiv(centre, focal * points[..., :2], points[..., 2:].clamp_min(NEAREST_MM))

        own = slice(self._root, self._root + 1)
        root = millimetres[:, :, own]
        offsets = millimetres - root
        amiss = pixels - project(root, offsets)
        pivot = root[:, self._target, None]
        torch.sub(root, pivot, out=offsets[:, :, own])  # its own offset, which is zero, makes room for the root's way
        offsets = turned(offsets, rotation.view(-1, 3, 3))
        moved_root = offsets[:, :, own] + pivot * factor
        offsets[:, :, own].zero_()
        return project(moved_root, offsets).add_(amiss), moved_root + offsets


def rotations(axes: Tensor, angles: Tensor) -> Tensor:
    """[n,3,3]: the rotations by `angles` [n] radians about unit vectors [n,3] (Rodrigues)."""
    x, y, z = axes.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    sine, cosine = angles.sin().view(-1, 1, 1), angles.cos().view(-1, 1, 1)
    return torch.eye(3, device=axes.device) + sine * cross + (1 - cosine) * product(cross, cross)


# As sums, which are float32 everywhere: a GPU that may use TF32 would round what it multiplies as matrices, and move a
# joint one metre from the root by half a millimetre.


def turned(poses: Tensor, matrices: Tensor) -> Tensor:
    """Poses [n,T,V,3], those of a window times its matrix of [n,3,3]."""
    x, y, z = poses.split(1, dim=-1)
    first, second, third = matrices[:, None, None].unbind(-1)
    return (first * x).add_(second * y).add_(third * z)


def product(left: Tensor, right: Tensor) -> Tensor:
    """The matrix products [n,3,3] of [n,3,3] and [n,3,3]."""
    return (left[:, :, :, None] * right[:, None]).sum(dim=2)
