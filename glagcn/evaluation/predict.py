"""Predict frames, distributed over ranks and CPU cores."""

from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from glagcn import dist
from glagcn.cores import LEAST_WINDOWS, cpu_batch, on_every_core
from glagcn.data.windows.plan import WindowIds, share_bounds
from glagcn.data.windows.store import MM_PER_METRE, FrameStore, mirror
from glagcn.model.interface import Model

GPU_FLOATS = 1 << 25  # floats of the largest feature map of a batch that fills a GPU
BATCHES_BETWEEN_CHECKS = 4  # batches between checks for a stop signal


@torch.inference_mode()
def predict_frames(
    model: Model,
    store: FrameStore,
    frames: np.ndarray,
    *,
    flip: bool,
    zero_root: bool,
    batch_size: int | None = None,
) -> np.ndarray:
    """The predicted poses [n,V,3] mm of the target frames `frames`, on every rank.

    flip        average with the un-mirrored prediction of the mirrored window (test-time augmentation).
    zero_root   set the predicted root to zero.
    batch_size  frames per batch; None: suitable for the device.
    """
    batch_size = batch_size or _frames_at_once(model, store, flip)
    model = model.for_prediction()
    order = torch.tensor(store.skeleton.mirror, device=dist.device())
    begin, end = share_bounds(len(frames), dist.rank(), dist.world_size())
    batches = _batches(frames[begin:end], batch_size, flip)
    # All ranks gather the same shape: that of rank 0, which has the largest share.
    poses = torch.zeros(share_bounds(len(frames), 0, dist.world_size())[1], *_pose_shape(store), device=dist.device())

    def lift(inputs: Tensor) -> Tensor:
        predicted = model(inputs).center[:, 0].float()  # [n or 2n,V,3]
        if not flip:
            return predicted
        straight, mirrored = predicted.chunk(2)
        return (straight + mirror(mirrored, order)) / 2

    if store.device.type == "cpu":
        parts = on_every_core(lambda ids: lift(store.windows(ids).inputs), batches)
    else:
        parts = (lift(batch.inputs) for batch in store.stream(batches))
    with closing(parts):
        done = 0
        for number in range(-(-len(poses) // batch_size)):  # as many as on rank 0, so that all ranks check together
            for predicted in islice(parts, 1):
                poses[done : done + len(predicted)] = predicted
                done += len(predicted)
            if number % BATCHES_BETWEEN_CHECKS == 0:
                dist.check_stop()
    if zero_root:
        poses[:, store.skeleton.root] = 0
    return _of_all_ranks(poses, len(frames))


def _batches(frames: np.ndarray, batch_size: int, flip: bool) -> Iterator[WindowIds]:
    """The windows of each batch of frames, with `flip` followed by their mirror images."""
    for begin in range(0, len(frames), batch_size):
        part = frames[begin : begin + batch_size]
        copies = 2 if flip else 1
        yield WindowIds(np.tile(part, copies), np.repeat([False, True][:copies], len(part)))


def _of_all_ranks(poses: Tensor, count: int) -> np.ndarray:
    """The poses [count,V,3] mm of all ranks, from the share of each in metres, padded to the size of rank 0's."""
    bounds = [share_bounds(count, rank, dist.world_size()) for rank in range(dist.world_size())]
    parts = zip(dist.gather(poses), bounds, strict=True)
    millimetres = torch.cat([part[: end - begin] for part, (begin, end) in parts]).double().cpu().numpy()
    millimetres *= MM_PER_METRE
    return millimetres


def _frames_at_once(model: Model, store: FrameStore, flip: bool) -> int:
    windows = cpu_batch(model) if store.device.type == "cpu" else max(LEAST_WINDOWS, GPU_FLOATS // model.map_size)
    return windows // (1 + flip)


def _pose_shape(store: FrameStore) -> tuple[int, int]:
    return store.skeleton.num_joints, 3
