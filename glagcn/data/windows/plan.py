"""Which windows there are, and in which order an epoch sees them.

The way from frames to a batch:

1. `select_centers` lists the frames that windows are made for.  A window is a few numbers: frame, flip, and more draws.
2. `EpochPlan` shuffles them by (seed, epoch) and cuts the order into global batches.  It knows nothing of processes.
3. `share` is one rank's slice of a global batch: whole micro-batches, over which BatchNorm takes its statistics.
4. `FrameStore.windows` (windows.py) gathers a slice from the resident frames, sees it from elsewhere, normalises it,
   centres it on the root, flips and distorts it.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from glagcn.data.cache.reader import Split
from glagcn.data.windows.target_distortions import DISTORTIONS
from glagcn.errors import UserError

ORDER, BLOCK_ORDER, GROUP_ORDER, FLIP, DISTORTION, VIEW = range(6)  # what numbers are drawn for


class WindowIds(NamedTuple):
    """n windows (NumPy, on the host): target frames [n] int64, whether each is mirrored [n] bool; where targets are
    distorted, which of the distortions each has [n] int64 (see `distortions`); where windows are seen from elsewhere,
    the draws [n,4] float32 in [-1, 1] of `Views.move`; and where frames are streamed, the group of blocks that each is
    in [n] int64 (see blocks.py)."""

    frames: np.ndarray
    flips: np.ndarray
    distortions: np.ndarray | None = None
    views: np.ndarray | None = None
    groups: np.ndarray | None = None

    def part(self, begin: int, end: int) -> "WindowIds":
        """The windows from `begin` up to `end`."""
        columns: Any = (None if column is None else column[begin:end] for column in self)
        return WindowIds(*columns)


def select_centers(
    split: Split,
    *,
    stride: int = 1,
    subset: float = 1.0,
    cameras: tuple[int, ...] | None = None,
    trained: np.ndarray | None = None,
) -> np.ndarray:
    """Frames [W] int64 to make training windows for: every `stride`-th of the leading `subset` of each sequence.

    cameras  the sequences of these only;  trained  [S] bool, of these only.
    Raises UserError where a camera is not in the data, or nothing is left.
    """
    found = {info.camera for info in split.sequences}
    missing = [str(camera) for camera in cameras or () if camera not in found]
    if missing:
        raise UserError(
            f"--cameras: {', '.join(missing)} not in the data, which has {', '.join(map(str, sorted(found)))}"
        )
    trained = np.ones(len(split.sequences), dtype=bool) if trained is None else trained
    pieces = [
        start + np.arange(0, int(np.ceil(info.length * subset)), stride, dtype=np.int64)
        for info, start, wanted in zip(split.sequences, split.starts, trained, strict=True)
        if wanted and (not cameras or info.camera in cameras)
    ]
    if not pieces:
        raise UserError("--cameras and --validation leave no sequence to train on; choose other ones")
    return np.concatenate(pieces)


def windows_in_epoch(centers: np.ndarray, flip: str) -> int:
    """How many windows `centers` [W] make; see EpochPlan."""
    return len(centers) * (2 if flip == "copy" else 1)


class EpochPlan:
    """Which windows make global batch k of an epoch: a pure function of (seed, epoch, k), for any number of processes.

    centers  [W] frames.
    flip     "copy": every window also mirrored, 2 W windows an epoch; "random": each mirrored or not by a draw
             per epoch; "none".
    distort  draw a distortion of the target for every window and epoch (see `distortions`).
    views    how many numbers between -1 and 1 to draw for every window and epoch, to see it from elsewhere.
    Every window comes once in an epoch; the last batch of an epoch holds what remains.  The order of an epoch is kept
    until another is asked for: 17 MB for the 2.1 million windows of MPI-INF-3DHP.
    """

    def __init__(
        self, centers: np.ndarray, batch_size: int, flip: str, seed: int, distort: bool = False, views: int = 0
    ) -> None:
        self.centers, self.batch_size, self.flip, self.seed = centers, batch_size, flip, seed
        self.distort, self.views = distort, views
        self.num_windows = windows_in_epoch(centers, flip)
        self.steps_per_epoch = -(-self.num_windows // batch_size)
        self._order = lru_cache(maxsize=1)(lambda epoch: self._draws(epoch, ORDER).permutation(self.num_windows))

    def windows_until(self, step: int) -> int:
        """The windows of the first `step` steps of a run."""
        epochs, rest = divmod(step, self.steps_per_epoch)
        return epochs * self.num_windows + rest * self.batch_size

    def steps_for(self, windows: int) -> int:
        """The fewest steps that see this many windows."""
        epochs, rest = divmod(windows, self.num_windows)
        return epochs * self.steps_per_epoch - (-rest // self.batch_size)

    def batch(self, epoch: int, index: int) -> WindowIds:
        """Global batch `index` of `epoch`, both counted from 0."""
        begin = index * self.batch_size
        ids = self._ids(epoch, begin, min(begin + self.batch_size, self.num_windows))
        flips, distortions, views = ids >= len(self.centers), None, None
        if self.flip == "random":
            flips = self._draws(epoch, FLIP, index).integers(2, size=len(ids)) == 1
        if self.distort:
            distortions = self._draws(epoch, DISTORTION, index).integers(DISTORTIONS, size=len(ids))
        if self.views:
            views = self._draws(epoch, VIEW, index).uniform(-1, 1, (len(ids), self.views)).astype(np.float32)
        return WindowIds(self.centers[ids % len(self.centers)], flips, distortions, views)

    def _ids(self, epoch: int, begin: int, end: int) -> np.ndarray:
        """The windows [n] that are `begin`-th to before `end`-th in the order of the epoch; window w is centre w mod W,
        and its mirrored copy from W on."""
        return self._order(epoch)[begin:end]

    def _draws(self, epoch: int, purpose: int, number: int = 0) -> np.random.Generator:
        """Random numbers of an epoch, for a purpose and a batch or group."""
        return np.random.default_rng((self.seed, epoch, purpose, number))


def share_bounds(count: int, rank: int, world_size: int) -> tuple[int, int]:
    """The [begin, end) of `count` items that `rank` takes: contiguous, sizes differ by one at most, rank 0 never has
    fewer than another."""
    return -(-count * rank // world_size), -(-count * (rank + 1) // world_size)


class Share(NamedTuple):
    """What one rank computes of a global batch: whole micro-batches, one after the other.

    begin, end  its windows in the global batch.
    sizes       of its micro-batches, in windows.
    first       the number of its first micro-batch in the global batch.
    count       windows in the global batch.
    counted     False on a rank that no micro-batch is left for: it computes the first window, to be weighted with 0,
                so that it takes part in what ranks do together.
    """

    begin: int
    end: int
    sizes: tuple[int, ...]
    first: int
    count: int  # type: ignore[assignment]  # of a tuple: nobody counts its entries
    counted: bool


def micro_batches(count: int, most: int) -> int:
    """How many micro-batches of at most `most` windows a global batch of `count` windows makes."""
    return -(-count // most)


def share(count: int, most: int, rank: int, world_size: int) -> Share:
    """One rank's share of a global batch of `count` windows.

    The batch is cut into micro-batches of at most `most` windows, whose sizes differ by one at most.  Which windows
    are in a micro-batch does not depend on how many ranks there are: only who computes it does.
    """
    parts = micro_batches(count, most)
    edges = [share_bounds(count, part, parts)[0] for part in range(parts)] + [count]
    first, last = share_bounds(parts, rank, world_size)
    if first == last:
        return Share(0, 1, (1,), 0, count, counted=False)
    sizes = tuple(edges[part + 1] - edges[part] for part in range(first, last))
    return Share(edges[first], edges[last], sizes, first, count, counted=True)
