"""The cache: what is written is what is read, and every kind of damage is an error that says so."""

import hashlib
import re
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from glagcn.data.cache import CACHE_VERSION, USER_BLOCK, open_cache, seal, write_cache
from glagcn.data.dataset import Sequence, SequenceInfo, cache_name
from glagcn.errors import UserError


class TinySource:
    """Three training and two test sequences of random numbers."""

    dataset, keypoints, annotation, skeleton = "tiny", "gt", "", "mpi3dhp17"

    def __init__(self, lengths=None, joints=17, valid=("train", "test"), fail_after=None, error=KeyboardInterrupt):
        self.notes = ["made for a test"]
        self.lengths = lengths or {"train": [5, 1, 7], "test": [4, 6]}
        self.joints, self.valid, self.fail_after, self.error = joints, valid, fail_after, error

    def infos(self, split):
        return [
            SequenceInfo(f"{split}{i}", f"S{i}", i, length, 25.0 * (i + 1), 1000, 900 + i)
            for i, length in enumerate(self.lengths[split])
        ]

    def read(self, split):
        rng = np.random.default_rng([split == "test"])
        for i, info in enumerate(self.infos(split)):
            if self.fail_after == (split, i):
                raise self.error
            pixels = rng.normal(500, 100, (info.length, self.joints, 2)).astype(np.float32)
            millimetres = rng.normal(0, 100, (info.length, self.joints, 3)).astype(np.float32)
            valid = rng.random(info.length) < 0.5
            valid[0] = True
            activity = rng.integers(1, 8, info.length).astype(np.uint8) if split == "test" else None
            yield Sequence(info, pixels, millimetres, valid & (split in self.valid), activity)

    def provenance(self):
        return {"kind": "test", "files": []}


@pytest.fixture
def path(tmp_path):
    write_cache(tmp_path / "tiny_gt.h5", TinySource())
    return tmp_path / "tiny_gt.h5"


def reseal(path):
    seal(path, [])


def test_the_name_says_what_is_in_it():
    assert cache_name("3dhp", "gt", "univ") == "3dhp_gt_univ.h5"
    assert cache_name("demo", "gt", "") == "demo_gt.h5"


def test_what_is_written_is_read(path):
    source, cache = TinySource(), open_cache(path)
    assert (cache.dataset, cache.keypoints, cache.annotation, cache.skeleton) == ("tiny", "gt", "", "mpi3dhp17")
    assert cache.notes == ("made for a test",)
    assert cache.provenance == source.provenance()
    for name in ("train", "test"):
        split = getattr(cache, name)
        assert list(split.sequences) == source.infos(name)
        assert split.starts.tolist() == ([0, 5, 6] if name == "train" else [0, 4])
        assert split.starts.dtype == np.int64
        assert (split.activity is None) == (name == "train")
        for start, sequence in zip(split.starts, source.read(name), strict=True):
            frames = slice(start, start + sequence.info.length)
            np.testing.assert_array_equal(split.pixels[frames], sequence.pixels)
            np.testing.assert_array_equal(split.millimetres[frames], sequence.millimetres)
            np.testing.assert_array_equal(split.valid[frames], sequence.valid)
            if sequence.activity is not None:
                np.testing.assert_array_equal(split.activity[frames], sequence.activity)


def test_big_arrays_are_maps_that_never_change_the_file(path):
    before = path.read_bytes()
    split = open_cache(path).train
    assert isinstance(split.pixels, np.memmap)
    assert split.pixels.mode == split.millimetres.mode == "r"
    with pytest.raises(ValueError, match="read-only"):
        split.pixels[:] = 0
    assert path.read_bytes() == before


def test_the_same_data_give_the_same_bytes(path, tmp_path):
    write_cache(tmp_path / "again.h5", TinySource())
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


# ---------------------------------------------------------------- fingerprint


class ChangedSource(TinySource):
    """The same, but for one thing that `change` does to every sequence of a split."""

    def __init__(self, split, change):
        super().__init__()
        self.split, self.change = split, change

    def infos(self, split):
        return [sequence.info for sequence in self.read(split)]

    def read(self, split):
        for sequence in TinySource().read(split):
            yield self.change(sequence) if split == self.split else sequence


def shifted(name):
    def change(sequence):
        values = getattr(sequence, name).copy()
        values[-1] = ~values[-1] if values.dtype == bool else values[-1] + 1
        return replace(sequence, **{name: values})

    return change


def relabelled(**changes):
    return lambda sequence: replace(sequence, info=replace(sequence.info, **changes))


def test_the_fingerprint_is_of_tables_and_checksums(path):
    digest = hashlib.sha256()
    with h5py.File(path, "r") as file:
        for split, names in (("train", 3), ("test", 4)):
            digest.update(file[split]["sequences"][()].tobytes())
            for name in ("pixels", "millimetres", "valid", "activity")[:names]:
                digest.update(f"{split}/{name} {zlib.crc32(file[split][name][()]):08x}\n".encode())
    assert open_cache(path, verify=False).fingerprint == digest.hexdigest()[:16]


def test_the_fingerprint_is_not_of_the_file(path, tmp_path):
    source = TinySource()
    source.notes, source.provenance = ["read elsewhere"], lambda: {"kind": "other", "files": ["x"]}
    write_cache(tmp_path / "far/away.h5", source)
    shutil.copy(path, tmp_path / "copy.h5")
    paths = path, tmp_path / "far/away.h5", tmp_path / "copy.h5"
    assert len({open_cache(each).fingerprint for each in paths}) == 1


def test_the_fingerprint_differs_with_anything_that_the_data_say(path, tmp_path):
    found = [open_cache(path).fingerprint]
    changes = [
        ("test", shifted("activity")),
        ("test", shifted("valid")),
        ("train", relabelled(fps=7.0)),
        ("test", relabelled(subject="S9")),
    ]
    changes += [(split, shifted(name)) for split in ("train", "test") for name in ("pixels", "millimetres")]
    for split, change in changes:
        write_cache(tmp_path / "changed.h5", ChangedSource(split, change))
        found.append(open_cache(tmp_path / "changed.h5").fingerprint)
    assert len(set(found)) == len(found) == 9


def test_progress_counts_the_frames_of_both_splits(tmp_path):
    calls = []
    write_cache(tmp_path / "a.h5", TinySource(), lambda done, total, name: calls.append((done, total, name.split()[0])))
    assert calls == [(5, 23, "train"), (6, 23, "train"), (13, 23, "train"), (17, 23, "test"), (23, 23, "test")]


@pytest.mark.parametrize("fail_after", [("train", 0), ("train", 2), ("test", 1)])
def test_nothing_stays_when_it_is_interrupted(tmp_path, fail_after):
    with pytest.raises(KeyboardInterrupt):
        write_cache(tmp_path / "a.h5", TinySource(fail_after=fail_after))
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_the_cache_of_before(path):
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_cache(path, TinySource(lengths={"train": [9], "test": [9]}, fail_after=("test", 0)))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("empty", ["train", "test"])
def test_an_empty_split_is_refused(tmp_path, empty):
    lengths = {"train": [3], "test": [3]} | {empty: []}
    with pytest.raises(UserError, match=f"the {empty} split has no frames"):
        write_cache(tmp_path / "a.h5", TinySource(lengths))
    assert list(tmp_path.iterdir()) == []


def test_a_test_split_without_valid_frames_is_refused(tmp_path):
    with pytest.raises(UserError, match="no test frame is valid"):
        write_cache(tmp_path / "a.h5", TinySource(valid=["train"]))
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_names_the_flags(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/a\.h5.*--cache_dir.*--out"):
        write_cache(tmp_path / "file" / "a.h5", TinySource())


def test_a_source_of_other_joints_is_our_bug(tmp_path):
    with pytest.raises(ValueError, match="expected"):
        write_cache(tmp_path / "a.h5", TinySource(joints=16))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="does not exist; write this cache"):
        open_cache(tmp_path / "a.h5")


def test_a_file_that_is_not_hdf5(path):
    path.write_text("hello")
    with pytest.raises(UserError, match="is not a glagcn cache"):
        open_cache(path)


def test_another_hdf5_file(path):
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(UserError, match="is not a glagcn cache"):
        open_cache(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match="is truncated: .* bytes, expected" if share > 0.1 else "is damaged"):
        open_cache(path, verify=False)


def test_another_version_says_both(path):
    found, wanted = (f"version {version}\n".encode() for version in (CACHE_VERSION, CACHE_VERSION + 1))
    path.write_bytes(path.read_bytes().replace(found, wanted, 1))
    with pytest.raises(UserError, match=f"version {CACHE_VERSION + 1}; this program reads version {CACHE_VERSION}"):
        open_cache(path)


@pytest.mark.parametrize("name", ["pixels", "millimetres", "valid", "activity"])
def test_one_changed_bit_in_an_array(path, name, monkeypatch):
    monkeypatch.setattr("glagcn.data.cache.CHECKED_AT_ONCE", 7)  # so that it is not in the first piece
    with h5py.File(path, "r") as file:
        dataset = file["test"][name]
        position = dataset.id.get_offset() + dataset.nbytes // 2
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"checksum of test/{name} does not match"):
        open_cache(path)


def test_checksums_are_not_compared_when_not_asked(path):
    with h5py.File(path, "r+") as file:
        file["train/pixels"][0, 0, 0] = 1
    reseal(path)
    assert open_cache(path, verify=False).train.pixels[0, 0, 0] == 1
    with pytest.raises(UserError, match="checksum of train/pixels"):
        open_cache(path)


def test_changed_metadata(path):
    with h5py.File(path, "r+") as file:
        file.attrs["skeleton"] = "h36m17"
    with pytest.raises(UserError, match=r"truncated|checksum of its metadata"):
        open_cache(path)


def test_the_table_of_sequences_is_checksummed(path):
    content = path.read_bytes()
    assert content.count(b"train1") == 1
    path.write_bytes(content.replace(b"train1", b"train2"))
    with pytest.raises(UserError, match="checksum of its metadata"):
        open_cache(path)


def test_another_skeleton(tmp_path):
    source = TinySource(joints=15)
    source.skeleton = "humaneva15"
    write_cache(tmp_path / "a.h5", source)
    assert open_cache(tmp_path / "a.h5").train.pixels.shape == (13, 15, 2)
    source.skeleton = "mpi3dhp17"  # with arrays of 15 joints: as if written with another definition
    with pytest.raises(ValueError, match="expected"):
        write_cache(tmp_path / "b.h5", source)


def test_the_joints_of_a_skeleton_changed(path, monkeypatch):
    from glagcn import skeletons as skeleton

    other = skeleton.SKELETONS["h36m17"]
    monkeypatch.setitem(skeleton.SKELETONS, "mpi3dhp17", other)
    with pytest.raises(UserError, match="joints of skeleton 'mpi3dhp17'"):
        open_cache(path)


def test_damage_anywhere_is_an_error(path):
    """Any byte changed, the metadata of HDF5 and the first block included, where libhdf5 itself may crash."""
    original, damaged = path.read_bytes(), path.with_name("damaged.h5")
    used = len(original.split(b"\0", 1)[0])
    rng = np.random.default_rng(0)
    positions = [*range(0, used, 7), *(p for p in rng.integers(0, len(original), 400) if not used <= p < USER_BLOCK)]
    for position in positions:
        content = bytearray(original)
        content[position] ^= int(rng.integers(1, 256))
        damaged.write_bytes(content)
        with pytest.raises(UserError):
            open_cache(damaged)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from glagcn.data.cache import write_cache
from glagcn.errors import UserError
from tests.data.cache.test_cache import TinySource

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing beyond the limit is an error, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    write_cache(Path(sys.argv[1]), TinySource({"train": [3000] * 3, "test": [3000]}))
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("most_bytes", [3_000, 100_000, 4_000_000])
def test_a_full_disk_is_one_message_and_leaves_nothing(tmp_path, most_bytes):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "a.h5"), str(most_bytes)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3], check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(
        r"cannot write .*/a\.h5: File too large; give a writable folder with enough space, with --cache_dir .* --out "
        r".*\n",
        ended.stdout,
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError("the disk of the source"), RuntimeError("a bug of the source")])
def test_what_the_source_raises_passes_through(tmp_path, error):
    with pytest.raises(type(error), match="of the source") as caught:
        write_cache(tmp_path / "a.h5", TinySource(fail_after=("test", 0), error=error))
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


def test_two_processes_of_the_same_number_write_different_files(tmp_path, monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: 7)
    seen = []

    def look(*_):
        seen.append({entry.name for entry in tmp_path.iterdir()} - {"a.h5"})

    for _ in range(2):
        write_cache(tmp_path / "a.h5", TinySource(), look)
    assert all(name.startswith(".") and name.endswith(".tmp") for names in seen for name in names)
    assert len(set.union(*seen)) == 2
