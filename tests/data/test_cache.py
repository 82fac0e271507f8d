"""The cache: what is written is what is read, and every kind of damage is an error that says so."""

import hashlib
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from glagcn.data.cache import USER_BLOCK, open_cache, seal, write_cache
from glagcn.data.dataset import Sequence, SequenceInfo
from glagcn.errors import UserError
from glagcn.skeletons import SKELETONS


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
        return {"kind": "test", "root": "/data/tiny", "files": []}


@pytest.fixture
def path(tmp_path):
    write_cache(tmp_path / "tiny_gt.h5", TinySource())
    return tmp_path / "tiny_gt.h5"


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


def test_the_same_data_give_the_same_bytes_and_progress_counts_the_frames_of_both_splits(path, tmp_path):
    calls = []
    again = tmp_path / "again.h5"
    write_cache(again, TinySource(), lambda done, total, name: calls.append((done, total, name.split()[0])))
    assert again.read_bytes() == path.read_bytes()
    assert calls == [(5, 23, "train"), (6, 23, "train"), (13, 23, "train"), (17, 23, "test"), (23, 23, "test")]


def test_big_arrays_are_maps_that_never_change_the_file(path):
    before = path.read_bytes()
    split = open_cache(path).train
    assert isinstance(split.pixels, np.memmap)
    assert split.pixels.mode == split.millimetres.mode == "r"
    with pytest.raises(ValueError, match="read-only"):
        split.pixels[:] = 0
    assert path.read_bytes() == before


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


def test_the_fingerprint_is_of_tables_and_checksums(path):
    digest = hashlib.sha256()
    with h5py.File(path, "r") as file:
        for split, names in (("train", 3), ("test", 4)):
            digest.update(file[split]["sequences"][()].tobytes())
            for name in ("pixels", "millimetres", "valid", "activity")[:names]:
                digest.update(f"{split}/{name} {zlib.crc32(file[split][name][()]):08x}\n".encode())
    assert open_cache(path, verify=False).fingerprint == digest.hexdigest()[:16]


def test_the_fingerprint_differs_with_the_data_alone(path, tmp_path):
    source = TinySource()
    source.notes, source.provenance = ["read elsewhere"], lambda: {"kind": "other", "files": ["x"]}
    write_cache(tmp_path / "far/away.h5", source)
    found = [open_cache(path).fingerprint]
    assert open_cache(tmp_path / "far/away.h5").fingerprint == found[0]
    changes = [shifted(name) for name in ("pixels", "millimetres", "valid", "activity")]
    for change in (*changes, lambda sequence: replace(sequence, info=replace(sequence.info, fps=7.0))):
        write_cache(tmp_path / "changed.h5", ChangedSource("test", change))
        found.append(open_cache(tmp_path / "changed.h5").fingerprint)
    assert len(set(found)) == len(found) == 6


@pytest.mark.parametrize(
    ("choices", "error"),
    [
        ({"fail_after": ("train", 0)}, KeyboardInterrupt("Ctrl-C")),
        ({"fail_after": ("test", 1)}, RuntimeError("a bug of the source")),
        ({"lengths": {"train": [3], "test": []}}, UserError("the test split has no frames; the cache was not written")),
        ({"valid": ["train"]}, UserError("no test frame in /data/tiny is valid, so there is nothing to score")),
        ({"joints": 16}, ValueError("pixels has shape (5, 16, 2), expected (5, 17, 2)")),
    ],
)
def test_an_error_passes_through_and_leaves_the_cache_of_before(path, choices, error):
    before = path.read_bytes()
    source = TinySource(error=error, **choices)
    with pytest.raises(type(error), match=re.escape(str(error))):
        write_cache(path, source)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def change_bit(name):
    def damage(path):
        with h5py.File(path, "r") as file:
            position = file["test"][name].id.get_offset() + file["test"][name].nbytes // 2
        content = bytearray(path.read_bytes())
        content[position] ^= 0x10
        path.write_bytes(content)

    return damage


def replace_bytes(old, new):
    def damage(path):
        assert path.read_bytes().count(old) == 1
        path.write_bytes(path.read_bytes().replace(old, new))

    return damage


def cut_off(share):
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def other_hdf5(path):
    with h5py.File(path, "w") as file:
        file["x"] = 1


def lengthened(path):
    with path.open("ab") as file:
        file.write(b"x")


DAMAGES = {
    "missing": (Path.unlink, "does not exist; write this cache"),
    "another HDF5 file": (other_hdf5, "is not a glagcn cache"),
    "cut in the header": (cut_off(0.01), "its header is unreadable|is truncated"),
    "cut at the end": (cut_off(0.999), "is truncated: .* bytes, expected"),
    "added to": (lengthened, "is longer than it was written: .* bytes, expected"),
    "another version": (replace_bytes(b"version 2\n", b"version 3\n"), "version 3; this program reads version 2"),
    "another table": (replace_bytes(b"train1", b"train2"), "checksum of its metadata"),
    **{
        f"a bit of {name}": (change_bit(name), f"checksum of test/{name} does not match")
        for name in ("pixels", "millimetres", "valid", "activity")
    },
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(path, damage, monkeypatch):
    monkeypatch.setattr("glagcn.data.cache.CHECKED_AT_ONCE", 7)  # so that a bit is not in the first piece
    spoil, message = DAMAGES[damage]
    spoil(path)
    with pytest.raises(UserError, match=message):
        open_cache(path)


def test_checksums_are_not_compared_when_not_asked(path):
    with h5py.File(path, "r+") as file:
        file["train/pixels"][0, 0, 0] = 1
    seal(path, [])
    assert open_cache(path, verify=False).train.pixels[0, 0, 0] == 1
    with pytest.raises(UserError, match="checksum of train/pixels"):
        open_cache(path)


def test_the_joints_of_a_skeleton_changed(path, monkeypatch):
    monkeypatch.setitem(SKELETONS, "mpi3dhp17", SKELETONS["h36m17"])
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
from tests.data.test_cache import TinySource

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
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(
        r"cannot write .*/a\.h5: File too large; give a writable folder with enough space, with --cache_dir .* --out "
        r".*\n",
        ended.stdout,
    )
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys, h5py
file = h5py.File(sys.argv[1], "r+")
print("open", flush=True)
for _ in sys.stdin:
    file.attrs["note"] = "x"
    file.flush()
    print("written", flush=True)
"""


def test_a_cache_that_another_program_has_open_for_writing_is_not_called_damaged(path):
    fingerprint = open_cache(path).fingerprint
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", WRITER, path], text=True, **pipes) as writer:
        assert writer.stdout.readline() == "open\n"
        assert path.read_bytes()[USER_BLOCK + 20]  # a consistency flag; a program that is killed leaves it
        assert open_cache(path).fingerprint == fingerprint
        print(file=writer.stdin, flush=True)
        assert writer.stdout.readline() == "written\n"
        with pytest.raises(
            UserError, match=r"tiny_gt\.h5 is open for writing in another program.*close it there"
        ) as met:
            open_cache(path)
        assert "damaged" not in str(met.value)
        assert "emove" not in str(met.value)
