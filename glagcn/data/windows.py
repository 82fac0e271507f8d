"""Batches of windows on a device: the frames that plan.py chose, gathered, normalised, mirrored and root-centred."""

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from glagcn.data.camera_augmentation import CameraAugmentation, CameraRange, rotated
from glagcn.data.dataset import Split
from glagcn.data.detector_noise import DetectorNoise
from glagcn.data.lenses import Lenses
from glagcn.data.plan import DEGREES, SCALES, BatchSpec
from glagcn.model.cores import one_thread
from glagcn.model.widths import target_frame
from glagcn.poses.normalise import MM_PER_METRE, mirror
from glagcn.poses.ray import HISTORY, Rays, normalised_lens, turned
from glagcn.skeletons import Skeleton

PART_FRAMES = 4096  # frames that a CPU processes at a time: 1.4 MB, which fit in its cache
DEVICE_SHARE = 0.25  # largest fraction of the free device memory for frames; the rest is for the model


class Batch(NamedTuple):
    """n windows on the device: inputs [n,T,V,C] normalised, targets [n,T,V,3] metres with the root at zero.

    rotations  [n,3,3] from the camera's axes to those of the target frames, where windows are in the ray frame; else
               None.
    """

    inputs: Tensor
    targets: Tensor
    rotations: Tensor | None = None

    def part(self, rows: slice | Tensor) -> "Batch":
        """Some of the windows: a view for a slice."""
        return Batch(self.inputs[rows], self.targets[rows], None if self.rotations is None else self.rotations[rows])


class _HostTables(NamedTuple):
    """What the host knows of n windows, in few tensors so that few copies bring it to a device.

    rows     [5,n] int64: rows of the target frame, the sequence's first frame and its last frame; row of `_factors`;
             flip.  With target distortions a sixth row has their numbers.
    cameras  CameraAugmentation.parameters; None without camera augmentation.
    noise    DetectorNoise.parameters; None without detector noise.
    """

    rows: Tensor
    cameras: Tensor | None
    noise: Tensor | None

    def part(self, part: slice) -> "_HostTables":
        cameras, noise = (None if table is None else table[part] for table in self[1:])
        return _HostTables(self.rows[:, part], cameras, noise)

    def to(self, device: torch.device) -> "_HostTables":
        tables: Any = (None if table is None else _to_device(table, device) for table in self)
        return _HostTables(*tables)


class FrameStore:
    """The frames of a split, and the windows gathered from them.

    The frames are in device memory if they fit in a quarter of its free part.  Otherwise they stay in the memory map of
    the cache, which may be larger than the host's memory: the processes of a node share its pages, and the system drops
    pages when it needs the memory.  Batches are then gathered on the host and copied to the device.

    skeleton      joint set of the data; with a joint map, inputs and targets have different joints.
    num_frames    T, the frames of a window.
    channels      C of the inputs: 2, or 3 with a confidence, which is 1 if the split has none.
    causal        windows end at their target frame instead of being centred on it.
    camera_range  ranges of the camera augmentation; None: off.  Fitting the cameras takes about a second.
    noise         makes detections of the 2D, at other frame rates than the sequences'; None: off.
    lenses        the lenses of the sequences, for windows in the ray frame (poses.ray); None: in the camera's axes.
    """

    _confidence: Tensor | None = None  # [F,V]

    def __init__(
        self,
        split: Split,
        skeleton: Skeleton,
        num_frames: int,
        device: torch.device,
        *,
        channels: int = 2,
        causal: bool = False,
        camera_range: CameraRange | None = None,
        noise: DetectorNoise | None = None,
        lenses: Lenses | None = None,
    ) -> None:
        self.skeleton, self.num_frames, self.device, self.channels = skeleton, num_frames, device, channels
        self._target = target_frame(num_frames, causal)
        self._fps = np.array([info.fps for info in split.sequences])
        self._noise = noise
        self._load(split)
        lengths = np.array([info.length for info in split.sequences])
        self._starts = np.asarray(split.starts, dtype=np.int64)  # [S]
        self._ends = self._starts + lengths - 1
        sizes = np.array([(info.width, info.height) for info in split.sequences], dtype=np.float32)
        self.lenses, self._rays = lenses, None if lenses is None else Rays(skeleton, device)
        self._offsets = self._offsets_of(num_frames)
        self._augmentation = None
        if camera_range and camera_range.num_draws:
            centre = len(self._offsets) - num_frames + self._target
            self._augmentation = CameraAugmentation(camera_range, split, skeleton, centre)
        if lenses is not None:
            plain = normalised_lens(sizes, lenses.values)
            mirrored = plain * torch.tensor([1, 1, -1, 1])
            self._lenses = torch.stack([plain, mirrored], dim=1).flatten(0, 1).to(device)  # rows as those of _factors
        self._columns, self._factors = (table.to(device) for table in _pose_tables(sizes, skeleton))
        inputs, targets = 2 * skeleton.num_input_joints, 3 * skeleton.num_joints
        self._column_parts, self._factor_parts = (inputs, targets), (inputs, inputs, targets)
        self._root_columns = torch.arange(3, device=device).repeat(skeleton.num_joints) + 3 * skeleton.root
        self._distortions = distortions().to(device)
        self._side_stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @property
    def location(self) -> str:
        """A description of where the frames are, for the summary."""
        return f"resident on {self.frame_device.type}"

    def _load(self, split: Split) -> None:
        """Set `frame_device` and load pixels [F,V*2], millimetres [F,V*3] and confidences [F,V] there."""
        nbytes = split.pixels.nbytes + split.millimetres.nbytes
        self.frame_device = self.device if fits_device(nbytes, self.device) else torch.device("cpu")
        with torch.no_grad():
            self._pixels = _view(split.pixels).to(self.frame_device).flatten(1)
            self._millimetres = _view(split.millimetres).to(self.frame_device).flatten(1)
            if split.confidence is not None and self.channels == 3:
                self._confidence = torch.from_numpy(split.confidence).to(self.frame_device)

    def windows(self, spec: BatchSpec, out: Batch | None = None) -> Batch:
        """The windows on the device.  Beyond the ends of a sequence, its first or last frame is repeated.

        out  a batch from `allocate` for at least this many windows, to be overwritten; None: allocate one.
        """
        count, on_cpu = len(spec.frames), self.device.type == "cpu"
        batch = (out or self.allocate(count)).part(slice(count))
        size = max(1, PART_FRAMES // len(self._offsets) if on_cpu else count)
        with one_thread() if on_cpu else nullcontext():
            tables = self._host_tables(spec)
            for begin in range(0, count, size):
                part = slice(begin, begin + size)
                self._fill(tables.part(part), batch.part(part), self._offsets)
        return batch

    def sequence_of(self, frames: np.ndarray) -> np.ndarray:
        """The numbers [n] of the sequences that have frames [n]."""
        return np.searchsorted(self._starts, frames, side="right") - 1

    def stretch(self, first: int, last: int) -> tuple[Tensor, Tensor | None]:
        """Inputs [n-1+T,V,C] that all windows cover whose target frames are `first` to `last`, and rotations [n,3,3].

        The n frames are of one sequence.  All is as in the batch of these windows.
        """
        more = last - first
        offsets = self._offsets_of(self.num_frames + more)
        batch = self.allocate(1, more)
        with one_thread() if self.device.type == "cpu" else nullcontext():
            self._fill(self._host_tables(BatchSpec(np.array([first]), np.zeros(1, bool))), batch, offsets)
        return batch.inputs[0], None if batch.rotations is None else batch.rotations.view(-1, 3, 3)

    def _offsets_of(self, frames: int) -> Tensor:
        """Where `frames` frames that a model reads are, and those before them, from the first target frame."""
        earlier = 0 if self._rays is None else HISTORY - 1  # that the ray frame needs
        return torch.arange(-earlier, frames, device=self.frame_device) - self._target

    def allocate(self, count: int, more: int = 0) -> Batch:
        """An uninitialised batch of `count` windows on the device, or of stretches with `more` target frames."""
        shape = count, self.num_frames + more
        inputs = torch.empty(*shape, self.skeleton.num_input_joints, self.channels, device=self.device)
        targets = torch.empty(*shape, self.skeleton.num_joints, 3, device=self.device)
        turns = (count, 1 + more, 3, 3) if more else (count, 3, 3)
        return Batch(inputs, targets, None if self._rays is None else torch.empty(turns, device=self.device))

    def stream(self, specs: Iterator[BatchSpec], *, reuse: bool = False) -> Iterator[Batch]:
        """Yield the batch of each item of `specs`.

        On CUDA, a thread takes the items and prepares one batch ahead, on its own CUDA stream.  Its exceptions are
        raised here.

        reuse  a batch may be overwritten when the next one is requested.  This is faster on a CPU, where allocating the
               memory can take longer than filling it.
        """
        if self._side_stream is not None:
            yield from self._stream_ahead(self._side_stream, specs, reuse)
            return
        batch = None
        for spec in specs:
            if batch is None or len(batch.inputs) < len(spec.frames) or not reuse:
                batch = self.allocate(len(spec.frames))
            yield self.windows(spec, batch)

    def _stream_ahead(self, side: torch.cuda.Stream, specs: Iterator[BatchSpec], reuse: bool) -> Iterator[Batch]:
        def current() -> torch.cuda.Stream:
            return torch.cuda.current_stream(self.device)

        def make(spec: BatchSpec) -> tuple[Batch, torch.cuda.Event]:
            with torch.cuda.stream(side):
                return self.windows(spec), side.record_event()

        # The first wait is for the store's tables, made on the caller's stream.  Later waits keep the memory of a batch
        # from being reused while the device still reads it, even if the host runs ahead.
        for batch, ready in _ahead(make, specs, lambda: side.wait_stream(current())):
            current().wait_event(ready)
            if not reuse:
                for part in filter(torch.is_tensor, batch):
                    part.record_stream(current())  # allocated on the side stream, used on the caller's
            yield batch

    def _host_tables(self, spec: BatchSpec) -> _HostTables:
        sequence = self.sequence_of(spec.frames)
        rows = [spec.frames, self._starts[sequence], self._ends[sequence], 2 * sequence + spec.flips, spec.flips]
        if spec.distortions is not None:
            rows.append(spec.distortions)
        cameras, noise = None, None
        if spec.camera_draws is not None and self._augmentation is not None:
            cameras = self._augmentation.parameters(sequence, spec.camera_draws)
        if spec.noise_draws is not None and self._noise is not None:
            noise = self._noise.parameters(self._fps[sequence], spec.noise_draws)
        return _HostTables(torch.from_numpy(np.stack(rows)), cameras, noise)

    def _fill(self, tables: _HostTables, batch: Batch, offsets: Tensor) -> None:
        """Gather n windows, the frames at `offsets`; `normalise`, centre, `mirror`, distort and turn them into `batch`.

        Joints and coordinates are one axis of V*2 or V*3 numbers here: a CPU processes rows of 34 numbers several times
        faster than rows of 2.  Mirroring permutes the numbers and changes the signs of their divisors.
        """
        on_device = tables.to(self.device)
        local = on_device if self.frame_device == self.device else tables
        pixels, millimetres = self._gather(local.rows, local.noise, offsets)
        if on_device.cameras is not None and self._augmentation is not None:
            windows = pixels.unflatten(2, (-1, 2)), millimetres.unflatten(2, (-1, 3))
            augmented = self._augmentation.apply(*windows, on_device.cameras)
            pixels, millimetres = (part.flatten(2) for part in augmented)
        factor_rows, flips, *drawn = on_device.rows[3:]
        input_columns, columns = self._columns.index_select(0, flips)[:, None].split(self._column_parts, dim=2)
        factors = self._factors.index_select(0, factor_rows)[:, None]
        shifts, half_widths, units = factors.split(self._factor_parts, dim=2)

        inputs, targets = batch.inputs, batch.targets
        if self._rays is not None:  # with the frames before the window
            frames = pixels.shape[1]
            inputs, targets = (part.new_empty(len(part), frames, *part.shape[2:]) for part in (inputs, targets))
        exact = self.channels == 2 and on_device.noise is None
        rows = inputs.flatten(2) if exact else torch.empty_like(pixels)
        torch.gather(pixels, 2, input_columns.expand_as(pixels), out=rows)
        torch.addcdiv(shifts, rows, half_widths, out=rows)
        if not exact:
            numbers = _window_rows(local.rows, offsets)
            self._finish_inputs(rows.unflatten(2, (-1, 2)), on_device.noise, numbers, input_columns, inputs)

        rows = targets.flatten(2)
        torch.gather(millimetres, 2, columns.expand_as(millimetres), out=rows)
        rows.sub_(rows.gather(2, self._root_columns.expand_as(rows)))
        rows.div_(units)
        if drawn:
            targets.copy_(rotated(targets, self._distortions.index_select(0, drawn[0])))
        if self._rays is not None:
            self._turn(inputs, targets, self._lenses.index_select(0, factor_rows), batch)

    def _turn(self, inputs: Tensor, targets: Tensor, lenses: Tensor, batch: Batch) -> None:
        """Write windows to `batch`, each frame in its ray frame.

        inputs, targets  [n,HISTORY-1+T,V,*] in the camera's axes: the windows and the HISTORY - 1 frames before them.
        lenses           [n,4] from `normalised_lens`.
        """
        assert self._rays is not None
        assert batch.rotations is not None
        poses, rotations = self._rays(inputs, lenses)
        batch.inputs.copy_(poses)
        batch.targets.copy_(turned(targets[:, HISTORY - 1 :], rotations))
        last = len(batch.inputs[0]) - self.num_frames + self._target  # the last target frame of a stretch
        batch.rotations.copy_(rotations[:, self._target : last + 1].reshape(batch.rotations.shape))

    def _finish_inputs(
        self, poses: Tensor, noise: Tensor | None, frames: Tensor, input_columns: Tensor, inputs: Tensor
    ) -> None:
        """Write normalised 2D [n,T,V,2] and its confidences to inputs [n,T,V,C], with detector noise if given."""
        if noise is not None and self._noise is not None:
            starts, rates, _ = noise.unbind(1)
            inputs.copy_(self._noise.apply(poses, starts.long(), rates)[..., : self.channels])
            return
        inputs[..., :2], inputs[..., 2] = poses, 1
        if self._confidence is not None:
            (confidence,) = self._rows(frames, self._confidence)
            joints = input_columns[..., ::2] // 2
            torch.gather(confidence, 2, joints.expand_as(confidence), out=inputs[..., 2])

    def _gather(self, index: Tensor, noise: Tensor | None, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Raw pixels [n,T,V*2] and millimetres [n,T,V*3] on the device; the arguments must be on `frame_device`.

        With detector noise, windows have other frame rates, and frames are interpolated between those of the sequence.
        """
        if noise is None:
            pixels, millimetres = self._rows(_window_rows(index, offsets), self._pixels, self._millimetres)
            return pixels, millimetres
        places = offsets * noise[:, 2:]  # [n,T] frames of the sequence from the target frame
        before = places.floor()
        share = (places - before)[..., None]
        if self.frame_device != self.device:
            share = _to_device(share, self.device)
        early, late = (
            self._rows(_window_rows(index, before.long() + step), self._pixels, self._millimetres) for step in (0, 1)
        )
        return torch.lerp(early[0], late[0], share), torch.lerp(early[1], late[1], share)

    def _rows(self, rows: Tensor, *tables: Tensor) -> list[Tensor]:
        """The rows [n,T] of tables [F,K] as [n,T,K] on the device."""
        parts = []
        for table in tables:
            if self.frame_device == self.device:
                part = table.index_select(0, rows.flatten())
            else:
                pinned = torch.empty(rows.numel(), table.shape[1], pin_memory=True)
                part = _to_device(torch.index_select(table, 0, rows.flatten(), out=pinned), self.device)
            parts.append(part.view(*rows.shape, -1))
        return parts


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a host tensor to the device without blocking the host, through pinned memory for CUDA."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # no copy if already pinned; the allocator keeps it until the copy is done
    return tensor.to(device, non_blocking=True)


def _pose_tables(sizes: np.ndarray, skeleton: Skeleton) -> tuple[Tensor, Tensor]:
    """Lookup tables that normalise and mirror poses, given as rows of V*2 input and V*3 target numbers.

    sizes  [S,2] float32: image width and height of each sequence.
    Returns columns [2,V*2+V*3], the source of each number in plain (row 0) and mirrored (row 1) poses, and factors
    [2*S,V*2+V*2+V*3], with plain and mirrored factors of sequence s in rows 2 s and 2 s + 1: the shifts of inputs, the
    divisors of inputs (applied first), and the divisors of targets.
    """
    order, signs = _flat_mirror(skeleton.input_mirror, 2)
    target_order, target_signs = _flat_mirror(skeleton.mirror, 3)
    width, height = torch.from_numpy(sizes)[:, :, None, None].unbind(1)  # [S,1,1]
    shifts = torch.cat([-torch.ones_like(width), -height / width], dim=2).repeat(1, 1, skeleton.num_input_joints)
    units = (target_signs * MM_PER_METRE).expand(len(sizes), -1, -1)
    factors = torch.cat([shifts * signs, width / 2 * signs, units], dim=2).flatten(0, 1)
    return torch.cat([order, target_order], dim=1), factors


def _flat_mirror(order: list[int], axes: int) -> tuple[Tensor, Tensor]:
    """Order and signs, both [2,V*axes], of the numbers of plain (row 0) and mirrored (row 1) poses."""
    columns = torch.arange(len(order) * axes).view(-1, axes)
    signs = torch.ones_like(columns, dtype=torch.float32)
    mirrored = signs.clone()
    mirrored[:, 0] = -1
    both = (columns, columns[order]), (signs, mirrored)
    first, second = (torch.stack([part.flatten() for part in pair]) for pair in both)
    return first, second


def distortions() -> Tensor:
    """[9,3,3] float32: rotations by -5, 0 and 5 degrees about the optical axis, each scaled by 0.95, 1 and 1.05.

    The published training on Human3.6M and HumanEva-I applies a random one to the 3D target of each window and does not
    change the 2D input.
    """
    angles = torch.deg2rad(torch.tensor(DEGREES))
    zero, one = torch.zeros_like(angles), torch.ones_like(angles)
    rows = (angles.cos(), -angles.sin(), zero), (angles.sin(), angles.cos(), zero), (zero, zero, one)
    rotations = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    return (rotations[:, None] * torch.tensor(SCALES)[:, None, None]).flatten(0, 1)


def _window_rows(index: Tensor, offsets: Tensor) -> Tensor:
    """The rows [n,T] of the frames at offsets [T] or [n,T] from the target frames, within their sequences."""
    targets, first, last = index[:3, :, None]
    return (targets + offsets).clamp_(first, last)


def _view(array: np.ndarray) -> Tensor:
    """A tensor that shares the memory of an array, of which nothing is written: it may be a read-only memory map."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def fits_device(nbytes: int, device: torch.device) -> bool:
    """Whether frames of this size are kept in device memory; always True for a CPU."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return nbytes < DEVICE_SHARE * free


def _ahead(work: Callable, items: Iterator, begin: Callable[[], None]) -> Iterator:
    """map(work, items), computed by a thread one item ahead.  `begin` is called in this thread before each item."""
    results, end = map(work, items), object()
    with ThreadPoolExecutor(max_workers=1) as pool:
        begin()
        pending = pool.submit(next, results, end)
        while (result := pending.result()) is not end:
            begin()
            pending = pool.submit(next, results, end)
            yield result


def mean_pose(split: Split, target_frames: np.ndarray, skeleton: Skeleton, max_frames: int = 50_000) -> Tensor:
    """The mean root-relative pose [V,3] in metres of the frames `target_frames` and their mirror images.

    max_frames  use at most this many frames, evenly spaced.
    """
    frames = target_frames[:: -(-len(target_frames) // max_frames)]
    poses = split.millimetres[frames].astype(np.float64)
    mean = torch.from_numpy((poses - poses[:, skeleton.root : skeleton.root + 1]).mean(axis=0)) / MM_PER_METRE
    return ((mean + mirror(mean, torch.tensor(skeleton.mirror))) / 2).float()
