"""Every reader of files, with a small valid file for it and ways to spoil that."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from unittest.mock import patch

import numpy as np
import scipy.io
import torch

from glagcn.checkpoints.exports import export_safetensors
from glagcn.checkpoints.load import load
from glagcn.data.cache import open_cache, write_cache
from glagcn.data.dataset import Source
from glagcn.data.datasets import get_dataset
from glagcn.data.mpi_inf_3dhp import facts
from glagcn.data.mpi_inf_3dhp.files import NpzPair, RawRelease
from glagcn.data.plan import EpochPlan, select_target_frames
from glagcn.data.selection import select
from glagcn.data.videopose3d.files import VideoPose3DFiles
from glagcn.data.windows import FrameStore
from glagcn.poses.keypoints.read import read_keypoints
from glagcn.skeletons import get_skeleton
from tests.checkpoints.exported_models import a_checkpoint, a_model
from tests.data import tiny_3dhp, tiny_videopose3d
from tests.faults.mutations import spoil_array, spoil_hdf5, spoil_json, spoil_value
from tests.poses.keypoints import written
from tests.poses.keypoints.test_formats import LAYOUTS
from tests.published_files import write_published

FRAMES = 5


@dataclass(frozen=True)
class Reader:
    """A reader to be fuzzed.

    write  writes what it needs into a folder; returns the file that is to be spoilt, or a folder of such files.
    spoil  spoils the file by what it holds; None: only its bytes are spoilt.
    cheap  reading takes a few milliseconds.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], object]
    spoil: Callable[[Random, Path], None] | None = None
    cheap: bool = False


def _cached(source: Source, folder: Path) -> None:
    """Preparation, and what training reads of the cache."""
    write_cache(folder / "out.h5", source)
    _use_cache(folder / "out.h5")


def _use_cache(path: Path) -> None:
    cache = open_cache(path)
    get_dataset(cache.dataset).warning(cache)
    for split in (select(cache, "train"), select(cache, "test")):
        plan = EpochPlan(select_target_frames(split), 4, "none", 0)
        FrameStore(split, get_skeleton(cache.skeleton), 3, torch.device("cpu")).windows(plan.batch(0, 0))


def _one_of_each() -> AbstractContextManager:
    """A data set of one training and one test sequence."""
    return patch.multiple(facts, TRAIN_SEQUENCES={"S1/Seq1": (10, 25)}, TEST_SEQUENCES=("TS6",))


def _release(folder: Path) -> tuple[Path, Path]:
    train, test = folder / "S1/Seq1/annot.mat", folder / "TS6/annot_data.mat"
    tiny_3dhp.write_train_mat(train, tiny_3dhp.take("S1/Seq1", FRAMES, 0))
    tiny_3dhp.write_test_mat(test, tiny_3dhp.scene("TS6", FRAMES, 0))
    return train, test


def _read_release(path: Path) -> None:
    root = next(parent for parent in path.parents if (parent / "TS6").is_dir())
    with _one_of_each():
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
    with _one_of_each():
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


def _cache(folder: Path) -> Path:
    _read_release(_release(folder)[0])
    return folder / "out.h5"


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
    return Reader(write, _read_keypoints, None if suffixed else _spoil_keypoints, cheap=True)


def _read_keypoints(path: Path) -> None:
    """Read, and check what is promised of everything that is read."""
    found = read_keypoints(path, image_size=written.SIZE)
    assert len(found.frames) == len(found.keypoints) == len(found.persons) > 0
    assert np.isfinite(found.keypoints).all()
    assert (np.diff(found.frames) >= 0).all()
    assert found.frames[0] >= 0
    assert (found.keypoints[found.keypoints[..., 2] == 0] == 0).all()
    assert (found.keypoints[..., 2] > 0).any(axis=1).all()


def _published(folder: Path) -> Path:
    write_published(folder / "96_gt_27_supervised.bin", "h36m17", 3, 4)
    return folder / "96_gt_27_supervised.bin"


def _spoil_published(rng: Random, path: Path) -> None:
    content = torch.load(path, weights_only=False)
    content["model_pos"] = spoil_value(rng, dict(content["model_pos"]), spoil_array)
    torch.save(content, path)


def _safetensors(folder: Path) -> Path:
    export_safetensors([a_checkpoint(folder / "last.pt", a_model())], folder / "model.safetensors")
    return folder / "model.safetensors"


def _read_weights(path: Path) -> None:
    loaded = load(path)
    loaded.model.eval()(torch.zeros(1, loaded.model.frames, loaded.model.skeleton.num_input_joints, 2))


READERS = {
    "annot.mat": Reader(lambda folder: _release(folder)[0], _read_release, _spoil_mat),
    "annot_data.mat": Reader(lambda folder: _release(folder)[1], _read_release, spoil_hdf5),
    "3dhp train npz": Reader(lambda folder: _npz_pair(folder)[0], _read_npz_pair, _spoil_npz),
    "3dhp test npz": Reader(lambda folder: _npz_pair(folder)[1], _read_npz_pair, _spoil_npz),
    "data_3d npz": Reader(lambda folder: _videopose3d(folder, "data_3d_h36m.npz"), _read_videopose3d, _spoil_npz),
    "data_2d npz": Reader(lambda folder: _videopose3d(folder, "data_2d_h36m_gt.npz"), _read_videopose3d, _spoil_npz),
    "cache": Reader(_cache, _use_cache),
    "checkpoint": Reader(lambda folder: a_checkpoint(folder / "last.pt", a_model()), _read_weights),
    "published .bin": Reader(_published, _read_weights, _spoil_published),
    "safetensors": Reader(_safetensors, _read_weights),
} | {f"keypoints {layout}": _layout(layout) for layout in LAYOUTS}
