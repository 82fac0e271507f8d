"""Read a cache: one HDF5 file per data set and 2D source, with raw values, sequence table, checksums and provenance.

Layout (version 2); every array is contiguous so that it can be memory-mapped:

    (user block)        version, size, and a checksum of the file without the arrays below: see seal.py
    /                   attributes: dataset, keypoints, annotation, skeleton, joints, notes, provenance (the last
                        three JSON)
    /train, /test
      sequences         [S] table: name, subject, camera, start, length, fps, width, height
      pixels            [F,V,2] float32        millimetres   [F,V,3] float32, camera coordinates
                        V is the skeleton's number of input joints for pixels, of output joints for millimetres
      valid             [F] uint8              activity      [F] uint8, absent if the source has no activities
      confidence        [F,V] float32 of the pixels, absent if the source marks no missing joints
                        the attribute crc32 of each array is the checksum of its bytes
"""

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from glagcn.data.cache.seal import check_seal, damaged
from glagcn.data.hdf5 import reading
from glagcn.data.sequence import SequenceInfo
from glagcn.errors import UserError
from glagcn.skeleton import get_skeleton

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
