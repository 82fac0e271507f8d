"""Windows of frames that are too many for memory: they are read from the cache, group by group of the BlockPlan."""

from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from glagcn.data.cache.reader import Split
from glagcn.data.windows.block_plan import BlockPlan
from glagcn.data.windows.camera_augmentation import ViewChange
from glagcn.data.windows.plan import WindowIds
from glagcn.data.windows.store import Batch, FrameStore
from glagcn.skeleton import Skeleton


class Group(NamedTuple):
    """A group of blocks in memory.

    first    [n] the first centre of each block, ascending.
    shifts   [n] what to add to a frame of the split to get its row in the tables, if it lies in or around the block.
    tables   pixels [R,V*2] and millimetres [R,V*3], the blocks with their context one after the other.
    """

    first: np.ndarray
    shifts: np.ndarray
    tables: tuple[Tensor, Tensor]


class GroupBuffer:
    """Memory for two groups: the one that windows are made of, and the next one, which a thread reads meanwhile.

    split   with FileRows.
    before, after  frames of context that windows reach beyond their centres.
    device  where the tables are.  For a GPU the host holds one group more, on its way there.
    """

    def __init__(self, split: Split, plan: BlockPlan, before: int, after: int, device: torch.device) -> None:
        self._plan, self._before, self._after, self._device = plan, before, after, device
        self._sources: Any = split.pixels, split.millimetres  # FileRows
        begins, ends = self._reach(plan.block_spans)
        self._rows = plan.most_blocks * int((ends - begins).max())
        self._halves = [self._room(device), self._room(device)]
        self._staging, self._side = None, None
        if device.type == "cuda":
            self._staging, self._side = self._room(torch.device("cpu"), pin_memory=True), torch.cuda.Stream(device)
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._reading: list[tuple[int, Future[Group]] | None] = [None, None]

    @property
    def nbytes(self) -> int:
        """Of all tables."""
        rooms = [*self._halves, *([self._staging] if self._staging else [])]
        return sum(table.nbytes for room in rooms for table in room)

    def use(self, group: int) -> Group:
        """The group, once it has been read.  From now on the one before it is overwritten with the one after it, so
        whatever was to be made of that must have been asked for."""
        ready = self._read(group).result()
        self._read(group + 1)
        return ready

    def _read(self, group: int) -> "Future[Group]":
        """Begin to read a group into its half of the buffer, unless that is what the half holds."""
        half = group % 2
        held = self._reading[half]
        if held is None or held[0] != group:
            # What the device still has to gather from this half comes first.
            freed = torch.cuda.current_stream(self._device).record_event() if self._side is not None else None
            held = self._reading[half] = group, self._thread.submit(self._load, group, self._halves[half], freed)
        return held[1]

    def _load(self, group: int, tables: tuple[Tensor, Tensor], freed: "torch.cuda.Event | None") -> Group:
        spans = self._plan.spans(group)
        begins, ends = self._reach(spans)
        lengths = ends - begins
        rows = int(lengths.sum())
        for source, table in zip(self._sources, self._staging or tables, strict=True):
            source.read(begins, ends, table[:rows].numpy())
        if self._staging and self._side is not None and freed is not None:
            with torch.cuda.stream(self._side):
                self._side.wait_event(freed)
                for staged, table in zip(self._staging, tables, strict=True):
                    table[:rows].copy_(staged[:rows], non_blocking=True)
            self._side.synchronize()
        return Group(spans[:, 0], np.cumsum(lengths) - lengths - begins, tables)

    def _reach(self, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The frames [begin, end) that the windows of each block need, at most: [n], [n]."""
        frames = len(self._sources[0])
        return np.maximum(spans[:, 0] - self._before, 0), np.minimum(spans[:, 1] + 1 + self._after, frames)

    def _room(self, device: torch.device, pin_memory: bool = False) -> tuple[Tensor, Tensor]:
        widths = (int(np.prod(source.shape[1:])) for source in self._sources)
        pixels, millimetres = (torch.empty(self._rows, width, device=device, pin_memory=pin_memory) for width in widths)
        return pixels, millimetres


class StreamedStore(FrameStore):
    """A FrameStore that holds two groups of blocks instead of all frames, and gives the same windows.

    split  from `select_in_file`.
    plan   whose batches, or shares of them, are asked for.  Any may be; fast is what follows its order.
    """

    def __init__(
        self,
        split: Split,
        skeleton: Skeleton,
        num_frames: int,
        device: torch.device,
        plan: BlockPlan,
        *,
        causal: bool = False,
        change: ViewChange | None = None,
    ) -> None:
        self._plan = plan
        super().__init__(split, skeleton, num_frames, device, causal=causal, change=change)

    @property
    def place(self) -> str:
        """Where the frames are, in words, with the size of the buffer."""
        return (
            f"streamed from the file, {self._plan.most_blocks} shuffled blocks of {self._plan.block_frames:,} frames "
            f"at a time, through a buffer of {self.buffer.nbytes / 1e6:.0f} MB on {self.home.type}"
        )

    def windows(self, ids: WindowIds, out: Batch | None = None) -> Batch:
        """As of a FrameStore, but `ids` must name their groups."""
        out = out or self.room(len(ids.frames))
        assert ids.groups is not None
        edges = [0, *(np.flatnonzero(np.diff(ids.groups)) + 1).tolist(), len(ids.frames)]
        for begin, end in pairwise(edges):
            if end > begin:
                self._group = self.buffer.use(int(ids.groups[begin]))
                self._pixels, self._millimetres = self._group.tables
                super().windows(ids.part(begin, end), Batch(*(part[begin:end] for part in out)))
        return Batch(*(part[: len(ids.frames)] for part in out))

    def _hold(self, split: Split) -> None:
        self.home = self.device
        self.buffer = GroupBuffer(split, self._plan, self._before, self.num_frames - 1 - self._before, self.device)

    def _shift(self, frames: np.ndarray) -> np.ndarray:
        return self._group.shifts[np.searchsorted(self._group.first, frames, side="right") - 1]
