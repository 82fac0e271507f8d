"""The epoch plan for streamed frames: shuffle blocks of frames, then shuffle windows within groups of blocks.

A block is `block_frames` consecutive frames of the split; block boundaries never change.  Each epoch shuffles the
blocks.  `group_blocks` consecutive blocks of that order form a group, and the windows of a group are shuffled.  A batch
therefore comes from one group (two at the end of a group), not from the whole data set.  A group of 256 blocks of 1,024
frames has 262,144 frames, usually of up to 256 sequences.  A data set of at most `group_blocks` blocks is shuffled as a
whole.
"""

from functools import lru_cache

import numpy as np

from glagcn.data.windows.plan import BLOCK_ORDER, GROUP_ORDER, EpochPlan, WindowIds


class BlockPlan(EpochPlan):
    """An EpochPlan whose windows are ordered group by group.  Like EpochPlan, it is a pure function of (seed, epoch, k)
    and visits every window once per epoch.

    centers      [W] frames, ascending.
    block_spans  [N,2] frames: the first and the last centre of each block.
    Groups are numbered over all epochs: group g is group g mod num_groups of epoch g // num_groups.  Group sizes differ
    by at most one block, so that the last group of an epoch is not small.
    """

    block_frames = 1024  # 350 kB: enough to read at the full speed of the disk
    group_blocks = 256  # at most; two groups are in memory at a time, 90 MB each plus the context of their blocks

    def __init__(
        self,
        centers: np.ndarray,
        batch_size: int,
        flip: str,
        seed: int,
        distort: bool = False,
        camera_draws: int = 0,
        detection_draws: int = 0,
    ) -> None:
        super().__init__(centers, batch_size, flip, seed, distort, camera_draws, detection_draws)
        self._copies = self.num_windows // len(centers)
        edges = np.searchsorted(centers, np.arange(0, centers[-1] + 1 + self.block_frames, self.block_frames))
        counts = np.diff(edges)
        self._begins, self._counts = edges[:-1][counts > 0], counts[counts > 0]  # [N] each block's slice of `centers`
        self.block_spans = np.stack([centers[self._begins], centers[self._begins + self._counts - 1]], axis=1)
        self.num_groups = -(-len(self._counts) // self.group_blocks)
        self._group_edges = np.arange(self.num_groups + 1) * len(self._counts) // self.num_groups  # [G+1] blocks
        # Keep two: the reading thread may be in the next epoch, and a batch may continue in the next group.
        self._blocks_in_order = lru_cache(maxsize=2)(self._shuffle_blocks)
        self._windows_in_order = lru_cache(maxsize=2)(self._shuffle_group)

    def batch(self, epoch: int, index: int) -> WindowIds:
        """Global batch `index` of `epoch`, both counted from 0, with the groups of its windows."""
        ids = super().batch(epoch, index)
        positions = index * self.batch_size + np.arange(len(ids.frames))
        _, starts = self._blocks_in_order(epoch)
        groups = np.searchsorted(starts, positions, side="right") - 1
        return ids._replace(groups=epoch * self.num_groups + groups)

    @property
    def max_group_blocks(self) -> int:
        """Blocks in the largest group."""
        return int(np.diff(self._group_edges).max())

    def spans(self, group: int) -> np.ndarray:
        """The `block_spans` of the blocks of a group, ascending: [n,2], n at most `max_group_blocks`."""
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
        """The windows of a group of the epoch, in their random order."""
        blocks = self._blocks(epoch, group)
        centers = np.concatenate([self._begins[block] + np.arange(self._counts[block]) for block in blocks])
        windows = np.concatenate([centers + copy * len(self.centers) for copy in range(self._copies)])
        return self._draws(epoch, GROUP_ORDER, group).permutation(windows)

    def _blocks(self, epoch: int, group: int) -> np.ndarray:
        """The blocks of a group of the epoch, ascending."""
        order, _ = self._blocks_in_order(epoch)
        return np.sort(order[self._group_edges[group] : self._group_edges[group + 1]])

    def _shuffle_blocks(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of the blocks of an epoch [N], and the positions [G+1] of the groups' first windows and the end."""
        order = self._draws(epoch, BLOCK_ORDER).permutation(len(self._counts))
        ends = np.cumsum(self._counts[order]) * self._copies
        return order, np.concatenate([[0], ends])[self._group_edges]
