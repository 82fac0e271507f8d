import gc
import os
from pathlib import Path

import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.files import (
    LEFTOVER_S,
    read_json,
    remove_leftovers,
    replacement,
    write_arrays,
    write_atomically,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_when_the_new_one_is_complete(tmp_path):
    path = tmp_path / "new" / "result.json"
    assert write_atomically(path, lambda file: file.write(b"old")) == path

    def write(file):
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"

    write_atomically(path, write)
    assert path.read_bytes() == b"new"
    with replacement(path) as temporary:  # for writers that need a name
        temporary.write_bytes(b"newer")
    assert path.read_bytes() == b"newer"
    assert names(path.parent) == ["result.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_nothing(tmp_path, error):
    path = tmp_path / "last.pt"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"half of the ne")
        raise error

    full = isinstance(error, OSError)
    with pytest.raises(UserError if full else type(error), match="No space left on device" if full else None):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["last.pt"]


def test_arrays_that_do_not_fit_on_the_disk_leave_nothing(tmp_path):
    pytest.importorskip("resource")
    from tests.full_disk import files_limited_to

    with files_limited_to(1000), pytest.raises(UserError, match=r"cannot write .*a\.npz"):
        write_arrays(tmp_path / "a.npz", {"a": np.zeros(10_000)})
    gc.collect()  # an archive that is still open would be closed here, with a traceback
    assert names(tmp_path) == []


def test_a_refusing_system_names_the_file(tmp_path):
    (tmp_path / "folder").write_text("not a folder")
    path = tmp_path / "folder" / "result.json"
    with pytest.raises(UserError, match=f"cannot write {path}: .*; give a writable folder"):
        write_atomically(path, lambda file: file.write(b"x"))


def test_two_writers_write_different_files(tmp_path):
    temporary = set()
    for _ in range(2):
        write_atomically(tmp_path / "last.pt", lambda file: temporary.update(n for n in names(tmp_path) if n[0] == "."))
    assert len(temporary) == 2
    assert all(name.endswith(".tmp") for name in temporary)


def test_the_file_and_its_name_are_flushed_before_the_end(tmp_path, monkeypatch):
    """A machine that loses its power after a write has the whole file under its name.  Some cannot flush a folder."""
    flushed = []

    def fsync(descriptor):
        flushed.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), names(tmp_path)))
        if Path(flushed[-1][0]).is_dir():
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr("os.fsync", fsync)
    write_atomically(tmp_path / "last.pt", lambda file: file.write(b"x"))
    (temporary, before), (folder, after) = flushed
    assert temporary.endswith(".tmp")
    assert before == [temporary.split("/")[-1]]
    assert (folder, after) == (str(tmp_path), ["last.pt"])


def test_only_what_killed_processes_left_is_removed(tmp_path):
    path = tmp_path / "a.h5"
    with replacement(path) as mine:
        for file in (mine, tmp_path / ".a.h5.1.tmp", tmp_path / ".b.h5.1.tmp", tmp_path / "a.h5.tmp"):
            file.write_text("half")
            if file != mine:
                os.utime(file, (0, file.stat().st_mtime - 2 * LEFTOVER_S))
        remove_leftovers(path)
        assert names(tmp_path) == sorted([".b.h5.1.tmp", "a.h5.tmp", mine.name])


def test_text_from_other_systems_is_read_and_written(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a":\r\n 1}\r\n')
    assert read_json(tmp_path / "a.json") == {"a": 1}
    write_text(tmp_path / "a.txt", "é \udce9")  # bytes of a name that are no text
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "é \\udce9"
