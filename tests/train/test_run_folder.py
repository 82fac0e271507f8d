"""The run folder: its lock, and going on from what is in it."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from glagcn.checkpoints import ours as checkpoint
from glagcn.config.resolve import changed, from_dict, parse_command_line, to_dict
from glagcn.errors import UserError
from glagcn.train import run_folder as lock_module
from glagcn.train.run_folder import OTHER_FOLDER_OR_FRESH, RunFolder, finished_result, run_lock
from tests.command_line import assert_refused, listing


@pytest.fixture
def config():
    return parse_command_line(["--dataset", "demo", "--run", "r"])[0]


@pytest.fixture
def folder(tmp_path, config):
    folder = RunFolder(tmp_path / "runs/r")
    folder.create(config, fresh=False)
    return folder


def save_last(folder, config, num_windows=100):
    content = {"config": to_dict(config), "model_config": {}, "model": {}, "optimizer": {}, "num_windows": num_windows}
    checkpoint.save(folder.last, content | {"progress": {"step": 3}, "data_fingerprint": "a"})


def test_the_folder_holds_the_options(folder, config):
    assert from_dict(json.loads((folder.path / "config.json").read_text())) == config


def test_fresh_keeps_every_older_folder_under_another_name(folder, config):
    for number in range(3):
        (folder.path / "mark").write_text(f"run {number}")
        folder.create(config, fresh=True)
    names = ["r", "r.old1", "r.old2", "r.old3"]
    assert sorted(path.name for path in folder.path.parent.iterdir()) == names
    assert [(folder.path.parent / name / "mark").read_text() for name in names[1:]] == ["run 0", "run 1", "run 2"]
    assert [path.name for path in folder.path.iterdir()] == ["config.json"]


def test_fresh_on_nothing_is_a_start(tmp_path, config):
    folder = RunFolder(tmp_path / "new")
    folder.create(config, fresh=True)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_file_in_the_way_is_named(tmp_path, config):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write the run folder .*file/r \(Not a directory\); .* -c DIR"):
        RunFolder(tmp_path / "file/r").create(config, fresh=False)


# ---------------------------------------------------------------- resuming


def test_a_start_has_nothing_to_resume(folder, config):
    assert folder.resume(config, 100, "a") is None


def test_options_that_did_not_shape_the_run_may_change(folder, config):
    save_last(folder, config)
    other = changed(config, workers=3, log_steps=7, epochs=9, max_steps=50, save_minutes=1.0, compile=True, run="other")
    assert folder.resume(other, 100, "a")["progress"] == {"step": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.5}, "--lr is 0.5 now and was 0.016"),
        ({"batch_size": 7}, "--batch_size is 7 now and was 128"),
        ({"cameras": (0, 1)}, r"--cameras is \(0, 1\) now and was None"),
        ({"seed": 1}, "--seed is 1 now and was 0"),
    ],
)
def test_options_that_shaped_the_run_may_not(folder, config, change, message):
    save_last(folder, config)
    advice = OTHER_FOLDER_OR_FRESH
    with pytest.raises(UserError, match=f"runs/r holds a run that cannot go on: options differ: {message}.*{advice}"):
        folder.resume(changed(config, **change), 100, "a")


def test_other_data_are_noticed_by_the_number_of_windows(folder, config):
    save_last(folder, config, num_windows=100)
    with pytest.raises(UserError, match="it had 100 windows per epoch, and the data has 90"):
        folder.resume(config, 90, "a")


def test_other_data_are_noticed_by_what_they_hold(folder, config):
    save_last(folder, config)
    with pytest.raises(UserError, match="runs/r holds .* trained on other data .*fingerprint b, .* is a"):
        folder.resume(config, 100, "b")


def test_exported_weights_are_no_state(folder, config):
    checkpoint.save(folder.last, {"config": to_dict(config), "model_config": {}, "model": {"w": torch.zeros(1)}})
    with pytest.raises(UserError, match="its checkpoint has no optimizer, progress, num_windows.*--fresh"):
        folder.resume(config, 100, "a")


# ---------------------------------------------------------------- going back to last.pt


def test_lines_that_will_be_written_again_are_dropped(folder):
    lines = [
        '{"kind": "train", "step": 2}',
        '{"kind": "test", "step": 3}',
        '{"kind": "train", "step": 4}',
        '{"kind": "test", "step": 4}',  # killed after this evaluation, before the last.pt that knows of it
        '{"kind": "train", "step": 6}',
        '{"kind": "train", "st',  # the process was killed while it wrote
    ]
    folder.metrics.write_text("\n".join(lines))
    folder.rewind(step=4, evaluated_step=3, best_step=3)
    assert folder.metrics.read_text() == "\n".join(lines[:3]) + "\n"


def test_an_evaluation_that_was_made_because_the_run_ended_there_is_forgotten(folder):
    lines = ['{"kind": "train", "step": 2}', '{"kind": "test", "step": 2, "unscheduled": true}']
    folder.metrics.write_text("\n".join(lines) + "\n")
    folder.best.write_text("of the end")
    folder.best_backup.write_text("before it")
    folder.rewind(step=2, evaluated_step=2, best_step=1)
    assert folder.metrics.read_text() == lines[0] + "\n"
    assert folder.best.read_text() == "before it"
    assert not folder.best_backup.exists()


def test_a_best_that_last_pt_does_not_know_of_is_forgotten(folder):
    folder.best.write_text("of the end")
    folder.rewind(step=2, evaluated_step=0, best_step=0)
    assert not folder.best.exists()


def test_a_best_that_it_knows_of_stays(folder):
    folder.best.write_text("best")
    folder.rewind(step=2, evaluated_step=2, best_step=2)
    assert folder.best.read_text() == "best"
    assert not folder.metrics.exists()


def test_a_restart_from_nothing_leaves_nothing_of_what_was_killed(folder):
    folder.metrics.write_text('{"kind": "train", "step": 2}\n')
    (folder.path / ".last.pt.4711.tmp").write_text("half")
    folder.rewind(step=0, evaluated_step=0, best_step=0)
    assert folder.metrics.read_text() == ""
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.json", "metrics.jsonl"]


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ('{"trained_steps": 9}', True),
        ('{"trained_steps": 8}', False),
        ("{}", False),
        ('{"trained_', False),
        (None, False),
    ],
)
def test_only_a_whole_result_of_this_step_is_the_end(tmp_path, text, finished):
    if text is not None:
        (tmp_path / "result.json").write_text(text)
    assert (finished_result(tmp_path, 9) is not None) == finished


HOLD = (
    "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
    "print('process 4711 on afar', file=file, flush=True); print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(lock_module, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(lock_module, "POLL_INTERVAL_S", 0.01)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "r").mkdir()
    return tmp_path / "r"


@pytest.fixture
def other(path):
    """Another process that holds the lock of the folder."""
    command = [sys.executable, "-c", HOLD, lock_of(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def lock_of(path):
    return path.with_name(f".{path.name}.lock")


def refused(path):
    try:
        with run_lock(path):
            return False
    except UserError:
        return True


def test_a_second_process_waits_says_so_and_is_refused(path, other, said):
    message = r"another process is using .*/r \(process 4711 on afar\); wait for it or stop it, .*--run NA"
    with pytest.raises(UserError, match=message), run_lock(path):
        pass
    assert len(said) == 1
    assert f"Another process is using {path} (process 4711 on afar); waiting for it to end" in said[0]
    assert lock_of(path).read_text() == "process 4711 on afar\n"


def test_it_goes_on_when_the_first_is_killed(path, other, monkeypatch):
    monkeypatch.setattr(lock_module, "TIMEOUT_S", 60.0)
    monkeypatch.setattr(lock_module.logger, "info", lambda text: other.kill())
    with run_lock(path):
        assert "4711" not in lock_of(path).read_text()
        monkeypatch.setattr(lock_module, "TIMEOUT_S", 0.1)
        assert refused(path)


def test_the_folder_is_left_as_it_was_and_free(path):
    for _ in range(2):
        with run_lock(path):
            assert f"process {os.getpid()} on " in lock_of(path).read_text()
            assert refused(path)
        assert not refused(path)
        assert list(path.iterdir()) == []
        assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_left_does_no_harm(path, said):
    lock_of(path).write_text("process 1 on a machine of long ago\n")
    with run_lock(path):
        assert said == []


def test_a_copy_is_free(path, tmp_path):
    with run_lock(path):
        shutil.copytree(path, tmp_path / "copy")
        assert not refused(tmp_path / "copy")


def test_a_folder_may_be_moved_aside_and_its_place_stays_taken(path, tmp_path):
    with run_lock(path):
        path.rename(tmp_path / "old")
        assert refused(path)
        path.mkdir()
        assert refused(path)
        assert not refused(tmp_path / "old")
    assert not refused(path)


def test_a_file_that_was_deleted_before_it_was_locked_does_not_count(path, monkeypatch):
    def delete_first(file, flags):
        monkeypatch.undo()
        lock_of(path).unlink()
        fcntl.flock(file, flags)

    monkeypatch.setattr(fcntl, "flock", delete_first)
    with run_lock(path), lock_of(path).open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: lock_of(path).mkdir(), r"/\.r\.lock \(Is a directory\)"),
        (lambda path: (path.rmdir(), path.parent.rmdir(), path.parent.write_text("")), r" \(File exists\)"),
    ],
)
def test_a_folder_that_cannot_be_written(tmp_path, said, spoil, reason):
    path = tmp_path / "runs/r"
    path.mkdir(parents=True)
    spoil(path)
    with pytest.raises(UserError, match=rf"cannot write .*{reason}; .* -c DIR"), run_lock(path):
        pass
    assert said == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_there_is_one_warning(path, said, monkeypatch, number):
    def refuse(file, flags):
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with run_lock(path):
        assert len(said) == 1
    assert "has no locks (no locks)" in said[0]


@pytest.mark.usefixtures("finished")
def test_training_and_starting_over_are_refused_and_evaluating_is_not(demo, tmp_path):
    with run_lock(tmp_path / "runs/r"):
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
    for flags in ("--run new", "--run r --fresh"):
        assert demo(f"--frames 9 {flags}").code == 0
    assert found == [True] * 4
    assert not list(tmp_path.glob("runs/**/*lock"))
