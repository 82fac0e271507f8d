"""Write a cache atomically, with one sequence in memory at a time."""

import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from glagcn.data.cache.reader import ARRAYS, CACHE_VERSION, SPLITS, TABLE, TEXTS
from glagcn.data.cache.seal import USER_BLOCK, seal
from glagcn.data.sequence import Sequence, SequenceInfo
from glagcn.data.sources.source import Source, SplitName
from glagcn.errors import UserError
from glagcn.files import WRITE_ADVICE, remove_leftovers, replacement, write_errors
from glagcn.skeleton import Skeleton, get_skeleton

ADVICE = f"{WRITE_ADVICE}, with --cache_dir (training) or --out (glagcn prepare)"
OnProgress = Callable[[int, int, str], None]
"""Called after each sequence with the frames written so far, the total frames, and the split and sequence."""


def write_cache(path: Path, source: Source, progress: OnProgress | None = None) -> None:
    """Write all sequences of `source` to `path`, with one sequence in memory at a time.

    The file is written under a temporary name, flushed and renamed, and removed on any error.  What a killed process
    left of an earlier attempt is removed too.
    Raises UserError if a split is empty, the test split has no valid frame, or the file cannot be written; errors of
    the source pass through.
    """
    remove_leftovers(path)
    with replacement(path, ADVICE) as temporary:
        with write_errors(path, ADVICE):
            disk = _DeferringFile(temporary, path)
        with disk:
            arrays = _write_file(disk, source, progress)
        disk.check()
        with write_errors(path, ADVICE):
            seal(temporary, CACHE_VERSION, arrays)


class _DeferringFile(io.FileIO):
    """The file that h5py writes to.  A failed write is stored and raised by `check`; h5py sees a successful one.

    On a full disk, libhdf5 reports the error thousands of times and crashes at exit.
    """

    def __init__(self, temporary: Path, path: Path) -> None:
        super().__init__(temporary, "w+")
        self.path = path
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        """Write all of `content`, or store the error; returns the length in both cases."""
        view = memoryview(content)
        done = 0
        try:
            while self.error is None and done < len(view):
                done += super().write(view[done:])
        except OSError as error:
            self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the file's size, or store the error."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def close(self) -> None:
        """Close the file, or store the error."""
        try:
            super().close()
        except OSError as error:  # network file systems may report a failed write only here
            self.error = self.error or error

    def check(self) -> None:
        """Raise UserError that names the cache `path` if an operation has failed."""
        if self.error is not None:
            with write_errors(self.path, ADVICE):
                raise self.error


def _write_file(disk: _DeferringFile, source: Source, progress: OnProgress | None) -> list[tuple[int, int]]:
    """Write the HDF5 file; returns the extents (offset, bytes) of its arrays."""
    with h5py.File(disk, "w", userblock_size=USER_BLOCK) as file:
        _write_splits(file, disk, source, progress)
        _write_header(file, source)
        file.flush()
        arrays = [array for split in SPLITS for array in _arrays(file[split])]
        extents = [(int(array.id.get_offset()), int(array.nbytes)) for array in arrays]
    return extents


def _write_splits(file: h5py.File, disk: _DeferringFile, source: Source, progress: OnProgress | None) -> None:
    skeleton = get_skeleton(source.skeleton)
    # Make all tables first: they are cheap, and they find a missing test set before minutes of reading.
    tables: dict[SplitName, np.ndarray] = {split: _table(split, source.infos(split)) for split in SPLITS}
    total, done = sum(int(table["length"].sum()) for table in tables.values()), 0
    some_valid = False
    for split, table in tables.items():
        group = file.create_group(split)
        writer = _SplitWriter(group, int(table["length"].sum()), skeleton)
        for row, sequence in zip(table, source.read(split), strict=True):
            if (sequence.info.name.encode(), sequence.info.length) != (bytes(row["name"]), row["length"]):
                raise ValueError(f"the source listed {row} but read {sequence.info}")
            writer.append_all(sequence)
            disk.check()
            some_valid |= split == "test" and bool(sequence.valid.any())
            done += sequence.info.length
            if progress:
                progress(done, total, f"{split} {sequence.info.name}")
        writer.finish()
        group["sequences"] = table
    if not some_valid:
        raise UserError("no test frame is valid, so there is nothing to score; check that the test set is complete")


def _table(split: str, infos: list[SequenceInfo]) -> np.ndarray:
    lengths = np.array([info.length for info in infos], dtype=np.int64)
    if lengths.sum() == 0:
        raise UserError(f"the {split} split has no frames; the cache was not written")
    if len({info.name for info in infos}) != len(infos) or lengths.min() < 1:
        raise ValueError(f"names must be unique and lengths positive: {infos}")
    starts = np.cumsum(lengths) - lengths
    rows = [
        (info.name, info.subject, info.camera, start, info.length, info.fps, info.width, info.height)
        for info, start in zip(infos, starts, strict=True)
    ]
    return np.array(rows, dtype=TABLE)


def _arrays(group: h5py.Group) -> list[h5py.Dataset]:
    return [group[name] for name in ARRAYS if name in group]


class _SplitWriter:
    """Appends sequences to the arrays of one split and computes their checksums."""

    def __init__(self, group: h5py.Group, frames: int, skeleton: Skeleton) -> None:
        self.group, self.frames = group, frames
        self.kinds = {
            "pixels": ("<f4", (skeleton.num_input_joints, 2)),
            "millimetres": ("<f4", (skeleton.num_joints, 3)),
            "valid": ("u1", ()),
            "activity": ("u1", ()),
            "confidence": ("<f4", (skeleton.num_input_joints,)),
        }
        self.written: dict[str, int] = {}
        self.checksums: dict[str, int] = {}

    def append_all(self, sequence: Sequence) -> None:
        self.append("pixels", sequence.pixels)
        self.append("millimetres", sequence.millimetres)
        self.append("valid", sequence.valid.astype(np.uint8))
        if sequence.activity is not None:
            self.append("activity", sequence.activity)
        if sequence.confidence is not None:
            self.append("confidence", sequence.confidence)

    def append(self, name: str, values: np.ndarray) -> None:
        """Write the next frames of the array `name` and update its checksum.  The first call creates the array."""
        dtype, tail = self.kinds[name]
        if values.shape[1:] != tail:
            raise ValueError(f"{name} has shape {values.shape}, expected (frames, *{tail})")
        if name not in self.group:
            self.group.create_dataset(name, (self.frames, *tail), dtype)
        values = np.ascontiguousarray(values, dtype)
        start = self.written.get(name, 0)
        self.group[name][start : start + len(values)] = values
        self.written[name] = start + len(values)
        self.checksums[name] = zlib.crc32(values.data, self.checksums.get(name, 0))

    def finish(self) -> None:
        for name, frames in self.written.items():
            if frames != self.frames:
                raise ValueError(f"{name} has {frames} of {self.frames} frames")
            self.group[name].attrs["crc32"] = np.uint32(self.checksums[name])


def _write_header(file: h5py.File, source: Source) -> None:
    texts = {key: getattr(source, key) for key in TEXTS[:4]}
    texts["joints"] = json.dumps(get_skeleton(source.skeleton).joints)
    texts["notes"], texts["provenance"] = json.dumps(source.notes), json.dumps(source.provenance())
    file.attrs.update({key: np.bytes_(text.encode()) for key, text in texts.items()})
