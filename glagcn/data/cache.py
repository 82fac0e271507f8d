"""Write a cache atomically, with one sequence in memory at a time."""

import contextlib
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import h5py
import numpy as np

from glagcn.data.dataset import Sequence, SequenceInfo, Source, SplitName
from glagcn.errors import UserError
from glagcn.files import WRITE_ADVICE, remove_leftovers, replacement, write_errors
from glagcn.skeletons import Skeleton, get_skeleton

# ---- Read HDF5 files that nobody has checked.


Kind = TypeVar("Kind", h5py.Group, h5py.Dataset)
# What h5py raises on damaged files.  MemoryError is for sizes that a damaged header claims.
ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError)


@contextlib.contextmanager
def reading(refusal: Callable[[str], UserError]) -> Iterator[None]:
    """Turn any exception that h5py raises in the block into `refusal(reason)`.  A UserError passes through."""
    try:
        yield
    except UserError:
        raise
    except ERRORS as error:
        raise refusal(f"{type(error).__name__}: {error}") from error


def member(group: h5py.Group, name: str, kind: type[Kind]) -> Kind:
    """The group or dataset `name` of a group, which lies in the same file.

    Raises LookupError if there is none, and ValueError if it is of another kind, empty, or refers to another place.
    """
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link, not an object of this file")  # noqa: TRY004
    found = group[name]
    if not isinstance(found, kind):
        raise ValueError(f"{name} is a {type(found).__name__}, not a {kind.__name__}")  # noqa: TRY004
    if isinstance(found, h5py.Dataset) and (found.shape is None or found.external or found.is_virtual):
        raise ValueError(f"{name} has no values in this file")
    return found


# ---- The header of a cache, checked before HDF5 opens the file.
#
# libhdf5 can crash the process on damaged metadata, and Python cannot catch that. A cache therefore starts with a
# user block, which HDF5 skips. The block stores the version, the file size, the extents of the large arrays, and the
# checksum of all other bytes. The arrays have their own checksums.


USER_BLOCK = 1024
MAGIC = b"glagcn cache, version "
Extent = tuple[int, int]
"""Offset and size of an array in the file, bytes."""


def seal(path: Path, version: int, arrays: list[Extent]) -> None:
    """Write the user block of a closed HDF5 file that was created with a block of USER_BLOCK bytes.

    arrays  extents of the large arrays.
    """
    size = path.stat().st_size
    content = {"bytes": size, "crc32": _checksum_outside(path, size, arrays), "arrays": arrays}
    block = MAGIC + f"{version}\n{json.dumps(content)}\n".encode()
    assert len(block) <= USER_BLOCK
    with path.open("r+b") as file:
        file.write(block.ljust(USER_BLOCK, b"\0"))


def check_seal(path: Path, version: int) -> None:
    """Raise UserError unless `path` is a cache of this version whose metadata is undamaged."""
    with path.open("rb") as file:
        block = file.read(USER_BLOCK)
    if not block.startswith(MAGIC):
        raise UserError(f"{path} is not a glagcn cache; write one with `glagcn prepare`")
    found, _, content = block[len(MAGIC) :].rstrip(b"\0").partition(b"\n")
    if found != str(version).encode():
        raise UserError(
            f"{path} is a cache of version {found.decode('ascii', 'replace')}; this program reads version {version}. "
            "Remove the file; the next training or `glagcn prepare` writes it again."
        )
    try:
        expected = json.loads(content)
        size, checksum = expected["bytes"], expected["crc32"]
        arrays = [(int(offset), int(length)) for offset, length in expected["arrays"]]
    except (ValueError, TypeError, KeyError) as error:
        raise damaged(path, f"its header is unreadable ({error})") from error
    if path.stat().st_size != size:
        raise damaged(path, f"it is truncated: {path.stat().st_size} bytes, expected {size}")
    if _checksum_outside(path, size, arrays) != checksum:
        raise damaged(path, "the checksum of its metadata does not match")


def damaged(path: Path, what: str) -> UserError:
    """The UserError for a damaged cache."""
    return UserError(
        f"the cache {path} is damaged: {what}. Remove the file; the next training or `glagcn prepare` writes it again. "
        "If this happens twice, check the disk."
    )


def _checksum_outside(path: Path, size: int, arrays: list[Extent]) -> int:
    # The checksum also covers the extents, so that damage to them is detected.
    checksum, position = zlib.crc32(repr(arrays).encode()), USER_BLOCK
    with path.open("rb") as file:
        for offset, length in [*sorted(arrays), (size, 0)]:
            file.seek(position)
            checksum = zlib.crc32(file.read(max(offset - position, 0)), checksum)
            position = offset + length
    return checksum


# ---- Read a cache: one HDF5 file per data set and 2D source, with raw values, sequence table, checksums and
# provenance.
#
# Layout (version 2); every array is contiguous so that it can be memory-mapped:
#
# (user block) version, size, and a checksum of the file without the arrays below: see seal.py / attributes: dataset,
# keypoints, annotation, skeleton, joints, notes, provenance (the last three JSON) /train, /test sequences [S] table:
# name, subject, camera, start, length, fps, width, height pixels [F,V,2] float32 millimetres [F,V,3] float32, camera
# coordinates V is the skeleton's number of input joints for pixels, of output joints for millimetres valid [F] uint8
# activity [F] uint8, absent if the source has no activities confidence [F,V] float32 of the pixels, absent if the
# source marks no missing joints the attribute crc32 of each array is the checksum of its bytes


CACHE_VERSION = 2
SPLITS: tuple[Literal["train"], Literal["test"]] = ("train", "test")
ARRAYS = ("pixels", "millimetres", "valid", "activity", "confidence")
CHECKED_AT_ONCE = 1 << 20  # bytes
TEXTS = ("dataset", "keypoints", "annotation", "skeleton", "joints", "notes", "provenance")
TABLE = np.dtype(
    [
        ("name", "S64"), ("subject", "S32"), ("camera", "<i4"), ("start", "<i8"), ("length", "<i8"),
        ("fps", "<f8"), ("width", "<i4"), ("height", "<i4"),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Split:
    """The sequences of "train" or "test", concatenated.

    sequences    the S rows of the sequence table.
    starts       [S] int64, the first frame of each sequence in the arrays below.
    pixels       [F,V,2] float32, image coordinates; V is the skeleton's number of input joints.
    millimetres  [F,V,3] float32, camera coordinates, absolute.
    valid        [F] bool: True for scored frames.
    activity     [F] uint8, 1..7 (0: none); None if the source has no activities.
    confidence   [F,V] float32 of the 2D, 0 where a place was filled in; None if all are 1.

    pixels and millimetres are read-only memory maps: the processes of a node share their pages, and the system may drop
    pages at any time, so that a cache may be larger than the memory.
    """

    sequences: tuple[SequenceInfo, ...]
    starts: np.ndarray
    pixels: np.ndarray
    millimetres: np.ndarray
    valid: np.ndarray
    activity: np.ndarray | None
    confidence: np.ndarray | None = None


@dataclass(frozen=True)
class Cache:
    """An open cache; dataset, keypoints, annotation and skeleton are e.g. "3dhp", "gt", "univ", "mpi3dhp17".

    fingerprint  hash of the sequences and frames of both splits.  Caches of the same data have the same fingerprint,
                 whatever their path and date.
    """

    path: Path
    dataset: str
    keypoints: str
    annotation: str
    skeleton: str
    train: Split
    test: Split
    provenance: dict
    notes: tuple[str, ...]
    fingerprint: str


def cache_name(dataset: str, keypoints: str, annotation: str) -> str:
    """The file name of a cache, e.g. "3dhp_gt_univ.h5", or "demo_gt.h5" if the annotation is empty."""
    return "_".join(filter(None, (dataset, keypoints, annotation))) + ".h5"


def open_cache(path: Path, verify: bool = True) -> Cache:
    """Open the cache at `path`, with its large arrays memory-mapped.

    verify  also compare the checksum of every array.
    Raises UserError if the file is missing, not a cache, truncated, damaged or of another version, or if its skeleton
    has other joints now.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; write this cache with `glagcn prepare`")
    with reading(lambda reason: damaged(path, f"reading failed ({reason})")):
        check_seal(path, CACHE_VERSION)
        with h5py.File(path, "r", locking=False) as file:
            header = _read_header(file, path)
            train, test = (_read_split(file[name], path, verify) for name in SPLITS)
            fingerprint = _fingerprint(file)
        notes, provenance = json.loads(header["notes"]), json.loads(header["provenance"])
    identity = {key: header[key] for key in ("dataset", "keypoints", "annotation", "skeleton")}
    return Cache(
        path=path, **identity, train=train, test=test, provenance=provenance, notes=tuple(notes),
        fingerprint=fingerprint,
    )  # fmt: skip


def _read_header(file: h5py.File, path: Path) -> dict[str, str]:
    header = {key: bytes(file.attrs[key]).decode() for key in TEXTS}
    try:
        joints = get_skeleton(header["skeleton"]).joints
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if json.loads(header["joints"]) != list(joints):
        raise UserError(
            f"{path} was written with other joints of skeleton {header['skeleton']!r}: {header['joints']} instead of "
            f"{', '.join(joints)}. Remove the file and prepare it again."
        )
    return header


def _fingerprint(file: h5py.File) -> str:
    """Hash of the sequence tables and of the stored checksums of the arrays.  Reads no array."""
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(file[split]["sequences"][()].tobytes())
        for name in _arrays(file[split]):
            digest.update(f"{split}/{name} {int(file[split][name].attrs['crc32']):08x}\n".encode())
    return digest.hexdigest()[:16]


def _arrays(group: h5py.Group) -> list[str]:
    return [name for name in ARRAYS if name in group]


def _read_split(group: h5py.Group, path: Path, verify: bool) -> Split:
    if verify:
        for name in _arrays(group):
            if _checksum(path, group[name]) != int(group[name].attrs["crc32"]):
                raise damaged(path, f"the checksum of {group[name].name[1:]} does not match")
    table = group["sequences"][()]
    return Split(
        tuple(_info(row) for row in table),
        table["start"].astype(np.int64),
        _map(path, group["pixels"]),
        _map(path, group["millimetres"]),
        group["valid"][()] != 0,
        group["activity"][()] if "activity" in group else None,
        group["confidence"][()] if "confidence" in group else None,
    )


def _info(row: np.void) -> SequenceInfo:
    values: Any = row.item()
    name, subject, camera, _, length, fps, width, height = values
    return SequenceInfo(name.decode(), subject.decode(), camera, length, fps, width, height)


def _map(path: Path, dataset: h5py.Dataset) -> np.memmap:
    return np.memmap(path, dataset.dtype, mode="r", offset=dataset.id.get_offset(), shape=dataset.shape)


def _checksum(path: Path, dataset: h5py.Dataset) -> int:
    """The crc32 of an array's bytes.  Reads them without a memory map, whose pages count as memory of the process."""
    checksum, left, piece = 0, dataset.nbytes, memoryview(bytearray(CHECKED_AT_ONCE))
    with path.open("rb", buffering=0) as file:
        file.seek(dataset.id.get_offset())
        while count := file.readinto(piece[:left]):
            checksum = zlib.crc32(piece[:count], checksum)
            left -= count
    return checksum


# ---- Write a cache atomically, with one sequence in memory at a time.


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
        arrays = [array for split in SPLITS for array in _arrays_writer(file[split])]
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


def _arrays_writer(group: h5py.Group) -> list[h5py.Dataset]:
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
