"""Every reader of files, with a small valid file for it and ways to spoil that."""

import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import scipy.io
import torch

from glagcn.data.cache.reader import CACHE_VERSION, open_cache
from glagcn.data.cache.seal import USER_BLOCK, seal
from glagcn.data.cache.writer import write_cache
from glagcn.data.datasets import get_dataset
from glagcn.data.selection import select
from glagcn.data.sequence import Sequence, SequenceInfo
from glagcn.data.sources.keypoints.read import read_keypoints
from glagcn.data.sources.mpi_inf_3dhp import npz as npz_3dhp
from glagcn.data.sources.mpi_inf_3dhp import release
from glagcn.data.sources.mpi_inf_3dhp.npz import NpzPair
from glagcn.data.sources.mpi_inf_3dhp.release import RawRelease
from glagcn.data.sources.source import Source
from glagcn.data.sources.videopose3d.files import VideoPose3DFiles
from glagcn.data.windows.plan import EpochPlan, select_centers
from glagcn.data.windows.store import FrameStore
from glagcn.rendering.keypoint_file import keypoint_recording
from glagcn.skeleton import get_skeleton
from tests.data import tiny_3dhp, tiny_videopose3d
from tests.data.sources.keypoints import written
from tests.data.sources.keypoints.test_formats import LAYOUTS
from tests.faults.mutations import spoil_array, spoil_hdf5, spoil_json, spoil_value

FRAMES = 5


@dataclass(frozen=True)
class Reader:
    """A reader to be fuzzed.

    write   writes what it needs into a folder; returns the file that is to be spoilt, or a folder of such files.
    read    reads it as the program does.
    spoil   spoils the file by what it holds; None: only its bytes are spoilt.
    begin   the first byte that may be spoilt.
    finish  done to the file after its bytes were spoilt.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], object]
    spoil: Callable[[Random, Path], None] | None = None
    begin: int = 0
    finish: Callable[[Path], None] | None = None


# ---------------------------------------------------------------- data sets


def _cached(source: Source, folder: Path) -> None:
    """Preparation, and what training reads of the cache."""
    write_cache(folder / "out.h5", source)
    _use_cache(folder / "out.h5")


def _use_cache(path: Path) -> None:
    cache = open_cache(path)
    get_dataset(cache.dataset).warning(cache)
    for split in select(cache):
        plan = EpochPlan(select_centers(split), 4, "none", 0)
        FrameStore(split, get_skeleton(cache.skeleton), 3, torch.device("cpu")).windows(plan.batch(0, 0))


def _one_of_each(module: ModuleType) -> AbstractContextManager:
    """A data set of one training and one test sequence."""
    return patch.multiple(module, TRAIN_SEQUENCES={"S1/Seq1": (10, 25)}, TEST_SEQUENCES=("TS6",))


def _release(folder: Path) -> tuple[Path, Path, Path]:
    train, test = folder / "S1/Seq1/annot.mat", folder / "TS6/annot_data.mat"
    tiny_3dhp.write_train_mat(train, tiny_3dhp.take("S1/Seq1", FRAMES, 0)[:3])
    tiny_3dhp.write_calibration(train.with_name("camera.calibration"), cameras=3)
    tiny_3dhp.write_test_mat(test, tiny_3dhp.scene("TS6", FRAMES, 0))
    return train, test, train.with_name("camera.calibration")


def _read_release(path: Path) -> None:
    root = next(parent for parent in path.parents if (parent / "TS6").is_dir())
    with _one_of_each(release):
        _cached(RawRelease(root, "univ", (0, 2)), root)


def _spoil_mat(rng: Random, path: Path) -> None:
    """Other variables; not compressed, so that bytes of the file are bytes of its content."""
    content = {key: value for key, value in scipy.io.loadmat(path).items() if not key.startswith("__")}
    key = rng.choice(list(content))
    value = content.pop(key)
    if value.dtype == object and rng.random() < 0.7:
        cell = rng.randrange(value.size)
        value.reshape(-1)[cell] = spoil_array(rng, value.reshape(-1)[cell])
        content[key] = value
    elif rng.random() < 0.8:
        content[key] = spoil_array(rng, value)
    if rng.random() < 0.3:
        content |= {"valid_frame": 1.0, "other": {"a": [1, "b"]}}
    scipy.io.savemat(path, content, do_compression=rng.random() < 0.5)


def _npz_pair(folder: Path) -> tuple[Path, Path]:
    train, test = tiny_3dhp.npz_content(FRAMES)
    paths = folder / "data_train_3dhp.npz", folder / "data_test_3dhp.npz"
    views = {key: train["S1 Seq1"][0][key] for key in ("0", "2")}
    tiny_3dhp.save_npz(paths[0], {"S1 Seq1": [views, 25]})
    tiny_3dhp.save_npz(paths[1], {"TS6": test["TS6"]})
    return paths


def _read_npz_pair(path: Path) -> None:
    with _one_of_each(npz_3dhp):
        _cached(NpzPair(path.parent, "univ", None, (0, 2)), path.parent)


def _spoil_npz(rng: Random, path: Path) -> None:
    """A value deep in the pickles of an npz, or a whole member."""
    with np.load(path, allow_pickle=True) as file:
        content = {name: file[name] for name in file.files}
    name = rng.choice(list(content))
    held = content[name]
    if held.dtype == object and held.shape == ():
        held = spoil_value(rng, held.item(), spoil_array)
        content[name] = np.empty((), object)
        content[name][()] = held
    else:
        content[name] = spoil_array(rng, held)
    if rng.random() < 0.1:
        del content[name]
    np.savez_compressed(path, **content)


def _videopose3d(folder: Path, name: str) -> Path:
    content = tiny_videopose3d.h36m_content(("gt",), FRAMES, ("Walking",), ("S1", "S9"))
    return tiny_videopose3d.save(folder, "h36m", content) / name


def _read_videopose3d(path: Path) -> None:
    _cached(VideoPose3DFiles(path.parent, "h36m", "gt"), path.parent)


# ---------------------------------------------------------------- our cache


class _TinySource:
    dataset, keypoints, annotation, skeleton, notes = "demo", "gt", "", "mpi3dhp17", ("a note",)

    def infos(self, split: str) -> list[SequenceInfo]:
        return [SequenceInfo(f"{split}{i}", f"S{i}", i, 4, 25.0, 1000, 900) for i in range(2)]

    def read(self, split: str):
        rng = np.random.default_rng(0)
        for info in self.infos(split):
            pixels = rng.normal(500, 100, (4, 17, 2)).astype(np.float32)
            millimetres = rng.normal(3000, 300, (4, 17, 3)).astype(np.float32)
            activity = rng.integers(1, 8, 4).astype(np.uint8) if split == "test" else None
            yield Sequence(info, pixels, millimetres, np.ones(4, bool), activity)

    def provenance(self) -> dict:
        return {"kind": "test", "files": []}


def _cache(folder: Path) -> Path:
    source: Any = _TinySource()
    write_cache(folder / "demo_gt.h5", source)
    return folder / "demo_gt.h5"


def _reseal(path: Path) -> None:
    seal(path, CACHE_VERSION, [])


def _spoil_cache(rng: Random, path: Path) -> None:
    spoil_hdf5(rng, path)
    if rng.random() < 0.7:
        _fit_checksums(path)
    _reseal(path)


def _fit_checksums(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        arrays = [item for split in ("train", "test") if isinstance(file.get(split), h5py.Group)
                  for name in file[split] if isinstance(item := file[split].get(name), h5py.Dataset)]  # fmt: skip
        for array in arrays:
            if "crc32" in array.attrs and array.size < 10**6 and array.shape is not None:
                array.attrs["crc32"] = np.uint32(zlib.crc32(np.ascontiguousarray(array[()]).tobytes()))


# ---------------------------------------------------------------- keypoint files


def _spoil_keypoints(rng: Random, path: Path) -> None:
    if path.suffix == ".npz":
        _spoil_npz(rng, path)
    elif path.suffix == ".npy":
        np.save(path, np.asarray(spoil_array(rng, np.load(path)), dtype=None))
    else:
        spoil_json(rng, path)


def _layout(layout: str) -> Reader:
    def write(folder: Path) -> Path:
        return getattr(written, layout)(folder, written.people(LAYOUTS[layout][1]))

    suffixed = layout.startswith(("labels", "table"))
    return Reader(write, partial(read_keypoints, image_size=written.SIZE), None if suffixed else _spoil_keypoints)


def _read_own_keypoints(path: Path) -> object:
    return keypoint_recording(path, get_skeleton("h36m17"), None, None, None, None, lambda text: None)


def _own_keypoints(folder: Path) -> Path:
    np.savez(folder / "own.npz", keypoints=written.people(17)[:, 0], image_size=[640, 480], fps=25)
    return folder / "own.npz"


DATA_READERS = {
    "annot.mat": Reader(lambda folder: _release(folder)[0], _read_release, _spoil_mat),
    "annot_data.mat": Reader(lambda folder: _release(folder)[1], _read_release, spoil_hdf5),
    "camera.calibration": Reader(lambda folder: _release(folder)[2], _read_release),
    "3dhp train npz": Reader(lambda folder: _npz_pair(folder)[0], _read_npz_pair, _spoil_npz),
    "3dhp test npz": Reader(lambda folder: _npz_pair(folder)[1], _read_npz_pair, _spoil_npz),
    "data_3d npz": Reader(lambda folder: _videopose3d(folder, "data_3d_h36m.npz"), _read_videopose3d, _spoil_npz),
    "data_2d npz": Reader(lambda folder: _videopose3d(folder, "data_2d_h36m_gt.npz"), _read_videopose3d, _spoil_npz),
    "cache": Reader(_cache, _use_cache, spoil_hdf5),
    "cache, resealed": Reader(_cache, _use_cache, _spoil_cache, USER_BLOCK, _reseal),
    "--viz-keypoints": Reader(_own_keypoints, _read_own_keypoints, _spoil_keypoints),
} | {f"keypoints {layout}": _layout(layout) for layout in LAYOUTS}
