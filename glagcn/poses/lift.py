"""Lift a sequence of 2D poses with a trained model."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from glagcn.errors import UserError
from glagcn.model.cores import batches_in_memory, cpu_batch, on_every_core
from glagcn.model.interface import Model
from glagcn.poses.gaps import Counts, fill_gaps, gap_frames, mark_missing, with_confidence
from glagcn.poses.joints import check_input, get_convention, input_joints
from glagcn.poses.normalise import MM_PER_METRE, mirror, normalise

logger = logging.getLogger(__name__)

BATCH = 64  # windows that a GPU lifts at once, for speed at little memory (243 frames, 256 channels: about 2 GB)


@torch.no_grad()
def predict(
    model: Model,
    pose_2d: ArrayLike,
    image_size: ArrayLike,
    flip: bool = True,
    frames: Sequence[int] | np.ndarray | None = None,
    joints: str | None = None,
    fps: float | None = None,
) -> np.ndarray:
    """Lift a sequence to 3D poses [T,V,3] in millimetres, relative to the root, which is exactly 0.

    pose_2d     [T,V,2] pixels (array, tensor or lists), or [T,V,3] with a confidence, T of any length: beyond its ends
                the first and last frame are repeated.  Missing joints (NaN, masked, (0, 0), (-1, -1), a confidence
                below 0.05, or far outside the image) are filled from the frames around, and a warning counts them.
    image_size  (width, height) in pixels.
    flip        average with the un-mirrored prediction of the mirrored sequence (test-time augmentation).
    frames      the numbers of the n frames to lift, or a mask [T] of them, each amid its true neighbours, to [n,V,3];
                None: all.
    joints      the order of the joints, a name of glagcn.poses.joints, such as "coco17"; None: that of the model.
    fps         frames per second: gaps of up to half a second are interpolated; None: of up to 12 frames.
    Runs on the model's device, on a CPU with as many threads as PyTorch uses, and leaves its training mode as it was.
    Raises UserError on a wrong shape, no joint at all, values that are not pixels of such an image, poses that are
    clearly in another order than they should be, or frames that are not there.
    """
    size = as_array(image_size, "image_size")
    check_size(size)
    poses_2d = complete_poses(model, as_array(pose_2d, "pose_2d"), size, joints, fps)
    numbers = frame_numbers(frames, len(poses_2d))
    return lift_frames(model, input_windows(model, poses_2d, size), flip, numbers)


@torch.no_grad()
def lift_frames(model: Model, windows: Tensor, flip: bool, numbers: Tensor) -> np.ndarray:
    """The frames `numbers` [n] of a sequence as [n,V,3] mm, of all its windows (see `input_windows`)."""
    if not len(numbers):
        return np.zeros((0, model.skeleton.num_joints, 3), np.float32)
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:

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


def normalised(keypoints: np.ndarray, size: np.ndarray, channels: int) -> Tensor:
    """The C input channels [...,C] float32 of keypoints [...,3]: pixels of images of this size, and confidences.

    x and y become normalised coordinates (see windows.store.normalise), confidences are cut off at 1.
    """
    given, image_size = torch.from_numpy(keypoints.astype(np.float32)), torch.from_numpy(size.astype(np.float32))
    return torch.cat([normalise(given[..., :2], image_size), given[..., 2:].clamp(max=1)], dim=-1)[..., :channels]


def as_array(values: ArrayLike, name: str) -> np.ndarray:
    """`values` as an array of numbers.  Raises UserError that names `name` if that is not possible."""
    try:
        array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asanyarray(values)
    except ValueError as error:
        raise UserError(f"{name} is not an array: {error}") from None
    if array.dtype.kind not in "fiu":
        raise UserError(f"{name} has type {array.dtype}; must be an array of numbers")
    if isinstance(array, np.ma.MaskedArray):
        return np.ma.filled(array.astype(np.float64), np.nan)
    return np.asarray(array)


def frame_numbers(frames: Sequence[int] | np.ndarray | None, length: int) -> Tensor:
    """The numbers [n] that choose frames of a sequence of `length`.  Raises UserError where they are none of it."""
    if frames is None:
        return torch.arange(length)
    chosen = np.asarray(frames)
    if chosen.dtype == bool and chosen.shape == (length,):
        return torch.from_numpy(np.flatnonzero(chosen))
    if not chosen.size:
        return torch.arange(0)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise UserError(
            f"frames has shape {list(chosen.shape)} and type {chosen.dtype}; expected frame numbers, or a mask of "
            f"{length} values"
        )
    if chosen.min() < 0 or chosen.max() >= length:
        raise UserError(f"frames holds {chosen.min()} to {chosen.max()}; expected numbers from 0 to {length - 1}")
    return torch.from_numpy(chosen.astype(np.int64))


def lift(model: Model, windows: Tensor, flip: bool) -> Tensor:
    """The poses [N,V,3] of the target frames of normalised windows [N,T,V,C], in metres, on the CPU."""
    poses = model(windows).target[:, 0]
    if flip:
        input_order, order = (
            torch.tensor(order, device=windows.device) for order in (model.skeleton.input_mirror, model.skeleton.mirror)
        )
        poses = (poses + mirror(model(mirror(windows, input_order)).target[:, 0], order)) / 2
    return poses.float().cpu()


def input_windows(model: Model, poses_2d: np.ndarray, size: np.ndarray) -> Tensor:
    """All windows [T,frames,V,C] of complete poses [T,V,3] (see `complete_poses`), normalised, as a view.

    Frame t of the sequence is the target frame of window t; the first and last frame are repeated beyond the ends.
    """
    pose, frames, target = normalised(poses_2d, size, len(model.input)), model.frames, model.target_frame
    before, after = pose[:1].expand(target, -1, -1), pose[-1:].expand(frames - 1 - target, -1, -1)
    padded = torch.cat([before, pose, after])
    return padded.unfold(0, frames, 1).permute(0, 3, 1, 2)


def check_size(image_size: np.ndarray) -> None:
    """Raise UserError unless `image_size` is a positive width and height."""
    if image_size.shape != (2,) or not (np.isfinite(image_size) & (image_size > 0)).all():
        raise UserError(f"invalid image_size {image_size.tolist()}: must be (width, height) in pixels")


def complete_poses(
    model: Model, pose_2d: np.ndarray, image_size: np.ndarray, joints: str | None = None, fps: float | None = None
) -> np.ndarray:
    """The joints that the model reads, [T,V,3] float32 (pixels, confidence), of poses [T,J,2 or 3].

    Every gap is filled; the confidence there is 0, and 1 where the poses have none.

    joints, fps  as in `predict`.
    Raises UserError where they are no such poses; warns of what was filled.
    """
    skeleton = model.skeleton
    convention = get_convention(joints) if joints else None
    count, shape = len(convention.joints) if convention else skeleton.num_input_joints, pose_2d.shape
    if pose_2d.ndim != 3 or shape[1] != count or shape[2] not in (2, 3) or shape[0] == 0:
        read = f"joints={joints!r} names" if joints else f"this model ({skeleton.name}) reads"
        raise UserError(
            f"pose_2d has shape {list(shape)}; expected [T, {count}, 2], or 3 with a confidence: pixels of at least "
            f"one frame, of the {count} joints that {read}"
        )
    keypoints = mark_missing(with_confidence(pose_2d))
    if not keypoints[..., 2].any():
        raise UserError(
            f"pose_2d holds no joint in any of {shape[0]} frames: all are NaN, (0, 0) or without confidence"
        )
    check_pixels(keypoints[keypoints[..., 2] > 0, :2], image_size)
    warn_if_swapped(keypoints[keypoints[..., 2] > 0, :2], image_size)
    keypoints = mark_missing(keypoints, (float(image_size[0]), float(image_size[1])))
    if convention:
        keypoints = convention.map_to(skeleton).apply(keypoints)
    else:
        check_input(keypoints, skeleton, "pose_2d", "joints=")
    counts = Counts()
    filled = fill_gaps(keypoints, gap_frames(fps), counts)
    if counts.missing:
        logger.warning("pose_2d has %s", counts.words(input_joints(skeleton)))
    return filled


def check_pixels(pose_2d: np.ndarray, image_size: np.ndarray) -> None:
    """Raise UserError if `pose_2d` [...,2] are not pixels of such an image."""
    width, height = image_size.tolist()
    if np.abs(pose_2d).max() <= 2 < max(width, height):
        raise UserError(
            f"pose_2d is between {np.min(pose_2d):.3g} and {np.max(pose_2d):.3g}, so it seems to be normalised; "
            f"expected pixels of an image of {width:g} x {height:g}"
        )
    centre = np.median(pose_2d.reshape(-1, 2), axis=0)
    if (centre < -image_size).any() or (centre > 2 * image_size).any():
        raise UserError(
            f"the median joint of pose_2d is at ({centre[0]:.0f}, {centre[1]:.0f}), far outside an image of "
            f"{width:g} x {height:g}; expected pixels, and image_size as (width, height)"
        )


def warn_if_swapped(pose_2d: np.ndarray, image_size: np.ndarray) -> None:
    """Warn if `pose_2d` [...,2] are pixels of an image of `image_size` (width, height) with both swapped."""
    width, height = image_size.tolist()
    if _share_outside(pose_2d, image_size) > 0.05 > _share_outside(pose_2d, image_size[::-1]):
        logger.warning("many joints are outside an image of %g x %g; are width and height swapped?", width, height)


def _share_outside(pose_2d: np.ndarray, size: np.ndarray) -> float:
    """The fraction of joints outside an image of this size."""
    return float(np.mean(((pose_2d < 0) | (pose_2d > size)).any(axis=-1)))
