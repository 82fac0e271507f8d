"""Load a trained model, and lift a sequence of 2D poses with it."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from glagcn.data.windows import MM_PER_METRE, mirror, normalise
from glagcn.engine import checkpoint
from glagcn.engine.published import check_is_zip, published_state
from glagcn.errors import UserError
from glagcn.model.network import LiftingNetwork, from_config
from glagcn.model.published import load_published_weights
from glagcn.skeleton import Skeleton, get_skeleton

logger = logging.getLogger("glagcn")

PUBLISHED_WIDTH = 3
PUBLISHED_SKELETONS = ("h36m17", "humaneva15", "humaneva15_coco17")
BATCH = 64  # windows lifted at once: a compromise between speed and memory (243 frames, 256 channels: about 2 GB).


def load_model(
    path: str | Path, skeleton: str | Skeleton | None = None, widths: Sequence[int] | None = None
) -> LiftingNetwork:
    """The model in a checkpoint of ours or a published one (.bin, .pth), on the CPU in eval mode.

    skeleton    "h36m17", "humaneva15", "humaneva15_coco17", ...; None: from our checkpoint, else from the joint count
                and the published file names.
    widths      filter widths; None: from our checkpoint, else 3 for each stage, as published.
    What a published file does not say is assumed, with a warning in the log "glagcn".  Nothing pickled is executed.
    Raises UserError, naming the file, when it is not such a checkpoint or contradicts `skeleton` or `widths`.
    """
    path = Path(path)
    skeleton = get_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    check_is_zip(path)
    content = checkpoint.load_ours(path)
    build = _load_published if content is None else partial(_restore, content)
    model = build(path, skeleton, widths).eval()
    broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise UserError(
            f"{path}: the weights {broken[0]!r} hold values that are not finite; take an earlier checkpoint"
        )
    return model


@torch.no_grad()
def predict(model: LiftingNetwork, pose_2d: ArrayLike, image_size: ArrayLike, flip: bool = True) -> np.ndarray:
    """The 3D poses [T,V,3] of a sequence, in millimetres relative to the root, which is exactly 0.

    pose_2d     [T,V,2] pixels (array, tensor or lists), T of any length: beyond its ends the first and last frame are
                repeated.
    image_size  (width, height) in pixels.
    flip        average with the mirrored-back prediction for the mirrored sequence (test-time augmentation).
    Runs on the model's device and leaves its training mode as it was.  Raises UserError on a wrong shape, values that
    are not finite, or values that are not pixels of such an image.
    """
    pixels, size = _as_array(pose_2d, "pose_2d"), _as_array(image_size, "image_size")
    _check_input(model, pixels, size)
    normalised = normalise(torch.from_numpy(pixels.astype(np.float32)), torch.from_numpy(size.astype(np.float32)))
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        batches = _windows(normalised, model.frames).split(BATCH)
        poses = [_lift(model, batch.to(model.adjacency), flip) for batch in batches]
    finally:
        for module in training:
            module.training = True
    pose_3d = torch.cat(poses) * MM_PER_METRE
    pose_3d[:, model.skeleton.root] = 0
    return pose_3d.numpy()


def _as_array(values: ArrayLike, name: str) -> np.ndarray:
    """An array of numbers of whatever holds them; raises UserError where nothing does."""
    try:
        array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except ValueError as error:
        raise UserError(f"{name} is no array: {error}") from None
    if array.dtype.kind not in "fiu":
        raise UserError(f"{name} has type {array.dtype}; expected an array of numbers")
    return array


def _lift(model: LiftingNetwork, windows: Tensor, flip: bool) -> Tensor:
    """Normalised windows [N,T,V,2] to the poses of their centre frames, [N,V,3] metres on the CPU."""
    poses = model(windows).center[:, 0]
    if flip:
        there, back = (
            torch.tensor(order, device=windows.device) for order in (model.skeleton.input_mirror, model.skeleton.mirror)
        )
        poses = (poses + mirror(model(mirror(windows, there)).center[:, 0], back)) / 2
    return poses.float().cpu()


def _windows(pose: Tensor, frames: int) -> Tensor:
    """All windows [T,frames,V,2] of a sequence [T,V,2], one around each frame, the ends repeated (a view)."""
    half = frames // 2
    padded = torch.cat([pose[:1].expand(half, -1, -1), pose, pose[-1:].expand(half, -1, -1)])
    return padded.unfold(0, frames, 1).permute(0, 3, 1, 2)


def _check_input(model: LiftingNetwork, pose_2d: np.ndarray, image_size: np.ndarray) -> None:
    joints, shape = model.skeleton.num_input_joints, pose_2d.shape
    if pose_2d.ndim != 3 or shape[1:] != (joints, 2) or shape[0] == 0:
        raise UserError(
            f"pose_2d has shape {list(shape)}; expected [T, {joints}, 2]: pixels of at least one frame, of "
            f"the {joints} joints that this model ({model.skeleton.name}) reads"
        )
    if image_size.shape != (2,) or not (np.isfinite(image_size) & (image_size > 0)).all():
        raise UserError(f"image_size is {image_size.tolist()}; expected (width, height) in pixels")
    finite = np.isfinite(pose_2d).all(axis=(1, 2))
    if not finite.all():
        raise UserError(
            f"pose_2d holds values that are not finite in {np.sum(~finite)} of {shape[0]} frames, first in frame "
            f"{np.argmin(finite)}; fill gaps before lifting"
        )
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


def _restore(
    content: dict[str, Any], path: Path, skeleton: Skeleton | None, widths: Sequence[int] | None
) -> LiftingNetwork:
    config, state = content["model_config"], content["model"]
    _check_agrees(path, config, skeleton, widths)
    model = from_config(config)
    _check_state(path, state, model)
    model.load_state_dict(state)
    return model


def _check_agrees(
    path: Path, config: Mapping[str, Any], skeleton: Skeleton | None, widths: Sequence[int] | None
) -> None:
    if skeleton is not None and skeleton.name != config.get("skeleton"):
        raise UserError(
            f"{path}: trained with skeleton {config.get('skeleton')!r}, not {skeleton.name!r}; leave it out"
        )
    if widths is not None and list(widths) != list(config.get("widths", ())):
        raise UserError(f"{path}: trained with widths {config.get('widths')}, not {list(widths)}; leave them out")


def _check_state(path: Path, state: Mapping[str, Tensor], model: LiftingNetwork) -> None:
    """Raise UserError unless `state` has exactly the model's tensors, and its graph."""
    expected = model.state_dict()
    for name in sorted(expected.keys() | state.keys()):
        found, wanted = (list(d[name].shape) if name in d else "nothing" for d in (state, expected))
        if found != wanted:
            raise UserError(
                f"{path}: weights {name!r}: found {found}, expected {wanted} by the file's own model_config"
            )
    if not torch.equal(state["adjacency"], expected["adjacency"]):
        raise UserError(
            f"{path}: the graph it was trained with is not this program's graph {model.graph.name!r}; "
            "evaluate it with the version of glagcn that trained it"
        )


def _load_published(path: Path, skeleton: Skeleton | None, widths: Sequence[int] | None) -> LiftingNetwork:
    weights = published_state(path)
    try:
        joints, channels = weights["expand_gcn.gcn1.PA"].shape[-1], weights["fc.weight"].shape[1]
    except (KeyError, IndexError) as error:
        raise UserError(f"{path}: not the weights of a published S-AGCN (no usable {error})") from error
    if skeleton is None:
        skeleton = _guess_skeleton(path, joints)
        logger.warning("%s does not name its skeleton: assumed %s; give skeleton= otherwise", path.name, skeleton.name)
    if skeleton.num_joints != joints:
        raise UserError(
            f"{path}: weights for {joints} joints, but skeleton {skeleton.name!r} has {skeleton.num_joints}"
        )
    if skeleton.name not in PUBLISHED_SKELETONS:
        logger.warning(
            "%s: weights taken for the graph of %s and for metres, which no published file is known for",
            path.name,
            skeleton.name,
        )
    if widths is None:
        widths = (PUBLISHED_WIDTH,) * _count_stages(weights)
        logger.warning("%s does not hold its filter widths: assumed %s; give widths= otherwise", path.name, widths)
    model = LiftingNetwork(skeleton, widths, channels, sequence_layers=0, head="shared")
    load_published_weights(model, weights, str(path))
    return model


def _count_stages(weights: Mapping[str, Tensor]) -> int:
    return sum(1 for name in weights if name.startswith("layers_tcngcn.") and name.endswith(".PA")) // 2


def _guess_skeleton(path: Path, joints: int) -> Skeleton:
    """The skeleton of a published file, from its joint count and name."""
    if joints == 17:
        return get_skeleton("h36m17")
    if joints == 15 and "_coco" in path.name:
        return get_skeleton("humaneva15_coco17")
    if joints == 15 and "_gt" in path.name:
        return get_skeleton("humaneva15")
    raise UserError(
        f"{path}: weights for {joints} joints, and neither they nor the file's name say which skeleton; "
        "give skeleton='h36m17' (17 joints), 'humaneva15' or 'humaneva15_coco17' (15 joints)"
    )
