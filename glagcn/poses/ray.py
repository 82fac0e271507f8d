"""The ray frame: 2D and 3D poses as seen by a camera that looks at the person from a standard distance.

In pixels, a person who stands at the side of the image looks like one in the middle who has turned a little.  By how
much depends on the focal length, which a network that reads pixels does not know.  In the ray frame

- the axes are turned so that the ray from the camera through the middle of the hips is the optical axis.  The turn is
  about the camera's vertical, then about the new horizontal, without roll;
- the 2D joints lie in the plane at distance 1 along that axis and are divided by the size of the person there, so that
  they are about the x and y of the body in metres.

Every frame of a sequence has axes and a size of its own: means over the HISTORY frames that end with it, so that they
do not shake with a detector, need no later frame, and are the same in every window that holds the frame.  A pose that
was lifted in the ray frame is turned back to the camera's axes.

With a = (x, y, z) the unit ray and h = sqrt(x^2 + z^2), the rows of the rotation from the camera to the ray frame are
(z, 0, -x) / h, (-x y, h^2, -y z) / h and a.  Virtual cameras: Yu, Salzmann, Fua and Rhodin, "PCLs: Geometry-aware
neural reconstruction of 3D pose with perspective crop layers", CVPR 2021; rays: Zhan, Li, Weng and Choi, "Ray3D",
CVPR 2022.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from glagcn.poses.joints import input_convention
from glagcn.skeletons import Skeleton

HISTORY = 8  # frames: a quarter of a second at 30 a second
EARLIER = {"camera": 0, "ray": HISTORY - 1}  # by the frame of a model: frames before its window that are needed too
# Lengths in metres of an adult's bones between joints that every joint order has.  The length of a bone in the picture
# divided by this is the size of the person, if the bone is seen from the side.  The third largest of the ten counts: a
# larger one may have a joint that the detector placed far off.  On the test people of --dataset mocap it is within 9 %
# of 1 / distance (standard deviation); the mean of the ten is within 12 %, a box about the joints within 14 %.
BONES = {
    ("shoulder", "elbow"): 0.29, ("elbow", "wrist"): 0.25, ("hip", "knee"): 0.42, ("knee", "ankle"): 0.41,
    ("shoulder", "hip"): 0.50,
}  # fmt: skip
NTH_LARGEST = 3
LEAST_SIZE = 1e-4  # 1 / m: a person 10 km away
LEAST_COSINE = 0.1  # of the angle between a joint and the optical axis: 84 degrees; joints beyond are placed as at it
# The field of view of a 35 mm lens along the longer side of a 36 x 24 mm sensor (54.4 degrees, rounded).  Human3.6M's
# cameras have 47 degrees, MPI-INF-3DHP's 69, phones about 65.  The estimated depth is proportional to the focal length.
USUAL_VIEW_DEGREES = 55.0


def usual_focal(image_size: Any) -> float:
    """A default focal length in pixels for an image of (width, height): USUAL_VIEW_DEGREES along the longer side."""
    return float(max(image_size) / 2 / np.tan(np.radians(USUAL_VIEW_DEGREES) / 2))


def usual_lens(image_size: Any, focal: float | None = None) -> np.ndarray:
    """A lens [4] (fx, fy, cx, cy) in pixels: `focal`, or `usual_focal`, and the middle of the image."""
    width, height = image_size
    focal = focal or usual_focal(image_size)
    return np.array([focal, focal, width / 2, height / 2])


def normalised_lens(sizes: np.ndarray, lenses: np.ndarray) -> Tensor:
    """Focal lengths and principal points [...,4] float32 in normalised coordinates (poses.normalise) instead of pixels.

    sizes   [...,2] width and height, pixels.
    lenses  [...,4] focal lengths and principal points (fx, fy, cx, cy), pixels.
    """
    sizes, shift = np.asarray(sizes, np.float64), np.zeros(np.shape(lenses))
    shift[..., 2:] = sizes / 2
    return torch.from_numpy(((lenses - shift) / (sizes[..., :1] / 2)).astype(np.float32))


class RayFrame(NamedTuple):
    """2D poses [N,T,V,C] in the ray frame, and the rotations [N,T,3,3] to the axes of each frame from the camera's."""

    poses: Tensor
    rotations: Tensor


class Rays:
    """Brings 2D poses of a skeleton's input joints into the ray frame."""

    def __init__(self, skeleton: Skeleton, device: torch.device) -> None:
        places = {point: place for place, point in enumerate(input_convention(skeleton).points)}
        bones = [
            (places[f"{side}_{a}"], places[f"{side}_{b}"], length)
            for (a, b), length in BONES.items()
            for side in ("left", "right")
        ]
        begin, end, lengths = zip(*bones, strict=True)
        self._begin, self._end = (torch.tensor(joints, device=device) for joints in (begin, end))
        self._lengths = torch.tensor(lengths, device=device)
        self._hips = torch.tensor([places["left_hip"], places["right_hip"]], device=device)

    def __call__(self, poses: Tensor, lens: Tensor) -> RayFrame:
        """Bring windows of normalised 2D poses [N,HISTORY-1+T,V,C] into the ray frame, without their first HISTORY - 1.

        lens  [N,4] or [4] from `normalised_lens`.

        A third channel is the confidence: bones with a joint of confidence 0 do not count for the size, unless fewer
        than three are left.  Hips of confidence 0 count for the ray, with the places that were filled in.
        """
        lens = lens[..., None, None, :]
        plane = (poses[..., :2] - lens[..., 2:]) / lens[..., :2]  # x / z and y / z in the camera's axes
        rays = F.pad(plane, (0, 1), value=1.0)
        unit = rays / torch.linalg.vector_norm(rays, dim=-1, keepdim=True)
        hips = F.normalize(unit.index_select(2, self._hips).sum(dim=2), dim=-1)
        rotations = _looking_along(_means(hips))
        x, y, z = rays[:, HISTORY - 1 :].split(1, dim=-1)
        # Sums, which stay float32: a GPU may compute matrix products in TF32.
        across, down, along = rotations[:, :, None].unbind(-1)
        points = x * across + y * down + z * along
        sizes = _means(self._sizes(unit, poses)[..., None])[..., None].clamp_min(LEAST_SIZE)
        flat = points[..., :2] / points[..., 2:].clamp_min(LEAST_COSINE) / sizes
        return RayFrame(torch.cat([flat, poses[:, HISTORY - 1 :, :, 2:]], dim=-1), rotations)

    def _sizes(self, unit: Tensor, poses: Tensor) -> Tensor:
        """The sizes [N,T] of people, about 1 / distance in 1 / m.

        unit   [N,T,V,3] the unit vectors from the camera to the joints.
        poses  [N,T,V,C] the same joints, for their confidence.
        """
        bones = unit.index_select(2, self._begin) - unit.index_select(2, self._end)
        bones = torch.linalg.vector_norm(bones, dim=-1) / self._lengths
        sizes = bones.topk(NTH_LARGEST, dim=2).values[..., -1]
        if poses.shape[-1] == 2:
            return sizes
        seen = poses[..., 2] > 0
        seen = seen.index_select(2, self._begin) & seen.index_select(2, self._end)
        of_seen = (bones * seen).topk(NTH_LARGEST, dim=2).values[..., -1]
        return torch.where(of_seen > 0, of_seen, sizes)


def _means(values: Tensor) -> Tensor:
    """The mean [N,T,C] of each frame and the HISTORY - 1 before it, of values [N,HISTORY-1+T,C]."""
    frames = values.shape[1] - HISTORY + 1
    if frames == 1:  # a live stream
        return values.mean(dim=1, keepdim=True)
    return torch.stack([values[:, begin : begin + frames] for begin in range(HISTORY)]).mean(dim=0)


def _looking_along(axes: Tensor) -> Tensor:
    """The rotations [N,T,3,3] from the camera's axes to those whose z axis is along [N,T,3], without roll."""
    x, y, z = F.normalize(axes, dim=-1).unbind(-1)
    flat = (x**2 + z**2).sqrt().clamp_min(1e-6)
    rows = (z / flat, torch.zeros_like(x), -x / flat), (-x * y / flat, flat, -y * z / flat), (x, y, z)
    return torch.stack([entry for row in rows for entry in row], dim=-1).unflatten(-1, (3, 3))


def turned(poses: Tensor, rotations: Tensor) -> Tensor:
    """Poses [...,V,3] in the camera's axes, multiplied by rotations [...,3,3], as to the ray frame."""
    return (poses[..., None, :] * rotations[..., None, :, :]).sum(dim=-1)


def turned_back(poses: Tensor, rotations: Tensor | None) -> Tensor:
    """Poses [...,V,3] that rotations [...,3,3] have turned, in the camera's axes again; None: they were not turned."""
    return poses if rotations is None else turned(poses, rotations.transpose(-1, -2))
