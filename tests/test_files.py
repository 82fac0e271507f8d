import os
import subprocess
from pathlib import Path

import pytest

from glagcn.errors import UserError
from glagcn.files import LEFTOVER_S, read_json, remove_leftovers, replacement, write_atomically, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "new" / "result.json"
    assert write_atomically(path, lambda file: file.write(b"one")) == path
    write_atomically(path, lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["result.json"]


def test_the_old_file_is_there_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "last.pt"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"

    write_atomically(path, write)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_nothing(tmp_path, error):
    path = tmp_path / "last.pt"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"half of the ne")
        raise error

    with pytest.raises(error):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["last.pt"]


def test_a_refusing_system_names_the_file(tmp_path):
    (tmp_path / "folder").write_text("not a folder")
    path = tmp_path / "folder" / "result.json"
    with pytest.raises(UserError, match=f"cannot write {path}: .*; give a writable folder"):
        write_atomically(path, lambda file: file.write(b"x"))


def test_a_full_disk_leaves_nothing(tmp_path):
    def write(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left on device"):
        write_atomically(tmp_path / "last.pt", write)
    assert names(tmp_path) == []


def test_two_processes_of_the_same_number_write_different_files(tmp_path, monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: 7)
    temporary = set()
    for _ in range(2):
        write_atomically(tmp_path / "last.pt", lambda file: temporary.update(n for n in names(tmp_path) if n[0] == "."))
    assert len(temporary) == 2
    assert all(name.endswith(".tmp") for name in temporary)


def test_what_is_written_by_name_replaces_too(tmp_path):
    path = tmp_path / "new" / "film.mp4"
    for content in (b"one", b"two"):
        with replacement(path) as temporary:
            temporary.write_bytes(content)
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["film.mp4"]


def test_errors_of_what_is_read_meanwhile_pass_through_and_leave_nothing(tmp_path):
    def copy_half():
        with replacement(tmp_path / "film.mp4") as temporary:
            temporary.write_bytes(b"half")
            (tmp_path / "source").read_bytes()

    with pytest.raises(FileNotFoundError):
        copy_half()
    assert names(tmp_path) == []


def test_the_file_and_its_name_are_flushed_before_the_end(tmp_path, monkeypatch):
    """A machine that loses its power after a write has the whole file under its name."""
    flushed = []

    def fsync(descriptor):
        flushed.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), names(tmp_path)))

    monkeypatch.setattr("os.fsync", fsync)
    write_atomically(tmp_path / "last.pt", lambda file: file.write(b"x"))
    (temporary, before), (folder, after) = flushed
    assert temporary.endswith(".tmp")
    assert before == [temporary.split("/")[-1]]
    assert (folder, after) == (str(tmp_path), ["last.pt"])


def test_a_folder_that_cannot_be_flushed_is_no_failure(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(22, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    write_atomically(tmp_path / "last.pt", lambda file: file.write(b"x"))
    assert names(tmp_path) == ["last.pt"]


def test_only_what_dead_processes_left_is_removed(tmp_path):
    path = tmp_path / "a.h5"
    with replacement(path) as mine:
        mine.write_text("this process lives")
        host = mine.name.split(".")[-4]
        dead = subprocess.Popen(["true"])
        dead.wait()
        left = [
            f".a.h5.{host}.{dead.pid}.00000000.tmp",
            ".a.h5.00000000.1.00000000.tmp",  # of another machine, two days old
            ".a.h5.1.tmp",  # the name says nothing, two days old
        ]
        kept = [
            f".a.h5.00000000.{dead.pid}.00000000.tmp",  # of another machine, new
            f".b.h5.{host}.{dead.pid}.00000000.tmp",  # of another file
            f".a.h5.{host}.{'9' * 30}.00000000.tmp",
            "a.h5.tmp",
        ]
        for name in (*left, *kept):
            (tmp_path / name).write_text("half")
        for name in left[1:]:
            then = (tmp_path / name).stat().st_mtime - 2 * LEFTOVER_S
            os.utime(tmp_path / name, (then, then))
        remove_leftovers(path)
        assert names(tmp_path) == sorted([*kept, mine.name])


def test_a_byte_order_mark_and_other_line_ends_are_no_part_of_the_json(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a":\r\n 1}\r\n')
    assert read_json(tmp_path / "a.json") == {"a": 1}


def test_bytes_of_a_name_that_are_no_text_are_written_as_escapes(tmp_path):
    write_text(tmp_path / "a.txt", "é \udce9")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "é \\udce9"
