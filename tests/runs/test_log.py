import json
import math
import re
import time

import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from glagcn.runs.log import Moment, RunLog


@pytest.fixture
def log(tmp_path):
    log = RunLog(tmp_path)
    yield log
    log.close()


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events(folder, part=""):
    """What TensorBoard itself reads."""
    accumulator = EventAccumulator(str(folder / "tensorboard" / part))
    accumulator.Reload()
    return accumulator


def curve(folder, name, part=""):
    return [(event.step, round(event.value, 3)) for event in events(folder, part).Scalars(name)]


def test_what_is_said_is_printed_and_kept(log, tmp_path, capsys):
    log.say("one")
    log.say("two\nthree")
    assert capsys.readouterr().out == "one\ntwo\nthree\n"
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\nthree\n"


def test_without_a_folder_it_only_speaks(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = RunLog()
    log.say("hello")
    log.record("train", 1, {"mpjpe_mm": 1.0})
    log.text("a", "b")
    log.flush()
    log.close()
    assert capsys.readouterr().out == "hello\n"
    assert list(tmp_path.iterdir()) == []


def test_on_other_ranks_it_is_silent(tmp_path, capsys):
    log = RunLog(tmp_path, silent=True)
    log.say("hello")
    log.record("train", 1, {"mpjpe_mm": 1.0})
    log.start_progress(0, 10)
    log.advance()
    log.say_progress("text")
    log.hparams({"lr": 0.1}, {"mpjpe_mm": 1.0})
    log.close()
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_records_are_lines_of_json_and_curves(log, tmp_path):
    log.record("train", 5, {"mpjpe_mm": 120.5, "learning_rate": 0.004}, epoch=1)
    log.record("train", 10, {"mpjpe_mm": 110.25, "learning_rate": 0.003}, epoch=1)
    log.record("test", 10, {"mpjpe_mm": 99.0}, unscheduled=True)
    log.close()
    lines = records(tmp_path)
    assert all(line.pop("time") > 1e9 for line in lines)
    assert lines[0] == {"kind": "train", "step": 5, "epoch": 1, "mpjpe_mm": 120.5, "learning_rate": 0.004}
    assert lines[2] == {"kind": "test", "step": 10, "unscheduled": True, "mpjpe_mm": 99.0}
    assert curve(tmp_path, "train/mpjpe_mm") == [(5, 120.5), (10, 110.25)]
    assert curve(tmp_path, "test/mpjpe_mm") == [(10, 99.0)]


def test_a_line_is_on_disk_as_soon_as_it_is_recorded(log, tmp_path):
    log.record("train", 5, {"mpjpe_mm": 1.0})
    log.say("text")
    assert len(records(tmp_path)) == 1
    assert (tmp_path / "log.txt").read_text() == "text\n"


def test_nan_is_null_in_json(log, tmp_path):
    log.record("test", 1, {"velocity_mm": math.nan, "mpjpe_mm": 2.0})
    (line,) = records(tmp_path)
    assert line["velocity_mm"] is None
    assert line["mpjpe_mm"] == 2.0
    json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=pytest.fail)


def test_a_resumed_run_goes_on_and_its_lost_steps_leave_the_curves(tmp_path, monkeypatch):
    first = RunLog(tmp_path)
    for step in (2, 4, 6, 8):
        first.record("train", step, {"mpjpe_mm": 100.0 + step})
    first.say("before")
    first.close()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)  # TensorBoard orders files by the second they were made in
    second = RunLog(tmp_path, resumed_at=Moment(step=4))  # the last checkpoint: 6 and 8 will be trained again
    for step in (6, 8, 10):
        second.record("train", step, {"mpjpe_mm": 200.0 + step})
    second.say("after")
    second.close()
    assert curve(tmp_path, "train/mpjpe_mm") == [(2, 102.0), (4, 104.0), (6, 206.0), (8, 208.0), (10, 210.0)]
    assert (tmp_path / "log.txt").read_text() == "before\nafter\n"


def test_curves_along_windows_and_seconds_lose_what_is_trained_again(tmp_path, monkeypatch):
    first = RunLog(tmp_path)
    for number in (1, 2, 3):
        first.record_by_progress("validation/mpjpe_mm", 100.0 + number, 640 * number, 2.6 * number)
    first.close()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    second = RunLog(tmp_path, resumed_at=Moment(10, 640, 2.6))
    second.record_by_progress("validation/mpjpe_mm", 42.0, 1280, 5.0)
    second.close()
    found = [curve(tmp_path, f"validation/mpjpe_mm_by_{axis}", f"by_{axis}") for axis in ("windows", "seconds")]
    assert found == [[(640, 101.0), (1280, 42.0)], [(3, 101.0), (5, 42.0)]]


def test_figures_texts_and_hparams_are_in_tensorboard(log, tmp_path):
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    log.figure("test/skeletons", figure, 3)
    log.text("configuration", "    frames 27")
    log.hparams({"lr": 0.1, "cameras": [0, 1], "run": None}, {"mpjpe_mm": 42.0})
    log.close()
    found = events(tmp_path)
    assert found.Tags()["images"] == ["test/skeletons"]
    assert found.Images("test/skeletons")[0].step == 3
    assert "configuration/text_summary" in found.Tags()["tensors"]
    hparams = found.PluginTagToContent("hparams")
    assert {"lr", "cameras"} <= set(
        re.findall("lr|cameras|run", hparams["_hparams_/session_start_info"].decode("latin1"))
    )
    assert b"test/mpjpe_mm" in hparams["_hparams_/experiment"]  # the column beside them is the test curve
    assert found.Tags()["scalars"] == []  # and no curve of a single point is made for it


def test_progress_is_a_line_without_a_terminal(log, tmp_path, capsys):
    log.start_progress(0, 10)
    log.advance()
    log.say_progress("step 1/10: train MPJPE 50.0 mm")
    assert capsys.readouterr() == ("step 1/10: train MPJPE 50.0 mm\n", "")
    assert (tmp_path / "log.txt").read_text() == "step 1/10: train MPJPE 50.0 mm\n"


def test_progress_is_a_bar_on_a_terminal(log, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    log.start_progress(3, 10)
    log.advance()
    log.say_progress("step 4/10: train MPJPE 50.0 mm")
    log.say("above the bar")
    log.close()
    printed = capsys.readouterr()
    assert printed.out == "above the bar\n"
    assert "4/10" in printed.err
    assert "train MPJPE 50.0 mm" in printed.err
    assert (tmp_path / "log.txt").read_text() == "step 4/10: train MPJPE 50.0 mm\nabove the bar\n"


def test_a_run_that_watches_nothing_has_curves_of_its_training_and_its_end(demo, tmp_path):
    assert demo("--run r --select_on last --max_steps 6 --log_steps 3").code == 0
    folder = tmp_path / "runs/r"
    trained = curve(folder, "train/mpjpe_mm_by_windows", "by_windows")
    ended = curve(folder, "test/mpjpe_mm_by_windows", "by_windows")
    assert [place for place, _ in trained] == [3 * 64, 6 * 64]
    assert ended == [(6 * 64, pytest.approx(json.loads((folder / "result.json").read_text())["mpjpe_mm"], abs=1e-3))]
    assert len(curve(folder, "train/mpjpe_mm_by_seconds", "by_seconds")) == 2
