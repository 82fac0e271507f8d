"""Windows of frames: which there are, in which order an epoch sees them, and the batches themselves.

The way from frames to a batch:

1. `select_centers` lists the frames that windows are centred on.  A window is two integers: frame and flip.
2. `EpochPlan` shuffles them by (seed, epoch) and cuts the order into global batches.  It knows nothing of processes.
3. `share` is one rank's slice of a global batch.
4. `FrameStore.windows` gathers a slice from the resident frames, normalises, centres on the root, and flips.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from glagcn.data.cache import Split
from glagcn.errors import UserError
from glagcn.skeleton import Skeleton

MM_PER_METRE = 1000.0
DEVICE_SHARE = 0.25  # of the free device memory may hold frames; the rest is for the model


class WindowIds(NamedTuple):
    """n windows: centre frames [n] int64 and whether each is mirrored [n] bool (NumPy, on the host)."""

    frames: np.ndarray
    flips: np.ndarray


class Batch(NamedTuple):
    """n windows on the device: inputs [n,T,V,2] normalised, targets [n,T,V,3] metres with the root at zero."""

    inputs: Tensor
    targets: Tensor


def select_centers(
    split: Split,
    *,
    stride: int = 1,
    subset: float = 1.0,
    cameras: tuple[int, ...] | None = None,
    subjects: tuple[str, ...] | None = None,
) -> np.ndarray:
    """Frames [W] int64 to centre training windows on: every `stride`-th of the leading `subset` of each sequence.

    Raises UserError where a camera or subject is not in the data, or nothing remains.
    """
    for flag, wanted, found in (
        ("--cameras", cameras, {info.camera for info in split.sequences}),
        ("--subjects_train", subjects, {info.subject for info in split.sequences}),
    ):
        missing = [str(w) for w in wanted or () if w not in found]
        if missing:
            raise UserError(
                f"{flag}: {', '.join(missing)} not in the data, which has {', '.join(map(str, sorted(found)))}"
            )
    pieces = [
        start + np.arange(0, int(np.ceil(info.length * subset)), stride, dtype=np.int64)
        for info, start in zip(split.sequences, split.starts, strict=True)
        if (not cameras or info.camera in cameras) and (not subjects or info.subject in subjects)
    ]
    if not pieces:
        raise UserError("--cameras and --subjects_train together leave no training sequence")
    return np.concatenate(pieces)


class EpochPlan:
    """Which windows make global batch k of an epoch: a pure function of (seed, epoch), for any number of processes.

    centers  [W] frames.
    flip     "copy": every window also mirrored, 2 W windows an epoch; "random": each mirrored or not by a draw
             per epoch; "none".
    The last batch of an epoch holds what remains.
    """

    def __init__(self, centers: np.ndarray, batch_size: int, flip: str, seed: int) -> None:
        self.centers, self.batch_size, self.flip, self.seed = centers, batch_size, flip, seed
        self.num_windows = len(centers) * (2 if flip == "copy" else 1)
        self.steps_per_epoch = -(-self.num_windows // batch_size)
        self._epoch = -1
        self._order = self._draws = np.empty(0)

    def batch(self, epoch: int, index: int) -> WindowIds:
        """Global batch `index` of `epoch`, both counted from 0."""
        if epoch != self._epoch:
            self._shuffle(epoch)
        ids = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        frames = self.centers[ids % len(self.centers)]
        return WindowIds(frames, self._draws[ids] if self.flip == "random" else ids >= len(self.centers))

    def _shuffle(self, epoch: int) -> None:
        draw = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        self._order = draw.permutation(self.num_windows)
        if self.flip == "random":
            self._draws = draw.random(self.num_windows) < 0.5
        self._epoch = epoch


def share_bounds(count: int, rank: int, world_size: int) -> tuple[int, int]:
    """The [begin, end) of `count` items that `rank` takes: contiguous, sizes differ by one at most, rank 0 never has
    fewer than another."""
    return -(-count * rank // world_size), -(-count * (rank + 1) // world_size)


def share(windows: WindowIds, rank: int, world_size: int) -> WindowIds:
    """One rank's slice of a global batch; empty where there are fewer windows than ranks."""
    begin, end = share_bounds(len(windows.frames), rank, world_size)
    return WindowIds(windows.frames[begin:end], windows.flips[begin:end])


class FrameStore:
    """The frames of a split, resident, and the windows gathered from them.

    They live in device memory when they fit in a quarter of what is free, else on the host, in pages that all
    processes of a node share (the memory map of the cache); batches then travel to the device.
    """

    def __init__(self, split: Split, skeleton: Skeleton, num_frames: int, device: torch.device) -> None:
        self.skeleton, self.num_frames, self.device = skeleton, num_frames, device
        nbytes = split.pixels.nbytes + split.millimetres.nbytes
        self.home = device if _fits(nbytes, device) else torch.device("cpu")
        lengths = np.array([info.length for info in split.sequences])
        sizes = np.array([(info.width, info.height) for info in split.sequences], dtype=np.float32)
        with torch.no_grad():
            self._pixels = torch.from_numpy(split.pixels).to(self.home).flatten(1)  # [F,V*2]
            self._millimetres = torch.from_numpy(split.millimetres).to(self.home).flatten(1)  # [F,V*3]
        self._sequence = torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)).to(self.home)  # [F]
        self._first = torch.from_numpy(np.asarray(split.starts, dtype=np.int64)).to(self.home)  # [S]
        self._last = self._first + torch.from_numpy(lengths - 1).to(self.home)
        self._sizes = torch.from_numpy(sizes).to(self.home)  # [S,2] width, height
        self._mirror = torch.tensor(skeleton.mirror, device=self.home)
        pad = num_frames // 2
        self._offsets = torch.arange(-pad, pad + 1, device=self.home)

    def windows(self, ids: WindowIds) -> Batch:
        """The windows on the device.  Beyond its ends a sequence repeats its first or last frame."""
        centers = torch.from_numpy(ids.frames).to(self.home, non_blocking=True)
        flips = torch.from_numpy(np.ascontiguousarray(ids.flips)).to(self.home, non_blocking=True)
        sequence = self._sequence[centers]
        frames = centers[:, None] + self._offsets  # [n,T]
        frames = frames.clamp(self._first[sequence, None], self._last[sequence, None])
        shape = (*frames.shape, self.skeleton.num_joints, -1)
        pixels = self._pixels.index_select(0, frames.flatten()).view(shape)
        targets = self._millimetres.index_select(0, frames.flatten()).view(shape)
        inputs = normalise(pixels, self._sizes[sequence][:, None, None])
        root = self.skeleton.root
        targets = (targets - targets[:, :, root : root + 1]) / MM_PER_METRE
        chosen = flips[:, None, None, None]
        inputs = torch.where(chosen, mirror(inputs, self._mirror), inputs)
        targets = torch.where(chosen, mirror(targets, self._mirror), targets)
        if self.home == self.device:
            return Batch(inputs, targets)
        return Batch(*(part.pin_memory().to(self.device, non_blocking=True) for part in (inputs, targets)))

    def stream(self, ids: Iterator[WindowIds]) -> Iterator[Batch]:
        """The batch of each item, the next one being made while the caller works on this one when frames are on the
        host and the caller computes on a device."""
        if self.home == self.device:
            yield from map(self.windows, ids)
        else:
            yield from _ahead(self.windows, ids)


def normalise(pixels: Tensor, size: Tensor) -> Tensor:
    """Pixels [...,2] to image coordinates: x in [-1, 1], y on the same scale (both are divided by the width).

    size  [...,2] width and height, broadcast against pixels.
    """
    scaled = pixels / size[..., :1] * 2
    return scaled - torch.cat([torch.ones_like(size[..., :1]), size[..., 1:] / size[..., :1]], dim=-1)


def mirror(poses: Tensor, order: Tensor) -> Tensor:
    """Mirror image of centred poses [...,V,2|3]: x changes sign, left and right joints swap."""
    swapped = poses.index_select(-2, order)
    return torch.cat([-swapped[..., :1], swapped[..., 1:]], dim=-1)


def mean_pose(split: Split, centers: np.ndarray, skeleton: Skeleton, most: int = 50_000) -> Tensor:
    """Mean root-relative pose [V,3] in metres of the frames `centers` (evenly thinned to `most`) and their mirrors."""
    frames = centers[:: -(-len(centers) // most)]
    poses = split.millimetres[frames].astype(np.float64)
    mean = torch.from_numpy((poses - poses[:, skeleton.root : skeleton.root + 1]).mean(axis=0)) / MM_PER_METRE
    return ((mean + mirror(mean, torch.tensor(skeleton.mirror))) / 2).float()


def _fits(nbytes: int, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return nbytes < DEVICE_SHARE * free


def _ahead(work, items: Iterator) -> Iterator:
    """map(work, items), one item ahead of the consumer."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        pending = None
        for item in items:
            upcoming = pool.submit(work, item)
            if pending is not None:
                yield pending.result()
            pending = upcoming
        if pending is not None:
            yield pending.result()
