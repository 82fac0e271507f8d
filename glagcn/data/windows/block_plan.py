"""The order of an epoch of streamed frames: blocks of frames are shuffled, then windows within groups of blocks.

What is random, and what is not: the blocks (`block_frames` consecutive frames of the split, always cut at the same
places) come in a new order every epoch; `group_blocks` of them in a row are a group, and the windows of a group come in
random order.  So a batch is drawn from one group (two where one ends), which is a new random choice of blocks every
epoch, and not from the whole data set: 256 blocks of 1,024 frames are 262,144 frames of up to 256 sequences, or more
where these are short.  A data set of no more blocks is shuffled as a whole.
"""

from functools import lru_cache

import numpy as np

from glagcn.data.windows.plan import BLOCK_ORDER, GROUP_ORDER, EpochPlan, WindowIds


class BlockPlan(EpochPlan):
    """An EpochPlan whose windows come group by group: as there a pure function of (seed, epoch, k), for any number of
    processes, with every window once in an epoch.

    centers      [W] frames, ascending.
    block_spans  [N,2] the first and the last centre of each block, frames.
    Groups are counted over all epochs: group g is the (g mod num_groups)-th of epoch g // num_groups.  Their sizes
    differ by one block at most, so that an epoch does not end with the windows of a single block.
    """

    block_frames = 1024  # 350 kB: long enough to be read at the speed of the disk
    group_blocks = 256  # at most; two groups are in memory at a time, of 90 MB each and the context of the blocks

    def __init__(
        self, centers: np.ndarray, batch_size: int, flip: str, seed: int, distort: bool = False, views: int = 0
    ) -> None:
        super().__init__(centers, batch_size, flip, seed, distort, views)
        self._copies = self.num_windows // len(centers)
        edges = np.searchsorted(centers, np.arange(0, centers[-1] + 1 + self.block_frames, self.block_frames))
        counts = np.diff(edges)
        self._begins, self._counts = edges[:-1][counts > 0], counts[counts > 0]  # [N] of each block, in `centers`
        self.block_spans = np.stack([centers[self._begins], centers[self._begins + self._counts - 1]], axis=1)
        self.num_groups = -(-len(self._counts) // self.group_blocks)
        self._group_edges = np.arange(self.num_groups + 1) * len(self._counts) // self.num_groups  # [G+1] in blocks
        # Of two: the thread that reads ahead may be in the next epoch, and a batch reaches into the next group.
        self._blocks_in_order = lru_cache(maxsize=2)(self._shuffle_blocks)
        self._windows_in_order = lru_cache(maxsize=2)(self._shuffle_group)

    def batch(self, epoch: int, index: int) -> WindowIds:
        """Global batch `index` of `epoch`, both counted from 0; its windows name their groups."""
        ids = super().batch(epoch, index)
        positions = index * self.batch_size + np.arange(len(ids.frames))
        _, starts = self._blocks_in_order(epoch)
        groups = np.searchsorted(starts, positions, side="right") - 1
        return ids._replace(groups=epoch * self.num_groups + groups)

    @property
    def most_blocks(self) -> int:
        """In a group."""
        return int(np.diff(self._group_edges).max())

    def spans(self, group: int) -> np.ndarray:
        """The `block_spans` of the blocks of a group, ascending: [n,2], n at most `most_blocks`."""
        return self.block_spans[self._blocks(*divmod(group, self.num_groups))]

    def _ids(self, epoch: int, begin: int, end: int) -> np.ndarray:
        _, starts = self._blocks_in_order(epoch)
        first, last = np.searchsorted(starts, begin, side="right") - 1, np.searchsorted(starts, end)
        return np.concatenate(
            [
                self._windows_in_order(epoch, group)[max(begin - starts[group], 0) : end - starts[group]]
                for group in range(first, last)
            ]
        )

    def _shuffle_group(self, epoch: int, group: int) -> np.ndarray:
        """The windows of a group of the epoch, in order."""
        blocks = self._blocks(epoch, group)
        centers = np.concatenate([self._begins[block] + np.arange(self._counts[block]) for block in blocks])
        windows = np.concatenate([centers + copy * len(self.centers) for copy in range(self._copies)])
        return self._draws(epoch, GROUP_ORDER, group).permutation(windows)

    def _blocks(self, epoch: int, group: int) -> np.ndarray:
        """The blocks of a group of the epoch, ascending."""
        order, _ = self._blocks_in_order(epoch)
        return np.sort(order[self._group_edges[group] : self._group_edges[group + 1]])

    def _shuffle_blocks(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of the blocks of an epoch [N], and the first window of each group and the end [G+1]."""
        order = self._draws(epoch, BLOCK_ORDER).permutation(len(self._counts))
        ends = np.cumsum(self._counts[order]) * self._copies
        return order, np.concatenate([[0], ends])[self._group_edges]
