"""Load a trained model, and lift a sequence of 2D poses with it."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from glagcn.data.windows.store import MM_PER_METRE, mirror, normalise
from glagcn.distributed.cores import batches_in_memory, cpu_batch, on_every_core
from glagcn.errors import UserError
from glagcn.model.interface import Model

logger = logging.getLogger("glagcn")

BATCH = 64  # windows that a GPU lifts at once, for speed at little memory (243 frames, 256 channels: about 2 GB)


@torch.no_grad()
def predict(
    model: Model,
    pose_2d: ArrayLike,
    image_size: ArrayLike,
    flip: bool = True,
    frames: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """The 3D poses [T,V,3] of a sequence, in millimetres relative to the root, which is exactly 0.

    pose_2d     [T,V,2] pixels (array, tensor or lists), T of any length: beyond its ends the first and last frame are
                repeated.
    image_size  (width, height) in pixels.
    flip        average with the mirrored-back prediction for the mirrored sequence (test-time augmentation).
    frames      the numbers of the n frames to lift, each amid its true neighbours, to [n,V,3]; None: all.
    Runs on the model's device, on a CPU with as many threads as PyTorch uses, and leaves its training mode as it was.
    Raises UserError on a wrong shape, values that are not finite, or values that are not pixels of such an image.
    """
    pixels, size = as_array(pose_2d, "pose_2d"), as_array(image_size, "image_size")
    check_size(size)
    check_poses(model, pixels)
    check_pixels(pixels, size)
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        windows = _windows(normalised(pixels, size), model.frames, model.target_frame)
        numbers = torch.arange(len(windows)) if frames is None else torch.from_numpy(np.asarray(frames, np.int64))

        def lifted(part: Tensor) -> Tensor:
            return lift(model, windows[part].to(model.device, model.dtype), flip)

        if model.device.type == "cpu":
            parts = numbers.split(cpu_batch(model, len(numbers)))
            poses = list(on_every_core(lifted, parts, batches_in_memory(model)))
        else:
            poses = [lifted(part) for part in numbers.split(BATCH)]
    finally:
        for module in training:
            module.training = True
    pose_3d = torch.cat(poses) * MM_PER_METRE
    pose_3d[:, model.skeleton.root] = 0
    return pose_3d.numpy()


def normalised(pixels: np.ndarray, size: np.ndarray) -> Tensor:
    """Pixels [...,2] of images of this size to image coordinates, as windows.store.normalise, in float32."""
    return normalise(torch.from_numpy(pixels.astype(np.float32)), torch.from_numpy(size.astype(np.float32)))


def as_array(values: ArrayLike, name: str) -> np.ndarray:
    """An array of numbers of whatever holds them; raises UserError where nothing does."""
    try:
        array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except ValueError as error:
        raise UserError(f"{name} is no array: {error}") from None
    if array.dtype.kind not in "fiu":
        raise UserError(f"{name} has type {array.dtype}; must be an array of numbers")
    return array


def lift(model: Model, windows: Tensor, flip: bool) -> Tensor:
    """Normalised windows [N,T,V,2] to the poses of their centre frames, [N,V,3] metres on the CPU."""
    poses = model(windows).center[:, 0]
    if flip:
        there, back = (
            torch.tensor(order, device=windows.device) for order in (model.skeleton.input_mirror, model.skeleton.mirror)
        )
        poses = (poses + mirror(model(mirror(windows, there)).center[:, 0], back)) / 2
    return poses.float().cpu()


def _windows(pose: Tensor, frames: int, target: int) -> Tensor:
    """All windows [T,frames,V,2] of a sequence [T,V,2], one for each frame, which is frame `target` of its window; the
    ends are repeated (a view)."""
    before, after = pose[:1].expand(target, -1, -1), pose[-1:].expand(frames - 1 - target, -1, -1)
    padded = torch.cat([before, pose, after])
    return padded.unfold(0, frames, 1).permute(0, 3, 1, 2)


def check_size(image_size: np.ndarray) -> None:
    """Raise UserError unless `image_size` is a width and a height."""
    if image_size.shape != (2,) or not (np.isfinite(image_size) & (image_size > 0)).all():
        raise UserError(f"image_size is {image_size.tolist()}; expected (width, height) in pixels")


def check_poses(model: Model, pose_2d: np.ndarray) -> None:
    """Raise UserError unless `pose_2d` has finite values for the joints that the model reads: [T,V,2]."""
    joints, shape = model.skeleton.num_input_joints, pose_2d.shape
    if pose_2d.ndim != 3 or shape[1:] != (joints, 2) or shape[0] == 0:
        raise UserError(
            f"pose_2d has shape {list(shape)}; expected [T, {joints}, 2]: pixels of at least one frame, of "
            f"the {joints} joints that this model ({model.skeleton.name}) reads"
        )
    finite = np.isfinite(pose_2d).all(axis=(1, 2))
    if not finite.all():
        raise UserError(
            f"pose_2d holds values that are not finite in {np.sum(~finite)} of {shape[0]} frames, first in frame "
            f"{np.argmin(finite)}; fill gaps before lifting"
        )


def check_pixels(pose_2d: np.ndarray, image_size: np.ndarray) -> None:
    """Raise UserError where `pose_2d` are no pixels of an image of this size; warn where they may be of one on its
    side."""
    width, height = image_size.tolist()
    if np.abs(pose_2d).max() <= 2 < max(width, height):
        raise UserError(
            f"pose_2d lies between {np.min(pose_2d):.3g} and {np.max(pose_2d):.3g}: normalised coordinates; "
            f"expected pixels of an image of {width:g} x {height:g}"
        )
    centre = np.median(pose_2d, axis=(0, 1))
    if (centre < -image_size).any() or (centre > 2 * image_size).any():
        raise UserError(
            f"the median joint of pose_2d lies at ({centre[0]:.0f}, {centre[1]:.0f}), far outside an image of "
            f"{width:g} x {height:g}; expected pixels, and image_size as (width, height)"
        )
    if _share_outside(pose_2d, image_size) > 0.05 > _share_outside(pose_2d, image_size[::-1]):
        logger.warning("many joints lie outside an image of %g x %g: is image_size (width, height)?", width, height)


def _share_outside(pose_2d: np.ndarray, size: np.ndarray) -> float:
    """The share of joints outside an image of this size."""
    return float(np.mean(((pose_2d < 0) | (pose_2d > size)).any(axis=-1)))
