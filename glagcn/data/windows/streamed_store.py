"""Make batches of windows from frames that do not fit in memory: read the cache group by group, as in the BlockPlan."""

from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from glagcn.data.cache.reader import Split
from glagcn.data.windows.block_plan import BlockPlan
from glagcn.data.windows.camera_augmentation import CameraRange
from glagcn.data.windows.detection_augmentation import DetectionAugmentation
from glagcn.data.windows.detection_levels import SLOWEST_FPS
from glagcn.data.windows.plan import WindowIds
from glagcn.data.windows.store import Batch, FrameStore
from glagcn.skeleton import Skeleton


class Group(NamedTuple):
    """A group of blocks in memory.

    first    [n] the first centre of each block, ascending.
    shifts   [n] offset from a frame of the split to its row in the tables, for frames of the block and its context.
    tables   pixels [R,V*2] and millimetres [R,V*3]: the blocks with their context, concatenated.
    """

    first: np.ndarray
    shifts: np.ndarray
    tables: tuple[Tensor, Tensor]


class GroupBuffer:
    """A double buffer: windows are made from one group while a thread reads the next one.

    split          a split whose arrays are FileRows.
    before, after  frames of a window before and after its target frame.
    device         device of the tables.  For a GPU there is also a staging buffer of one group on the host.
    """

    def __init__(self, split: Split, plan: BlockPlan, before: int, after: int, device: torch.device) -> None:
        self._plan, self._before, self._after, self._device = plan, before, after, device
        self._sources: Any = split.pixels, split.millimetres  # FileRows
        begins, ends = self._with_context(plan.block_spans)
        self._rows = plan.max_group_blocks * int((ends - begins).max())
        self._halves = [self._allocate(device), self._allocate(device)]
        self._staging, self._side = None, None
        if device.type == "cuda":
            self._staging, self._side = self._allocate(torch.device("cpu"), pin_memory=True), torch.cuda.Stream(device)
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._reading: list[tuple[int, Future[Group]] | None] = [None, None]

    @property
    def nbytes(self) -> int:
        """Size of all tables in bytes."""
        buffers = [*self._halves, *([self._staging] if self._staging else [])]
        return sum(table.nbytes for buffer in buffers for table in buffer)

    def use(self, group: int) -> Group:
        """Wait until the group has been read, return it, and start to read the next one.

        The next group overwrites the previous one, so all windows of that must have been requested.
        """
        ready = self._read(group).result()
        self._read(group + 1)
        return ready

    def _read(self, group: int) -> "Future[Group]":
        """Start to read a group into its half of the buffer, unless it is there already."""
        half = group % 2
        reading = self._reading[half]
        if reading is None or reading[0] != group:
            # The copy to the device waits until pending gathers from this half are done.
            freed = torch.cuda.current_stream(self._device).record_event() if self._side is not None else None
            reading = self._reading[half] = group, self._thread.submit(self._load, group, self._halves[half], freed)
        return reading[1]

    def _load(self, group: int, tables: tuple[Tensor, Tensor], freed: "torch.cuda.Event | None") -> Group:
        spans = self._plan.spans(group)
        begins, ends = self._with_context(spans)
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

    def _with_context(self, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The frames [begin, end) of each block and the context of its windows: [n], [n]."""
        frames = len(self._sources[0])
        return np.maximum(spans[:, 0] - self._before, 0), np.minimum(spans[:, 1] + 1 + self._after, frames)

    def _allocate(self, device: torch.device, pin_memory: bool = False) -> tuple[Tensor, Tensor]:
        widths = (int(np.prod(source.shape[1:])) for source in self._sources)
        pixels, millimetres = (torch.empty(self._rows, width, device=device, pin_memory=pin_memory) for width in widths)
        return pixels, millimetres


class StreamedStore(FrameStore):
    """A FrameStore that keeps two groups of blocks in memory instead of all frames, and makes the same windows.

    split  from `select_in_file`.
    plan   the plan of the batches.  Batches may be requested in any order; the order of the plan is fast.
    """

    def __init__(
        self,
        split: Split,
        skeleton: Skeleton,
        num_frames: int,
        device: torch.device,
        plan: BlockPlan,
        *,
        channels: int = 2,
        causal: bool = False,
        camera_range: CameraRange | None = None,
        detections: DetectionAugmentation | None = None,
    ) -> None:
        self._plan = plan
        super().__init__(
            split, skeleton, num_frames, device,
            channels=channels, causal=causal, camera_range=camera_range, detections=detections,
        )  # fmt: skip

    @property
    def location(self) -> str:
        """A description of where the frames are, with the size of the buffer."""
        return (
            f"streamed from the file, {self._plan.max_group_blocks} shuffled blocks of {self._plan.block_frames:,} "
            f"frames at a time, through a buffer of {self.buffer.nbytes / 1e6:.0f} MB on {self.frame_device.type}"
        )

    def windows(self, ids: WindowIds, out: Batch | None = None) -> Batch:
        """See FrameStore.windows; `ids` must have groups."""
        out = out or self.allocate(len(ids.frames))
        assert ids.groups is not None
        edges = [0, *(np.flatnonzero(np.diff(ids.groups)) + 1).tolist(), len(ids.frames)]
        for begin, end in pairwise(edges):
            if end > begin:
                self._group = self.buffer.use(int(ids.groups[begin]))
                self._pixels, self._millimetres = self._group.tables
                super().windows(ids.part(begin, end), Batch(*(part[begin:end] for part in out)))
        return Batch(*(part[: len(ids.frames)] for part in out))

    def _load(self, split: Split) -> None:
        self.frame_device = self.device
        before, after = self._before, self.num_frames - 1 - self._before
        if self._detections is not None:  # slow windows reach further; one more frame, to interpolate
            longest = max(1.0, self._fps.max() / SLOWEST_FPS)
            before, after = (int(np.ceil(reach * longest)) + 1 for reach in (before, after))
        self.buffer = GroupBuffer(split, self._plan, before, after, self.device)

    def _shift(self, frames: np.ndarray) -> np.ndarray:
        return self._group.shifts[np.searchsorted(self._group.first, frames, side="right") - 1]
