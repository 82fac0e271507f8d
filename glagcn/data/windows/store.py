"""Windows of frames as batches on a device; which windows, and in which order, is a matter of plan.py."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from glagcn.data.cache.reader import Split
from glagcn.data.windows.camera_augmentation import ViewChange, Views, turned
from glagcn.data.windows.plan import WindowIds
from glagcn.data.windows.target_distortions import distortions
from glagcn.skeleton import Skeleton
from glagcn.widths import target_frame

MM_PER_METRE = 1000.0
PART_FRAMES = 4096  # that a CPU gathers and finishes at a time: 1.4 MB, which stay in its cache
DEVICE_SHARE = 0.25  # of the free device memory may hold frames; the rest is for the model


class Batch(NamedTuple):
    """n windows on the device: inputs [n,T,V,2] normalised, targets [n,T,V,3] metres with the root at zero."""

    inputs: Tensor
    targets: Tensor


class FrameStore:
    """The frames of a split, resident, and the windows gathered from them.

    They live in device memory when they fit in a quarter of what is free, else on the host, in pages that all
    processes of a node share (the memory map of the cache); batches then travel to the device.

    skeleton    of the data; its inputs may be other joints than its targets (a joint map).
    num_frames  T, the frames of a window.
    causal      windows end at their target frame instead of being centred on it.
    change      how far windows with draws of views are moved; finding the cameras for it takes a second.
    """

    def __init__(
        self,
        split: Split,
        skeleton: Skeleton,
        num_frames: int,
        device: torch.device,
        *,
        causal: bool = False,
        change: ViewChange | None = None,
    ) -> None:
        self.skeleton, self.num_frames, self.device = skeleton, num_frames, device
        self._before = target_frame(num_frames, causal)
        self._hold(split)
        lengths = np.array([info.length for info in split.sequences])
        self._first = np.asarray(split.starts, dtype=np.int64)  # [S]
        self._last = self._first + lengths - 1
        sizes = np.array([(info.width, info.height) for info in split.sequences], dtype=np.float32)
        self._offsets = torch.arange(num_frames, device=self.home) - self._before
        self._views = Views(change, split, skeleton, self._before) if change and change.draws else None
        self._columns, self._factors = (table.to(device) for table in _tables(sizes, skeleton))
        inputs, targets = 2 * skeleton.num_input_joints, 3 * skeleton.num_joints
        self._column_parts, self._factor_parts = (inputs, targets), (inputs, inputs, targets)
        self._root_columns = torch.arange(3, device=device).repeat(skeleton.num_joints) + 3 * skeleton.root
        self._distortions = distortions().to(device)
        self._side = torch.cuda.Stream(device) if device.type == "cuda" else None

    @property
    def place(self) -> str:
        """Where the frames are, in words."""
        return f"resident on {self.home.type}"

    def _hold(self, split: Split) -> None:
        """Put the frames where they stay: pixels [F,V*2] and millimetres [F,V*3] on `home`."""
        nbytes = split.pixels.nbytes + split.millimetres.nbytes
        self.home = self.device if fits_device(nbytes, self.device) else torch.device("cpu")
        with torch.no_grad():
            self._pixels = torch.from_numpy(split.pixels).to(self.home).flatten(1)
            self._millimetres = torch.from_numpy(split.millimetres).to(self.home).flatten(1)

    def windows(self, ids: WindowIds, out: Batch | None = None) -> Batch:
        """The windows on the device.  Beyond its ends a sequence repeats its first or last frame.

        out  `room` for as many windows or more, to be filled; None takes new memory.
        """
        count, on_cpu = len(ids.frames), self.device.type == "cpu"
        inputs, targets = (part[:count] for part in out or self.room(count))
        size = max(1, PART_FRAMES // self.num_frames if on_cpu else count)
        with one_thread() if on_cpu else nullcontext():
            numbers, views = self._numbers(ids)
            for begin in range(0, count, size):
                part = slice(begin, begin + size)
                self._fill(numbers[:, part], None if views is None else views[part], inputs[part], targets[part])
        return Batch(inputs, targets)

    def room(self, count: int) -> Batch:
        """Memory on the device for a batch of `count` windows, its content undefined."""
        shape = count, self.num_frames
        inputs = torch.empty(*shape, self.skeleton.num_input_joints, 2, device=self.device)
        return Batch(inputs, torch.empty(*shape, self.skeleton.num_joints, 3, device=self.device))

    def stream(self, ids: Iterator[WindowIds], *, reuse: bool = False) -> Iterator[Batch]:
        """The batch of each item.

        On a CUDA device a thread makes the next batch, on a stream of its own, while the caller works on this one; it
        also takes the items from `ids`.  What it raises is raised here.
        reuse  a batch may be overwritten as soon as the next one is asked for.  A system that hands out new memory page
               by page takes longer for that than the windows take.
        """
        if self._side is not None:
            yield from self._stream_ahead(ids, reuse)
            return
        room = None
        for item in ids:
            if room is None or len(room.inputs) < len(item.frames) or not reuse:
                room = self.room(len(item.frames))
            yield self.windows(item, room)

    def _stream_ahead(self, ids: Iterator[WindowIds], reuse: bool) -> Iterator[Batch]:
        side = self._side
        assert side is not None

        def current() -> torch.cuda.Stream:
            return torch.cuda.current_stream(self.device)

        # The store's tables were made on the caller's stream.  Later, the wait keeps memory of a batch that the caller
        # is done with from being taken for another while the device still reads it, however far ahead the host is.
        for batch, made in _ahead(self._make_aside, ids, lambda: side.wait_stream(current())):
            current().wait_event(made)
            if not reuse:
                for part in batch:
                    part.record_stream(current())  # the caller may keep it, and its memory was taken on the other
            yield batch

    def _make_aside(self, ids: WindowIds) -> tuple[Batch, torch.cuda.Event]:
        """The windows, made on a stream of their own, and the event that says they are there."""
        side = self._side
        assert side is not None
        with torch.cuda.stream(side):
            return self.windows(ids), side.record_event()

    def _numbers(self, ids: WindowIds) -> tuple[Tensor, Tensor | None]:
        """What is to be known of n windows, on the host, in two tables that take two copies to a device.

        [5,n] int64: rows of the target frame and of the sequence's first and last one, row of `_factors`, flip; a sixth
        row where targets are distorted: which distortion.  And the `numbers` of Views, None where nothing is moved.
        """
        sequence = np.searchsorted(self._first, ids.frames, side="right") - 1
        rows = np.stack([ids.frames, self._first[sequence], self._last[sequence]]) + self._shift(ids.frames)
        columns = [*rows, 2 * sequence + ids.flips, ids.flips, *([] if ids.distortions is None else [ids.distortions])]
        views = None if ids.views is None or self._views is None else self._views.numbers(sequence, ids.views)
        return torch.from_numpy(np.stack(columns)), views

    def _fill(self, numbers: Tensor, views: Tensor | None, inputs: Tensor, targets: Tensor) -> None:
        """Gather n windows; `normalise`, centre, `mirror` and distort them into inputs [n,T,V,2], targets [n,T,V,3].

        Joints and axes are one axis in here, of V*2 or V*3 numbers: on a CPU, rows of 34 numbers are worked on several
        times as fast as rows of 2.  A mirror image is another order of them, and a sign in what they are divided by.
        """
        there = to_device(numbers, self.device)
        pixels, millimetres = self._gather(there if self.home == self.device else numbers)
        if views is not None and self._views is not None:
            shapes = pixels.unflatten(2, (-1, 2)), millimetres.unflatten(2, (-1, 3))
            moved = self._views.move(*shapes, to_device(views, self.device))
            pixels, millimetres = (part.flatten(2) for part in moved)
        kinds, flips, *drawn = there[3:]
        input_columns, columns = self._columns.index_select(0, flips)[:, None].split(self._column_parts, dim=2)
        shifts, half_widths, units = self._factors.index_select(0, kinds)[:, None].split(self._factor_parts, dim=2)

        rows = inputs.flatten(2)
        torch.gather(pixels, 2, input_columns.expand_as(pixels), out=rows)
        torch.addcdiv(shifts, rows, half_widths, out=rows)

        rows = targets.flatten(2)
        torch.gather(millimetres, 2, columns.expand_as(millimetres), out=rows)
        rows.sub_(rows.gather(2, self._root_columns.expand_as(rows)))
        rows.div_(units)
        if drawn:
            targets.copy_(turned(targets, self._distortions.index_select(0, drawn[0])))

    def _gather(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Raw pixels [n,T,V*2] and millimetres [n,T,V*3] on the device, of windows with these `_numbers`, which must be
        where the frames are."""
        centers, first, last = numbers[:3, :, None]
        rows = (centers + self._offsets).clamp_(first, last).flatten()
        shape = len(centers), self.num_frames, -1
        if self.home == self.device:
            return self._pixels.index_select(0, rows).view(shape), self._millimetres.index_select(0, rows).view(shape)
        parts = []
        for table in (self._pixels, self._millimetres):
            pinned = torch.empty(len(rows), table.shape[1], pin_memory=True)
            torch.index_select(table, 0, rows, out=pinned)
            parts.append(to_device(pinned, self.device).view(shape))
        return parts[0], parts[1]

    def _shift(self, frames: np.ndarray) -> np.ndarray | int:  # noqa: ARG002
        """From frames [n] of the split to their rows in the tables: what to add, one number or [n]."""
        return 0


def _tables(sizes: np.ndarray, skeleton: Skeleton) -> tuple[Tensor, Tensor]:
    """What poses become windows by, as rows of numbers: V*2 of an input, V*3 of a target.

    sizes  [S,2] float32: width and height of the images of each sequence.
    -> columns [2,V*2+V*3] of plain (row 0) and mirrored (1) poses: where each number comes from; and factors
    [2*S,V*2+V*2+V*3], in row 2 s and 2 s + 1 those of sequence s: what to add to an input in the end, what to divide it
    by before, and what to divide a target by.
    """
    order, signs = _flat_mirror(skeleton.input_mirror, 2)
    target_order, target_signs = _flat_mirror(skeleton.mirror, 3)
    width, height = torch.from_numpy(sizes)[:, :, None, None].unbind(1)  # [S,1,1]
    shifts = torch.cat([-torch.ones_like(width), -height / width], dim=2).repeat(1, 1, skeleton.num_input_joints)
    units = (target_signs * MM_PER_METRE).expand(len(sizes), -1, -1)
    factors = torch.cat([shifts * signs, width / 2 * signs, units], dim=2).flatten(0, 1)
    return torch.cat([order, target_order], dim=1), factors


def _flat_mirror(order: list[int], axes: int) -> tuple[Tensor, Tensor]:
    """Of poses as rows of V*axes numbers, plain (entry 0) and mirrored (1): the order of the numbers, and their signs,
    both [2,V*axes]."""
    columns = torch.arange(len(order) * axes).view(-1, axes)
    signs = torch.ones_like(columns, dtype=torch.float32)
    mirrored = signs.clone()
    mirrored[:, 0] = -1
    both = (columns, columns[order]), (signs, mirrored)
    first, second = (torch.stack([part.flatten() for part in pair]) for pair in both)
    return first, second


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on the device, without holding the host up: to CUDA it goes by way of pinned memory."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # itself, where it is pinned; what is freed stays until it has been copied
    return tensor.to(device, non_blocking=True)


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


def fits_device(nbytes: int, device: torch.device) -> bool:
    """Whether frames of so many bytes may live in the memory of the device; a CPU's is the host's, so always."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return nbytes < DEVICE_SHARE * free


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread.  Gathering is a handful of passes of a millisecond each; where other processes hold the
    cores, waiting for the second thread at the end of every pass takes ten times as long as it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _ahead(work: Callable, items: Iterator, begin: Callable[[], None]) -> Iterator:
    """map(work, items), which a thread makes one ahead of the consumer.  `begin` is called here before each one."""
    made, end = map(work, items), object()
    with ThreadPoolExecutor(max_workers=1) as pool:
        begin()
        pending = pool.submit(next, made, end)
        while (result := pending.result()) is not end:
            begin()
            pending = pool.submit(next, made, end)
            yield result
