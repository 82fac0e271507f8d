"""Windows of frames: which there are, in which order an epoch sees them, and the batches themselves.

The way from frames to a batch:

1. `select_centers` lists the frames that windows are made for.  A window is a few integers: frame, flip, distortion.
2. `EpochPlan` shuffles them by (seed, epoch) and cuts the order into global batches.  It knows nothing of processes.
3. `share` is one rank's slice of a global batch.
4. `FrameStore.windows` gathers a slice from the resident frames, normalises, centres on the root, flips and distorts.
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
from glagcn.widths import target_frame

MM_PER_METRE = 1000.0
DISTORTION_DEGREES, DISTORTION_SCALES = (-5.0, 0.0, 5.0), (0.95, 1.0, 1.05)
DEVICE_SHARE = 0.25  # of the free device memory may hold frames; the rest is for the model


class WindowIds(NamedTuple):
    """n windows (NumPy, on the host): target frames [n] int64, whether each is mirrored [n] bool, and where targets are
    distorted, which of the distortions each has [n] int64 (see `distortions`)."""

    frames: np.ndarray
    flips: np.ndarray
    distortions: np.ndarray | None = None

    def part(self, begin: int, end: int) -> "WindowIds":
        """The windows from `begin` up to `end`."""
        return WindowIds(*(None if column is None else column[begin:end] for column in self))


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
) -> np.ndarray:
    """Frames [W] int64 to make training windows for: every `stride`-th of the leading `subset` of each sequence.

    Raises UserError where a camera is not in the data.
    """
    found = {info.camera for info in split.sequences}
    missing = [str(camera) for camera in cameras or () if camera not in found]
    if missing:
        raise UserError(
            f"--cameras: {', '.join(missing)} not in the data, which has {', '.join(map(str, sorted(found)))}"
        )
    pieces = [
        start + np.arange(0, int(np.ceil(info.length * subset)), stride, dtype=np.int64)
        for info, start in zip(split.sequences, split.starts, strict=True)
        if not cameras or info.camera in cameras
    ]
    return np.concatenate(pieces)


class EpochPlan:
    """Which windows make global batch k of an epoch: a pure function of (seed, epoch), for any number of processes.

    centers  [W] frames.
    flip     "copy": every window also mirrored, 2 W windows an epoch; "random": each mirrored or not by a draw
             per epoch; "none".
    distort  draw a distortion of the target for every window and epoch (see `distortions`).
    The last batch of an epoch holds what remains.
    """

    def __init__(self, centers: np.ndarray, batch_size: int, flip: str, seed: int, distort: bool = False) -> None:
        self.centers, self.batch_size, self.flip, self.seed = centers, batch_size, flip, seed
        self.distort = distort
        self.num_windows = len(centers) * (2 if flip == "copy" else 1)
        self.steps_per_epoch = -(-self.num_windows // batch_size)
        self._epoch = -1
        self._order = self._draws = self._distortions = np.empty(0)

    def batch(self, epoch: int, index: int) -> WindowIds:
        """Global batch `index` of `epoch`, both counted from 0."""
        if epoch != self._epoch:
            self._shuffle(epoch)
        ids = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        frames = self.centers[ids % len(self.centers)]
        flips = self._draws[ids] if self.flip == "random" else ids >= len(self.centers)
        return WindowIds(frames, flips, self._distortions[ids] if self.distort else None)

    def _shuffle(self, epoch: int) -> None:
        draw = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        self._order = draw.permutation(self.num_windows)
        if self.flip == "random":
            self._draws = draw.random(self.num_windows) < 0.5
        if self.distort:
            self._distortions = draw.integers(len(DISTORTION_DEGREES) * len(DISTORTION_SCALES), size=self.num_windows)
        self._epoch = epoch


def share_bounds(count: int, rank: int, world_size: int) -> tuple[int, int]:
    """The [begin, end) of `count` items that `rank` takes: contiguous, sizes differ by one at most, rank 0 never has
    fewer than another."""
    return -(-count * rank // world_size), -(-count * (rank + 1) // world_size)


def share(windows: WindowIds, rank: int, world_size: int) -> WindowIds:
    """One rank's slice of a global batch; empty where there are fewer windows than ranks."""
    return windows.part(*share_bounds(len(windows.frames), rank, world_size))


class FrameStore:
    """The frames of a split, resident, and the windows gathered from them.

    They live in device memory when they fit in a quarter of what is free, else on the host, in pages that all
    processes of a node share (the memory map of the cache); batches then travel to the device.

    skeleton    of the data; its inputs may be other joints than its targets (a joint map).
    num_frames  T, the frames of a window.
    causal      windows end at their target frame instead of being centred on it.
    """

    def __init__(
        self, split: Split, skeleton: Skeleton, num_frames: int, device: torch.device, *, causal: bool = False
    ) -> None:
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
        self._input_mirror = torch.tensor(skeleton.input_mirror, device=self.home)
        self._distortions = distortions().to(self.home)
        self._offsets = torch.arange(num_frames, device=self.home) - target_frame(num_frames, causal)

    def windows(self, ids: WindowIds) -> Batch:
        """The windows on the device.  Beyond its ends a sequence repeats its first or last frame."""
        centers = torch.from_numpy(ids.frames).to(self.home, non_blocking=True)
        flips = torch.from_numpy(np.ascontiguousarray(ids.flips)).to(self.home, non_blocking=True)
        sequence = self._sequence[centers]
        frames = centers[:, None] + self._offsets  # [n,T]
        frames = frames.clamp(self._first[sequence, None], self._last[sequence, None])
        pixels = self._pixels.index_select(0, frames.flatten()).view(*frames.shape, self.skeleton.num_input_joints, 2)
        targets = self._millimetres.index_select(0, frames.flatten()).view(*frames.shape, self.skeleton.num_joints, 3)
        inputs = normalise(pixels, self._sizes[sequence][:, None, None])
        root = self.skeleton.root
        targets = (targets - targets[:, :, root : root + 1]) / MM_PER_METRE
        chosen = flips[:, None, None, None]
        inputs = torch.where(chosen, mirror(inputs, self._input_mirror), inputs)
        targets = torch.where(chosen, mirror(targets, self._mirror), targets)
        if ids.distortions is not None:
            drawn = self._distortions[torch.from_numpy(ids.distortions).to(self.home)]
            targets = torch.einsum("nij,ntvj->ntvi", drawn, targets)
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


def distortions() -> Tensor:
    """[9,3,3] float32: the rotations by -5, 0 and 5 degrees about the camera's axis, each times 0.95, 1 and 1.05.

    The published training on Human3.6M and HumanEva-I applies one of them, drawn per window, to the 3D target and
    leaves the 2D input as it is.
    """
    angles = torch.deg2rad(torch.tensor(DISTORTION_DEGREES))
    zero, one = torch.zeros_like(angles), torch.ones_like(angles)
    rows = (angles.cos(), -angles.sin(), zero), (angles.sin(), angles.cos(), zero), (zero, zero, one)
    rotations = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    return (rotations[:, None] * torch.tensor(DISTORTION_SCALES)[:, None, None]).flatten(0, 1)


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
