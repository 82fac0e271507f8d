"""Lift a sequence of 2D poses with a trained model."""

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
    """Lift a sequence to 3D poses [T,V,3] in millimetres, relative to the root, which is exactly 0.

    pose_2d     [T,V,2] pixels (array, tensor or lists), any T; beyond the ends, the first and last frame are repeated.
    image_size  (width, height) in pixels.
    flip        average with the un-mirrored prediction of the mirrored sequence (test-time augmentation).
    frames      numbers of the n frames to lift, with their real context, to [n,V,3]; None: all.

    Runs on the model's device, on a CPU with as many threads as PyTorch uses, and restores the model's training mode.
    Raises UserError for a wrong shape, values that are not finite, or values that are not pixels of such an image.
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
    """Pixels [...,2] of images of this size in normalised coordinates, float32; see windows.store.normalise."""
    return normalise(torch.from_numpy(pixels.astype(np.float32)), torch.from_numpy(size.astype(np.float32)))


def as_array(values: ArrayLike, name: str) -> np.ndarray:
    """`values` as an array of numbers.  Raises UserError that names `name` if that is not possible."""
    try:
        array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except ValueError as error:
        raise UserError(f"{name} is not an array: {error}") from None
    if array.dtype.kind not in "fiu":
        raise UserError(f"{name} has type {array.dtype}; must be an array of numbers")
    return array


def lift(model: Model, windows: Tensor, flip: bool) -> Tensor:
    """The poses [N,V,3] of the target frames of normalised windows [N,T,V,2], in metres, on the CPU."""
    poses = model(windows).center[:, 0]
    if flip:
        input_order, order = (
            torch.tensor(order, device=windows.device) for order in (model.skeleton.input_mirror, model.skeleton.mirror)
        )
        poses = (poses + mirror(model(mirror(windows, input_order)).center[:, 0], order)) / 2
    return poses.float().cpu()


def _windows(pose: Tensor, frames: int, target: int) -> Tensor:
    """All windows [T,frames,V,2] of a sequence [T,V,2], as a view.

    Frame t of the sequence is frame `target` of window t; the first and last frame are repeated beyond the ends.
    """
    before, after = pose[:1].expand(target, -1, -1), pose[-1:].expand(frames - 1 - target, -1, -1)
    padded = torch.cat([before, pose, after])
    return padded.unfold(0, frames, 1).permute(0, 3, 1, 2)


def check_size(image_size: np.ndarray) -> None:
    """Raise UserError unless `image_size` is a positive width and height."""
    if image_size.shape != (2,) or not (np.isfinite(image_size) & (image_size > 0)).all():
        raise UserError(f"invalid image_size {image_size.tolist()}: must be (width, height) in pixels")


def check_poses(model: Model, pose_2d: np.ndarray) -> None:
    """Raise UserError unless `pose_2d` [T,V,2] has the joints of the model's input and finite values."""
    joints, shape = model.skeleton.num_input_joints, pose_2d.shape
    if pose_2d.ndim != 3 or shape[1:] != (joints, 2) or shape[0] == 0:
        raise UserError(
            f"pose_2d has shape {list(shape)}; expected [T, {joints}, 2]: pixels of at least one frame, of "
            f"the {joints} joints that this model ({model.skeleton.name}) reads"
        )
    finite = np.isfinite(pose_2d).all(axis=(1, 2))
    if not finite.all():
        raise UserError(
            f"pose_2d has values that are not finite in {np.sum(~finite)} of {shape[0]} frames, first in frame "
            f"{np.argmin(finite)}; fill gaps before lifting"
        )


def check_pixels(pose_2d: np.ndarray, image_size: np.ndarray) -> None:
    """Raise UserError if `pose_2d` are not pixels of an image of this size; warn if width and height seem swapped."""
    width, height = image_size.tolist()
    if np.abs(pose_2d).max() <= 2 < max(width, height):
        raise UserError(
            f"pose_2d is between {np.min(pose_2d):.3g} and {np.max(pose_2d):.3g}, so it seems to be normalised; "
            f"expected pixels of an image of {width:g} x {height:g}"
        )
    centre = np.median(pose_2d, axis=(0, 1))
    if (centre < -image_size).any() or (centre > 2 * image_size).any():
        raise UserError(
            f"the median joint of pose_2d is at ({centre[0]:.0f}, {centre[1]:.0f}), far outside an image of "
            f"{width:g} x {height:g}; expected pixels, and image_size as (width, height)"
        )
    if _share_outside(pose_2d, image_size) > 0.05 > _share_outside(pose_2d, image_size[::-1]):
        logger.warning("many joints are outside an image of %g x %g; are width and height swapped?", width, height)


def _share_outside(pose_2d: np.ndarray, size: np.ndarray) -> float:
    """The fraction of joints outside an image of this size."""
    return float(np.mean(((pose_2d < 0) | (pose_2d > size)).any(axis=-1)))
