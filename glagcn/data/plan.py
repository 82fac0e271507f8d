"""The epoch plan: which windows form each global batch, and which of them each rank computes.

From frames to a batch:

1. `select_target_frames` lists the target frames of the windows.  A window is a frame, a flip and random draws.
2. `EpochPlan` shuffles the windows by (seed, epoch) and cuts the order into global batches, independent of world size.
3. `share` gives one rank its part of a global batch: whole micro-batches, over which BatchNorm computes its statistics.
4. `FrameStore.windows` (windows.py) gathers the frames of these windows, applies the camera augmentation, normalises,
   centres on the root, flips and distorts them.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from glagcn.data.dataset import Split
from glagcn.errors import UserError

# The target augmentation of the published runs: rotations in the image plane, each with every scale (see
# `windows.distortions`).
DEGREES, SCALES = (-5.0, 0.0, 5.0), (0.95, 1.0, 1.05)
DISTORTIONS = len(DEGREES) * len(SCALES)
# Purposes of random numbers, part of their seeds.
ORDER, FLIP, DISTORTION, CAMERA, NOISE = 0, 3, 4, 5, 6


class BatchSpec(NamedTuple):
    """n windows, as NumPy arrays on the host; a column is None if the option is off."""

    frames: np.ndarray  # [n] int64, target frames
    flips: np.ndarray  # [n] bool, whether the window is mirrored
    distortions: np.ndarray | None = None  # [n] int64, number of the target distortion (see `windows.distortions`)
    camera_draws: np.ndarray | None = None  # [n,4] float32 in [-1, 1], for CameraAugmentation
    noise_draws: np.ndarray | None = None  # [n,2] float32 in [0, 1), for DetectorNoise

    def part(self, begin: int, end: int) -> "BatchSpec":
        """The windows `begin` to `end`, end excluded."""
        columns: Any = (None if column is None else column[begin:end] for column in self)
        return BatchSpec(*columns)


def select_target_frames(
    split: Split,
    *,
    stride: int = 1,
    subset: float = 1.0,
    cameras: tuple[int, ...] | None = None,
    trained: np.ndarray | None = None,
) -> np.ndarray:
    """The target frames [W] int64 of the training windows.

    stride   take every stride-th frame.
    subset   take this leading fraction of each sequence.
    cameras  take only sequences of these cameras.
    trained  [S] bool, take only these sequences.
    Raises UserError for a camera that is not in the data, or if no sequence is left.
    """
    found = {info.camera for info in split.sequences}
    missing = [str(camera) for camera in cameras or () if camera not in found]
    if missing:
        raise UserError(
            f"invalid --cameras {','.join(missing)}: the training data has {', '.join(map(str, sorted(found)))}"
        )
    trained = np.ones(len(split.sequences), dtype=bool) if trained is None else trained
    pieces = [
        start + np.arange(0, int(np.ceil(info.length * subset)), stride, dtype=np.int64)
        for info, start, wanted in zip(split.sequences, split.starts, trained, strict=True)
        if wanted and (not cameras or info.camera in cameras)
    ]
    if not pieces:
        raise UserError("--cameras and --validation leave no sequence to train on; change one of them")
    return np.concatenate(pieces)


def windows_in_epoch(target_frames: np.ndarray, flip: str) -> int:
    """The number of windows in an epoch over `target_frames` [W]; see EpochPlan."""
    return len(target_frames) * (2 if flip == "copy" else 1)


class EpochPlan:
    """The windows of global batch k of an epoch, a pure function of (seed, epoch, k), independent of the world size.

    target_frames    [W] frames.
    flip             "copy": each window also mirrored, 2 W windows per epoch; "random": each window mirrored at random
                     in each epoch; "none".
    distort          draw a target distortion for each window and epoch (see `distortions`).
    camera_draws     how many numbers in [-1, 1] to draw for each window and epoch, for the camera augmentation.
    noise_draws      how many numbers in [0, 1) to draw for each window and epoch, for the detector noise.

    Each window is used once per epoch; the last batch of an epoch is smaller if they do not divide evenly.  The order
    of one epoch is cached: 17 MB for the 2.1 million windows of MPI-INF-3DHP.
    """

    def __init__(
        self,
        target_frames: np.ndarray,
        batch_size: int,
        flip: str,
        seed: int,
        distort: bool = False,
        camera_draws: int = 0,
        noise_draws: int = 0,
    ) -> None:
        self.target_frames, self.batch_size, self.flip, self.seed = target_frames, batch_size, flip, seed
        self.distort, self.camera_draws, self.noise_draws = distort, camera_draws, noise_draws
        self.num_windows = windows_in_epoch(target_frames, flip)
        self.steps_per_epoch = -(-self.num_windows // batch_size)
        self._order = lru_cache(maxsize=1)(lambda epoch: self._draws(epoch, ORDER).permutation(self.num_windows))

    def windows_until(self, step: int) -> int:
        """The number of windows in the first `step` steps of a run."""
        epochs, rest = divmod(step, self.steps_per_epoch)
        return epochs * self.num_windows + rest * self.batch_size

    def steps_for(self, windows: int) -> int:
        """The smallest number of steps with at least this many windows."""
        epochs, rest = divmod(windows, self.num_windows)
        return epochs * self.steps_per_epoch - (-rest // self.batch_size)

    def batch(self, epoch: int, index: int) -> BatchSpec:
        """Global batch `index` of `epoch`, both counted from 0."""
        begin = index * self.batch_size
        # Window w has target frame w mod W; windows from W on are the mirrored copies.
        windows = self._order(epoch)[begin : begin + self.batch_size]
        flips, distortions, camera_draws, noise_draws = windows >= len(self.target_frames), None, None, None
        if self.flip == "random":
            flips = self._draws(epoch, FLIP, index).integers(2, size=len(windows)) == 1
        if self.distort:
            distortions = self._draws(epoch, DISTORTION, index).integers(DISTORTIONS, size=len(windows))
        if self.camera_draws:
            shape = len(windows), self.camera_draws
            camera_draws = self._draws(epoch, CAMERA, index).uniform(-1, 1, shape).astype(np.float32)
        if self.noise_draws:
            shape = len(windows), self.noise_draws
            noise_draws = self._draws(epoch, NOISE, index).random(shape, np.float32)
        frames = self.target_frames[windows % len(self.target_frames)]
        return BatchSpec(frames, flips, distortions, camera_draws, noise_draws)

    def _draws(self, epoch: int, purpose: int, number: int = 0) -> np.random.Generator:
        """The random generator for a purpose and a batch of an epoch."""
        return np.random.default_rng((self.seed, epoch, purpose, number))


def share_bounds(count: int, rank: int, world_size: int) -> tuple[int, int]:
    """The slice [begin, end) of `count` items for `rank`.

    Slices are contiguous, their sizes differ by at most one, and rank 0 has a largest one.
    """
    return -(-count * rank // world_size), -(-count * (rank + 1) // world_size)


class Share(NamedTuple):
    """The part of a global batch that one rank computes: consecutive whole micro-batches.

    If there are fewer micro-batches than ranks and none is left for a rank, `has_windows` is False.  The rank then
    computes the first window with weight 0, so that it takes part in collective operations.
    """

    begin: int  # slice of its windows in the global batch
    end: int
    sizes: tuple[int, ...]  # of its micro-batches, windows
    first: int  # number of its first micro-batch in the global batch
    count: int  # type: ignore[assignment]  # windows in the global batch; hides tuple.count, which nothing uses
    has_windows: bool


def micro_batches(count: int, max_size: int) -> int:
    """The number of micro-batches of at most `max_size` windows in a global batch of `count` windows."""
    return -(-count // max_size)


def share(count: int, max_size: int, rank: int, world_size: int) -> Share:
    """The share of one rank in a global batch of `count` windows.

    The batch is cut into micro-batches of at most `max_size` windows, whose sizes differ by at most one.  The world
    size decides which rank computes a micro-batch, but not which windows it contains.
    """
    parts = micro_batches(count, max_size)
    edges = [share_bounds(count, part, parts)[0] for part in range(parts)] + [count]
    first, last = share_bounds(parts, rank, world_size)
    if first == last:
        return Share(0, 1, (1,), 0, count, has_windows=False)
    sizes = tuple(edges[part + 1] - edges[part] for part in range(first, last))
    return Share(edges[first], edges[last], sizes, first, count, has_windows=True)
