import json
import logging
import math
import re
import time

import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from glagcn.progress import print_messages
from glagcn.train.log import LineFile, RunLog
from tests.full_disk import files_limited_to

program = logging.getLogger("glagcn.anything")


@pytest.fixture
def log(tmp_path):
    log = RunLog(tmp_path)
    yield log
    log.close()


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events(folder):
    """What TensorBoard itself reads."""
    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return accumulator


def curve(folder, name):
    return [(event.step, round(event.value, 3)) for event in events(folder).Scalars(name)]


@pytest.fixture
def printed():
    with print_messages():
        yield


def test_what_is_said_is_printed_and_kept(log, printed, tmp_path, capsys):
    program.info("one")
    program.info("two\nthree %")
    program.warning("four")
    program.debug("five")
    assert capsys.readouterr().out == "one\ntwo\nthree %\nWARNING: four\n"
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\nthree %\nWARNING: four\n"


def test_a_closed_log_keeps_nothing_more(log, printed, tmp_path):
    program.info("one")
    log.close()
    program.info("two")
    assert (tmp_path / "log.txt").read_text() == "one\n"


def test_on_other_ranks_it_is_silent(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with print_messages(quiet=True):
        log = RunLog(tmp_path)
        program.warning("hello")
        log.record("train", 1, {"mpjpe_mm": 1.0})
        log.start_progress(0, 10)
        log.advance()
        log.show_progress("text")
        log.result({"mpjpe_mm": 1.0}, 1)
        log.close()
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_lines_that_cannot_be_written_are_written_later_and_warned_of_once(tmp_path, said):
    (tmp_path / "log.txt").write_text("zero\n")
    lines = LineFile(tmp_path / "log.txt")
    with files_limited_to(11):
        for line in ("one", "two", "\udcff"):  # the second is cut off in its middle
            lines.add(line)
        assert (tmp_path / "log.txt").read_text() == "zero\none\ntw"
    lines.add("four")
    assert (tmp_path / "log.txt").read_text() == "zero\none\ntwo\n\\udcff\nfour\n"
    assert len(said) == 1
    assert said[0].startswith(f"WARNING: cannot write {tmp_path / 'log.txt'}: File too large")
    with files_limited_to(11):
        lines.add("five")
        lines.close()
    assert len(said) == 2


def test_records_are_lines_of_json_and_curves(log, tmp_path):
    log.record("train", 5, {"mpjpe_mm": 120.5, "learning_rate": 0.004}, epoch=1)
    log.record("train", 10, {"mpjpe_mm": 110.25, "learning_rate": 0.003}, epoch=1)
    log.record("test", 10, {"mpjpe_mm": 99.0}, unscheduled=True)
    log.close()
    lines = records(tmp_path)
    assert all(line.pop("time") > 1e9 for line in lines)
    assert lines[0] == {"kind": "train", "step": 5, "epoch": 1, "mpjpe_mm": 120.5, "learning_rate": 0.004}
    assert lines[2] == {"kind": "test", "step": 10, "unscheduled": True, "mpjpe_mm": 99.0}
    assert curve(tmp_path, "error_mm/train") == [(5, 120.5), (10, 110.25)]
    assert curve(tmp_path, "error_mm/test") == [(10, 99.0)]


def test_a_line_is_on_disk_as_soon_as_it_is_recorded(log, printed, tmp_path):
    log.record("train", 5, {"mpjpe_mm": 1.0})
    program.info("text")
    assert len(records(tmp_path)) == 1
    assert (tmp_path / "log.txt").read_text() == "text\n"


def test_nan_is_null_in_json(log, tmp_path):
    log.record("test", 1, {"velocity_mm": math.nan, "mpjpe_mm": 2.0})
    (line,) = records(tmp_path)
    assert line["velocity_mm"] is None
    assert line["mpjpe_mm"] == 2.0
    json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=pytest.fail)


def test_a_resumed_run_goes_on_and_its_lost_steps_leave_the_curves(tmp_path, monkeypatch, printed):
    first = RunLog(tmp_path)
    for step in (2, 4, 6, 8):
        first.record("train", step, {"mpjpe_mm": 100.0 + step})
    program.info("before")
    first.close()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)  # TensorBoard orders files by the second they were made in
    second = RunLog(tmp_path, resumed_at=4)  # the last checkpoint: 6 and 8 will be trained again
    for step in (6, 8, 10):
        second.record("train", step, {"mpjpe_mm": 200.0 + step})
    program.info("after")
    second.close()
    assert curve(tmp_path, "error_mm/train") == [(2, 102.0), (4, 104.0), (6, 206.0), (8, 208.0), (10, 210.0)]
    assert (tmp_path / "log.txt").read_text() == "before\nafter\n"


def test_no_figure_is_drawn_without_a_board(demo, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("glagcn.evaluate.figures.skeleton_figure", drawn.append)
    assert demo("--run r --frames 9 --max_steps 2 --log_with none").code == 0
    assert demo(f"--evaluate {tmp_path}/runs/r/best.pt --log_with none --output {tmp_path}/results").code == 0
    assert drawn == []


def test_figures_texts_and_the_result_are_in_tensorboard(tmp_path):
    log = RunLog(tmp_path, options={"lr": 0.1, "cameras": [0, 1], "run": None})
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    log.figure("test/skeletons", lambda: figure, 3)
    log.text("configuration", "    frames 27")
    log.record("test", 7, {"mpjpe_mm": 42.0, "pck": 91.0}, drawn=False)
    log.result({"mpjpe_mm": 42.0, "pck": 91.0}, 7)
    log.close()
    found = events(tmp_path)
    assert found.Tags()["images"] == ["test/skeletons"]
    assert found.Images("test/skeletons")[0].step == 3
    assert {"configuration/text_summary", "test/text_summary"} == set(found.Tags()["tensors"])
    (table,) = found.Tensors("test/text_summary")
    assert b"| mpjpe_mm | 42.00 |\n| pck | 91.00 |\n" in table.tensor_proto.string_val[0]
    hparams = found.PluginTagToContent("hparams")
    assert {"lr", "cameras"} <= set(
        re.findall("lr|cameras|run", hparams["_hparams_/session_start_info"].decode("latin1"))
    )
    assert b"test/mpjpe_mm" in hparams["_hparams_/experiment"]  # the column beside them is this curve
    assert found.Tags()["scalars"] == ["test/mpjpe_mm"]  # and there is none for every other result


def test_progress_is_a_line_without_a_terminal(log, printed, tmp_path, capsys):
    log.start_progress(0, 10)
    log.advance()
    log.show_progress("step 1/10: train MPJPE 50.0 mm")
    assert capsys.readouterr() == ("step 1/10: train MPJPE 50.0 mm\n", "")
    assert (tmp_path / "log.txt").read_text() == "step 1/10: train MPJPE 50.0 mm\n"


def test_progress_is_a_bar_on_a_terminal(log, printed, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    log.start_progress(3, 10)
    log.advance()
    log.show_progress("step 4/10: train MPJPE 50.0 mm")
    program.info("above the bar")
    log.close()
    printed = capsys.readouterr()
    assert printed.out == "above the bar\n"
    assert "4/10" in printed.err
    assert "train MPJPE 50.0 mm" in printed.err
    assert (tmp_path / "log.txt").read_text() == "step 4/10: train MPJPE 50.0 mm\nabove the bar\n"


@pytest.mark.parametrize(("flags", "errors"), [("", ["error_mm/train", "error_mm/validation"]),
                                               ("--select_on last", ["error_mm/train"]),
                                               ("--select_on test", ["error_mm/test", "error_mm/train"])])  # fmt: skip
def test_tensorboard_lists_a_run_once_and_shows_its_errors_first(demo, tmp_path, flags, errors):
    assert demo(f"--run r --frames 9 --log_steps 3 --log_with tensorboard {flags}").code == 0
    folder = tmp_path / "runs/r"
    assert all(path.is_file() for path in (folder / "tensorboard").iterdir())
    assert sorted(events(folder).Tags()["scalars"])[: len(errors)] == errors
    assert [step for step, _ in curve(folder, "error_mm/train")] == [3, 6]
    ended = json.loads((folder / "result.json").read_text())["mpjpe_mm"]
    assert curve(folder, "test/mpjpe_mm") == [(6, pytest.approx(ended, abs=1e-3))]
