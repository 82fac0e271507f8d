"""One HDF5 file per data set and 2D source: raw values, their table of sequences, checksums, and where they came from.

Layout (version 1), with every array contiguous so that it can be mapped into memory:

    (user block)        version, size, and a checksum of everything but the arrays below: see seal.py
    /                   attributes: dataset, keypoints, annotation, skeleton, joints, notes, provenance (the last
                        three JSON)
    /train, /test
      sequences         [S] table: name, subject, camera, start, length, fps, width, height
      pixels            [F,V,2] float32        millimetres   [F,V,3] float32, camera coordinates
      valid             [F] uint8              activity      [F] uint8, left out where the source has none
                        each of the arrays with the attribute crc32, the checksum of its bytes
"""

import contextlib
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from glagcn.data.seal import USER_BLOCK, check_seal, damaged, seal
from glagcn.data.sequence import SequenceInfo
from glagcn.data.sources import Source
from glagcn.errors import UserError
from glagcn.skeleton import get_skeleton

CACHE_VERSION = 1
SPLITS = ("train", "test")
TEXTS = ("dataset", "keypoints", "annotation", "skeleton", "joints", "notes", "provenance")
TABLE = np.dtype(
    [
        ("name", "S64"), ("subject", "S32"), ("camera", "<i4"), ("start", "<i8"), ("length", "<i8"),
        ("fps", "<f8"), ("width", "<i4"), ("height", "<i4"),
    ]
)  # fmt: skip

Progress = Callable[[str, SequenceInfo, int, int], None]
"""Called after each sequence with (split, its row, frames written so far, frames of both splits)."""


@dataclass(frozen=True)
class Split:
    """The sequences of "train" or "test", one after the other.

    sequences    S rows of the table.
    starts       [S] int64, the first frame of each sequence in the arrays below.
    pixels       [F,V,2] float32, image coordinates.  Like millimetres a copy-on-write map of the file: processes
                 of one node share its pages, and writing to it changes nothing but this process.
    millimetres  [F,V,3] float32, camera coordinates, absolute.
    valid        [F] bool: frames that are scored.
    activity     [F] uint8, 1..7 (0: none), or None where the source has no such table.
    """

    sequences: tuple[SequenceInfo, ...]
    starts: np.ndarray
    pixels: np.ndarray
    millimetres: np.ndarray
    valid: np.ndarray
    activity: np.ndarray | None


@dataclass(frozen=True)
class Cache:
    """An open cache; dataset, keypoints, annotation and skeleton are e.g. "3dhp", "gt", "univ", "mpi3dhp17"."""

    path: Path
    dataset: str
    keypoints: str
    annotation: str
    skeleton: str
    train: Split
    test: Split
    provenance: dict
    notes: tuple[str, ...]


def cache_name(dataset: str, keypoints: str, annotation: str) -> str:
    """The file name of a cache, e.g. "3dhp_gt_univ.h5"; an empty annotation is left out: "demo_gt.h5"."""
    return "_".join(filter(None, (dataset, keypoints, annotation))) + ".h5"


def write_cache(path: Path, source: Source, progress: Progress | None = None) -> None:
    """Write all of `source` to `path`, one sequence in memory at a time.

    The file appears only when it is complete: it is written beside its place, flushed to disk and renamed, and
    removed on any error.  Raises UserError when a split is empty, the test split has no valid frame, or the file
    cannot be written; and whatever the source raises.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # No locks here and below: network file systems may lack them, and only complete files get the final name.
        with h5py.File(temporary, "w", userblock_size=USER_BLOCK, locking=False) as file:
            _write_splits(file, source, progress)
            _write_header(file, source)
            file.flush()
            arrays = [
                (int(array.id.get_offset()), int(array.nbytes)) for split in SPLITS for array in _arrays(file[split])
            ]
        seal(temporary, CACHE_VERSION, arrays)
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise UserError(
            f"cannot write the cache {path}: {error}. Is the folder writable, and is there room? "
            "Choose another place with --cache_dir (training) or --out (glagcn prepare)."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def open_cache(path: Path, verify: bool = True) -> Cache:
    """Open the cache at `path`, the big arrays mapped, not read.  `verify` compares the checksum of every array.

    Raises UserError when it is not there, not HDF5, truncated, damaged, of another version, or when skeleton,
    shapes and table do not fit each other.
    """
    try:
        check_seal(path, CACHE_VERSION)
        with h5py.File(path, "r", locking=False) as file:
            header = _read_header(file, path)
            train, test = (_read_split(file, path, name, header["skeleton"], verify) for name in SPLITS)
    except FileNotFoundError as error:
        raise UserError(f"there is no cache {path}; write it with `glagcn prepare`") from error
    except OSError as error:
        raise damaged(path, f"it cannot be read ({error})") from error
    notes, provenance = tuple(json.loads(header["notes"])), json.loads(header["provenance"])
    identity = {key: header[key] for key in ("dataset", "keypoints", "annotation", "skeleton")}
    return Cache(path=path, **identity, train=train, test=test, provenance=provenance, notes=notes)


def _write_splits(file: h5py.File, source: Source, progress: Progress | None) -> None:
    joints = get_skeleton(source.skeleton).num_joints
    # All tables first: they are cheap, and a missing test set should not be found after minutes of reading.
    tables = {split: _table(split, source.infos(split)) for split in SPLITS}
    total, done = sum(int(table["length"].sum()) for table in tables.values()), 0
    for split, table in tables.items():
        group = file.create_group(split)
        writer = _SplitWriter(group, int(table["length"].sum()), joints)
        for row, sequence in zip(table, source.read(split), strict=True):
            if (sequence.info.name.encode(), sequence.info.length) != (bytes(row["name"]), row["length"]):
                raise ValueError(f"the source announced {row} and then read {sequence.info}")
            writer.append("pixels", sequence.pixels)
            writer.append("millimetres", sequence.millimetres)
            writer.append("valid", sequence.valid.astype(np.uint8))
            if sequence.activity is not None:
                writer.append("activity", sequence.activity)
            done += sequence.info.length
            if progress:
                progress(split, sequence.info, done, total)
        writer.finish()
        group["sequences"] = table
    if not file["test/valid"][()].any():
        raise UserError("no test frame is valid, so nothing could be scored; is the test set complete?")


def _table(split: str, infos: list[SequenceInfo]) -> np.ndarray:
    lengths = np.array([info.length for info in infos], dtype=np.int64)
    if lengths.sum() == 0:
        raise UserError(f"the {split} split has no frames; nothing was written")
    if len({info.name for info in infos}) != len(infos) or lengths.min() < 1:
        raise ValueError(f"names must be unique and lengths positive: {infos}")
    starts = np.cumsum(lengths) - lengths
    rows = [
        (info.name, info.subject, info.camera, start, info.length, info.fps, info.width, info.height)
        for info, start in zip(infos, starts, strict=True)
    ]
    return np.array(rows, dtype=TABLE)


def _arrays(group: h5py.Group) -> list[h5py.Dataset]:
    return [group[name] for name in ("pixels", "millimetres", "valid", "activity") if name in group]


class _SplitWriter:
    """Appends sequences to the arrays of one split, checksumming what it writes."""

    def __init__(self, group: h5py.Group, frames: int, joints: int) -> None:
        self.group, self.frames = group, frames
        self.kinds = {
            "pixels": ("<f4", (joints, 2)),
            "millimetres": ("<f4", (joints, 3)),
            "valid": ("u1", ()),
            "activity": ("u1", ()),
        }
        self.written: dict[str, int] = {}
        self.checksums: dict[str, int] = {}

    def append(self, name: str, values: np.ndarray) -> None:
        dtype, tail = self.kinds[name]
        if values.shape[1:] != tail:
            raise ValueError(f"{name} has shape {values.shape}, expected (frames, *{tail})")
        if name not in self.group:
            self.group.create_dataset(name, (self.frames, *tail), dtype)
        values = np.ascontiguousarray(values, dtype)
        start = self.written.get(name, 0)
        self.group[name][start : start + len(values)] = values
        self.written[name] = start + len(values)
        self.checksums[name] = zlib.crc32(values, self.checksums.get(name, 0))

    def finish(self) -> None:
        for name, frames in self.written.items():
            if frames != self.frames:
                raise ValueError(f"{name} was given for {frames} of {self.frames} frames")
            self.group[name].attrs["crc32"] = np.uint32(self.checksums[name])


def _write_header(file: h5py.File, source: Source) -> None:
    file.attrs.update({key: getattr(source, key) for key in TEXTS[:4]})
    file.attrs["joints"] = json.dumps(get_skeleton(source.skeleton).joints)
    file.attrs["notes"], file.attrs["provenance"] = json.dumps(source.notes), json.dumps(source.provenance())


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_header(file: h5py.File, path: Path) -> dict[str, str]:
    header = {key: str(file.attrs[key]) for key in TEXTS}
    joints = get_skeleton(header["skeleton"]).joints
    if tuple(json.loads(header["joints"])) != joints:
        raise UserError(
            f"{path}: the joints of skeleton {header['skeleton']!r} are {header['joints']}; "
            f"expected {', '.join(joints)}. Remove it and prepare it again."
        )
    return header


def _read_split(file: h5py.File, path: Path, name: str, skeleton: str, verify: bool) -> Split:
    group, joints = file[name], get_skeleton(skeleton).num_joints
    table = group["sequences"][()]
    frames = int(table["length"].sum())
    arrays = {
        "pixels": _map(path, group["pixels"], "<f4", (frames, joints, 2)),
        "millimetres": _map(path, group["millimetres"], "<f4", (frames, joints, 3)),
        "valid": np.array(_map(path, group["valid"], "u1", (frames,))),
    }
    if "activity" in group:
        arrays["activity"] = np.array(_map(path, group["activity"], "u1", (frames,)))
    if verify:
        for key, values in arrays.items():
            if zlib.crc32(values) != int(group[key].attrs["crc32"]):
                raise damaged(path, f"the checksum of {name}/{key} does not fit")
    activity = arrays.get("activity")
    sequences = tuple(_info(row) for row in table)
    return Split(
        sequences,
        table["start"].astype(np.int64),
        arrays["pixels"],
        arrays["millimetres"],
        arrays["valid"] != 0,
        activity,
    )


def _info(row: np.void) -> SequenceInfo:
    name, subject, camera, _, length, fps, width, height = row.item()
    return SequenceInfo(name.decode(), subject.decode(), camera, length, fps, width, height)


def _map(path: Path, dataset: h5py.Dataset, dtype: str, shape: tuple[int, ...]) -> np.memmap:
    offset = dataset.id.get_offset()
    if dataset.shape != shape or dataset.dtype != np.dtype(dtype) or offset is None:
        found = f"{dataset.dtype} {dataset.shape}" + ("" if offset is not None else ", not contiguous")
        raise damaged(path, f"{dataset.name} is {found}; expected contiguous {np.dtype(dtype)} {shape}")
    return np.memmap(path, dtype, mode="c", offset=offset, shape=shape)
