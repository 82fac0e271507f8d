"""The lock of a run folder, held by real processes and by this one: flock tells open files apart, not processes."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys

import pytest

from glagcn.errors import UserError
from glagcn.train import run_folder as lock_module
from glagcn.train.run_folder import RunLock
from tests.command_line import assert_refused, listing

HOLD = (
    "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
    "print('process 4711 on afar', file=file, flush=True); print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(lock_module, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(lock_module, "POLL_INTERVAL_S", 0.01)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "r").mkdir()
    return tmp_path / "r"


@pytest.fixture
def other(folder):
    """Another process that holds the lock of the folder."""
    command = [sys.executable, "-c", HOLD, lock_of(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def lock_of(folder):
    return folder.with_name(f".{folder.name}.lock")


def refused(folder):
    try:
        with RunLock(folder) as lock:
            lock.take()
    except UserError:
        return True
    return False


def test_a_second_process_waits_says_so_and_is_refused(folder, other, said):
    with pytest.raises(UserError, match=r"is using .*/r \(process 4711 on afar\); wait for it or stop it, .*--run NA"):
        RunLock(folder).take()
    assert len(said) == 1
    assert f"Another process is using {folder} (process 4711 on afar); waiting for it to end" in said[0]
    assert lock_of(folder).read_text() == "process 4711 on afar\n"


def test_it_goes_on_when_the_first_is_killed(folder, other, monkeypatch):
    monkeypatch.setattr(lock_module, "TIMEOUT_S", 60.0)
    monkeypatch.setattr(lock_module.logger, "info", lambda text: other.kill())
    with RunLock(folder) as lock:
        lock.take()
        assert "4711" not in lock_of(folder).read_text()
        monkeypatch.setattr(lock_module, "TIMEOUT_S", 0.1)
        assert refused(folder)


def test_the_folder_is_left_as_it_was_and_free(folder):
    for _ in range(2):
        with RunLock(folder) as lock:
            lock.take()
            lock.take()
            assert f"process {os.getpid()} on " in lock_of(folder).read_text()
            assert refused(folder)
        assert not refused(folder)
        assert list(folder.iterdir()) == []
        assert list(folder.parent.iterdir()) == [folder]


def test_what_a_killed_process_left_does_no_harm(folder, said):
    lock_of(folder).write_text("process 1 on a machine of long ago\n")
    with RunLock(folder) as lock:
        lock.take()
    assert said == []


def test_a_copy_is_free(folder, tmp_path):
    with RunLock(folder) as lock:
        lock.take()
        shutil.copytree(folder, tmp_path / "copy")
        assert not refused(tmp_path / "copy")


def test_a_folder_may_be_moved_aside_and_its_place_stays_taken(folder, tmp_path):
    with RunLock(folder) as lock:
        lock.take()
        folder.rename(tmp_path / "old")
        assert refused(folder)
        folder.mkdir()
        lock.take()
        assert refused(folder)
        assert not refused(tmp_path / "old")
    assert not refused(folder)


def test_a_file_that_was_deleted_before_it_was_locked_does_not_count(folder, monkeypatch):
    def delete_first(file, flags):
        monkeypatch.undo()
        lock_of(folder).unlink()
        fcntl.flock(file, flags)

    monkeypatch.setattr(fcntl, "flock", delete_first)
    with RunLock(folder) as lock:
        lock.take()
        with lock_of(folder).open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_folder_that_cannot_be_written(folder, said):
    lock_of(folder).mkdir()
    with pytest.raises(UserError, match=r"cannot write .*/\.r\.lock \(Is a directory\); .* -c DIR"):
        RunLock(folder).take()

    # ---------------------------------------------------------------- runs
    assert said == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_there_is_one_warning(demo, tmp_path, monkeypatch, number):
    def refuse(file, flags):
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / "runs/r").mkdir(parents=True)
    ended = demo("--run r --frames 9 --max_steps 1 --fresh")
    assert (ended.code, ended.out.count("has no locks (no locks)")) == (0, 1)


def test_training_and_starting_over_are_refused_and_evaluating_is_not(demo, tmp_path):
    assert demo("--run r --frames 9").code == 0
    with RunLock(tmp_path / "runs/r") as lock:
        lock.take()
        before = listing(tmp_path)
        for flags in ("", "--max_steps 8", "--fresh"):
            assert_refused(demo(f"--run r --frames 9 {flags}"), "another process is using .*/runs/r")
        assert listing(tmp_path) == before
        assert demo(f"--run r --frames 9 --evaluate --output {tmp_path}/results").code == 0
    assert "resumed at step 6 of 8" in demo("--run r --frames 9 --max_steps 8").out


def test_a_run_holds_it_to_its_end(demo, tmp_path, monkeypatch):
    from glagcn.train.loop import Trainer

    found, run = [], Trainer.run
    (tmp_path / "runs/r").mkdir(parents=True)

    def watched(trainer):
        found.append(refused(trainer.folder.path))
        run(trainer)
        found.append(refused(trainer.folder.path))

    monkeypatch.setattr(Trainer, "run", watched)
    for flags in ("--run r", "--run r --fresh", "--run new", "--run new --max_steps 7"):
        assert demo(f"--frames 9 {flags}").code == 0
    assert found == [True] * 8
    assert not list(tmp_path.glob("runs/**/*lock"))
    assert json.loads((tmp_path / "runs/new/result.json").read_text())["trained_steps"] == 7
