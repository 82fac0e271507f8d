"""A cache: one HDF5 file per data set and 2D source, with raw values, sequence table, checksums and provenance.

    (user block)   version, size, and a checksum of the file without the arrays below
    attributes     dataset, keypoints, annotation, skeleton, joints, notes, provenance (the last three JSON)
    /train, /test
      sequences    [S] table: name, subject, camera, start, length, fps, width, height
      pixels       [F,V,2] float32
      millimetres  [F,V,3] float32, camera coordinates
      valid        [F] uint8
      activity     [F] uint8, absent if the source has no activities
      confidence   [F,V] float32 of the pixels, absent if the source marks no missing joints

V is the skeleton's number of input joints for pixels, of output joints for millimetres.  Every array is contiguous, so
that it can be memory-mapped, and has the checksum of its bytes as the attribute crc32.

libhdf5 can crash the process on damaged metadata, and Python cannot catch that.  The user block, which HDF5 skips, is
therefore checked before HDF5 opens the file.
"""

import hashlib
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from glagcn.data.dataset import SPLITS, Cache, Sequence, SequenceInfo, Source, Split, SplitName
from glagcn.errors import UserError
from glagcn.files import WRITE_ADVICE, remove_leftovers, replacement, write_errors
from glagcn.skeletons import Skeleton, get_skeleton

CACHE_VERSION = 2
MAGIC = b"glagcn cache, version "
USER_BLOCK = 1024
CONSISTENCY = slice(20, 24)  # the consistency flags in the superblock, which follows the user block
CHECKED_AT_ONCE = 1 << 20  # bytes
ARRAYS = ("pixels", "millimetres", "valid", "activity", "confidence")
IDENTITY = ("dataset", "keypoints", "annotation", "skeleton")
TABLE = np.dtype(
    [
        ("name", "S64"), ("subject", "S32"), ("camera", "<i4"), ("start", "<i8"), ("length", "<i8"),
        ("fps", "<f8"), ("width", "<i4"), ("height", "<i4"),
    ]
)  # fmt: skip


# ---- Read.


def open_cache(path: Path, verify: bool = True) -> Cache:
    """Open the cache at `path`, with its large arrays memory-mapped.

    verify  also compare the checksum of every array.
    Raises UserError if the file is missing, not a cache, truncated, damaged or of another version, or if its skeleton
    has other joints now.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; write this cache with `glagcn prepare`")
    try:
        _check_seal(path)
        with h5py.File(path, "r", locking=False) as file:
            header = {key: bytes(file.attrs[key]).decode() for key in (*IDENTITY, "joints", "notes", "provenance")}
            train, test = (_read_split(file[name], path, verify) for name in SPLITS)
            fingerprint = _fingerprint(file)
    except UserError:
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
        raise _damaged(path, f"reading failed ({type(error).__name__}: {error})") from error
    identity = {key: header[key] for key in IDENTITY}
    if json.loads(header["joints"]) != list(get_skeleton(identity["skeleton"]).joints):
        raise UserError(
            f"{path} was written with other joints of skeleton {identity['skeleton']!r}: {header['joints']}. "
            "Remove the file and prepare it again."
        )
    notes, provenance = tuple(json.loads(header["notes"])), json.loads(header["provenance"])
    return Cache(path, **identity, train=train, test=test, provenance=provenance, notes=notes, fingerprint=fingerprint)


def _damaged(path: Path, what: str) -> UserError:
    if _is_being_written(path):
        return UserError(
            f"the cache {path} is open for writing in another program, so that it cannot be read now ({what}); "
            "close it there, and give the same command again"
        )
    return UserError(
        f"the cache {path} is damaged: {what}. Remove the file; the next training or `glagcn prepare` writes it again. "
        "If this happens twice, check the disk."
    )


def _is_being_written(path: Path) -> bool:
    """Whether a program with HDF5 has the file open for writing; False where the system cannot say."""
    try:
        import fcntl  # missing on Windows

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):  # the latter on a file system without locks
        pass
    return False


def _check_seal(path: Path) -> None:
    """Raise UserError unless `path` is a cache of this version whose metadata is undamaged."""
    with path.open("rb") as file:
        block = file.read(USER_BLOCK)
    if not block.startswith(MAGIC):
        raise UserError(f"{path} is not a glagcn cache; write one with `glagcn prepare`")
    found, _, content = block[len(MAGIC) :].rstrip(b"\0").partition(b"\n")
    if found != str(CACHE_VERSION).encode():
        raise UserError(
            f"{path} is a cache of version {found.decode('ascii', 'replace')}; this program reads version "
            f"{CACHE_VERSION}. Remove the file; the next training or `glagcn prepare` writes it again."
        )
    try:
        expected = json.loads(content)
        size, checksum = expected["bytes"], expected["crc32"]
        arrays = [(int(offset), int(length)) for offset, length in expected["arrays"]]
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, f"its header is unreadable ({error})") from error
    if path.stat().st_size != size:
        what = "truncated" if path.stat().st_size < size else "longer than it was written"
        raise _damaged(path, f"it is {what}: {path.stat().st_size} bytes, expected {size}")
    if _checksum_outside(path, size, arrays) != checksum:
        raise _damaged(path, "the checksum of its metadata does not match")


def _read_split(group: h5py.Group, path: Path, verify: bool) -> Split:
    arrays = {name: group[name] for name in ARRAYS if name in group}
    for name, array in arrays.items() if verify else ():
        if _checksum(path, array) != int(array.attrs["crc32"]):
            raise _damaged(path, f"the checksum of {group.name[1:]}/{name} does not match")
    pixels, millimetres = (
        np.memmap(path, array.dtype, mode="r", offset=array.id.get_offset(), shape=array.shape)
        for array in (arrays["pixels"], arrays["millimetres"])
    )
    activity, confidence = (arrays[name][()] if name in arrays else None for name in ("activity", "confidence"))
    table = group["sequences"][()]
    infos = tuple(_info(row) for row in table)
    return Split(
        infos, table["start"].astype(np.int64), pixels, millimetres, arrays["valid"][()] != 0, activity, confidence
    )


def _info(row: np.void) -> SequenceInfo:
    values: Any = row.item()
    name, subject, camera, _, length, fps, width, height = values
    return SequenceInfo(name.decode(), subject.decode(), camera, length, fps, width, height)


def _checksum(path: Path, array: h5py.Dataset) -> int:
    """The crc32 of an array's bytes.  Reads them without a memory map, whose pages count as memory of the process."""
    checksum, left, piece = 0, array.nbytes, memoryview(bytearray(CHECKED_AT_ONCE))
    with path.open("rb", buffering=0) as file:
        file.seek(array.id.get_offset())
        while count := file.readinto(piece[:left]):
            checksum = zlib.crc32(piece[:count], checksum)
            left -= count
    return checksum


def _checksum_outside(path: Path, size: int, arrays: list[tuple[int, int]]) -> int:
    """The crc32 of all bytes but the user block and the arrays, and of the extents, so that damage to them shows.

    A program that opens the file for writing sets the consistency flags, and leaves them set if it is killed.
    """
    checksum, position = zlib.crc32(repr(arrays).encode()), USER_BLOCK
    with path.open("rb") as file:
        for offset, length in [*sorted(arrays), (size, 0)]:
            file.seek(position)
            part = bytearray(file.read(max(offset - position, 0)))
            if position == USER_BLOCK:
                part[CONSISTENCY] = bytes(len(part[CONSISTENCY]))
            checksum = zlib.crc32(part, checksum)
            position = offset + length
    return checksum


def _fingerprint(file: h5py.File) -> str:
    """Hash of the sequence tables and of the stored checksums of the arrays.  Reads no array."""
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(file[split]["sequences"][()].tobytes())
        for name in ARRAYS:
            if name in file[split]:
                digest.update(f"{split}/{name} {int(file[split][name].attrs['crc32']):08x}\n".encode())
    return digest.hexdigest()[:16]


# ---- Write.


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
        with disk, h5py.File(disk, "w", userblock_size=USER_BLOCK) as file:
            _write_splits(file, disk, source, progress)
            header = {key: getattr(source, key) for key in IDENTITY}
            header["joints"] = json.dumps(get_skeleton(source.skeleton).joints)
            header["notes"], header["provenance"] = json.dumps(source.notes), json.dumps(source.provenance())
            file.attrs.update({key: np.bytes_(text.encode()) for key, text in header.items()})
            file.flush()
            arrays = [file[split][name] for split in SPLITS for name in ARRAYS if name in file[split]]
            extents = [(int(array.id.get_offset()), int(array.nbytes)) for array in arrays]
        disk.check()
        with write_errors(path, ADVICE):
            seal(temporary, extents)


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
        while self.error is None and done < len(view):
            done += self._attempt(super().write, view[done:]) or 0
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the file's size, or store the error."""
        return self._attempt(super().truncate, size) or size or 0

    def close(self) -> None:
        """Close the file, or store the error: network file systems may report a failed write only here."""
        self._attempt(super().close)

    def _attempt(self, operation: Callable, *arguments: Any) -> Any:
        try:
            return operation(*arguments)
        except OSError as error:
            self.error = self.error or error

    def check(self) -> None:
        """Raise UserError that names the cache `path` if an operation has failed."""
        if self.error is not None:
            with write_errors(self.path, ADVICE):
                raise self.error


def _write_splits(file: h5py.File, disk: _DeferringFile, source: Source, progress: OnProgress | None) -> None:
    # Make all tables first: they are cheap, and they find a missing test set before minutes of reading.
    tables: dict[SplitName, np.ndarray] = {split: _table(split, source.infos(split)) for split in SPLITS}
    total, done = sum(int(table["length"].sum()) for table in tables.values()), 0
    some_valid = False
    for split, table in tables.items():
        group, checksums = file.create_group(split), dict[str, int]()
        for row, sequence in zip(table, source.read(split), strict=True):
            if sequence.info != _info(row):
                raise ValueError(f"the source listed {row} but read {sequence.info}")
            _append(group, checksums, sequence, row["start"], sum(table["length"]), get_skeleton(source.skeleton))
            disk.check()
            some_valid |= split == "test" and bool(sequence.valid.any())
            done += sequence.info.length
            if progress:
                progress(done, total, f"{split} {sequence.info.name}")
        for name, checksum in checksums.items():
            group[name].attrs["crc32"] = np.uint32(checksum)
        group["sequences"] = table
    if not some_valid:
        root = source.provenance().get("root", source.dataset)
        raise UserError(
            f"no test frame in {root} is valid, so there is nothing to score; check that the test set is complete"
        )


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


def _append(
    group: h5py.Group, checksums: dict[str, int], sequence: Sequence, start: int, frames: int, skeleton: Skeleton
) -> None:
    """Write the frames of a sequence into arrays of `frames` frames.  The first sequence decides which there are."""
    inputs = skeleton.num_input_joints
    shapes = {"pixels": (inputs, 2), "millimetres": (skeleton.num_joints, 3), "confidence": (inputs,)}
    arrays = {name: getattr(sequence, name) for name in ARRAYS if getattr(sequence, name) is not None}
    if checksums and arrays.keys() != checksums.keys():
        raise ValueError(f"{sequence.info.name} has the arrays {', '.join(arrays)}; other sequences have others")
    for name, array in arrays.items():
        dtype, shape = "<f4" if name in shapes else "u1", shapes.get(name, ())
        if array.shape != (sequence.info.length, *shape):
            raise ValueError(f"{name} has shape {array.shape}, expected {(sequence.info.length, *shape)}")
        if name not in group:
            group.create_dataset(name, (frames, *shape), dtype)
        values = np.ascontiguousarray(array, dtype)
        group[name][start : start + len(values)] = values
        checksums[name] = zlib.crc32(values.data, checksums.get(name, 0))


def seal(path: Path, arrays: list[tuple[int, int]]) -> None:
    """Write the user block of a closed HDF5 file that was created with a block of USER_BLOCK bytes.

    arrays  extents of the large arrays.
    """
    size = path.stat().st_size
    content = {"bytes": size, "crc32": _checksum_outside(path, size, arrays), "arrays": arrays}
    block = MAGIC + f"{CACHE_VERSION}\n{json.dumps(content)}\n".encode()
    assert len(block) <= USER_BLOCK
    with path.open("r+b") as file:
        file.write(block.ljust(USER_BLOCK, b"\0"))
