"""The log of a run: files, curves, TensorBoard, and stand-ins for Weights and Biases and MLflow."""

import importlib
import json
import logging
import math
import re
import sys
import time

import numpy as np
import pytest
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from glagcn.progress import print_messages
from glagcn.train.log import LineFile, RunLog, draw_training_curves
from tests.command_line import assert_refused
from tests.full_disk import files_limited_to

program = logging.getLogger("glagcn.anything")


@pytest.fixture
def log(tmp_path):
    log = RunLog(tmp_path)
    yield log
    log.close()


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events(folder, name=""):
    """What TensorBoard itself reads of a run, or of the folder `name` in it."""
    accumulator = EventAccumulator(str(folder / "tensorboard" / name))
    accumulator.Reload()
    return accumulator


def curve(folder, name):
    return [(event.step, round(event.value, 3)) for event in events(folder).Scalars(name)]


def errors(folder, name):
    """The points of the set `name` in the chart of errors, which all sets share."""
    found = events(folder, name)
    assert found.Tags()["scalars"] == ["error_mm"]
    return [(event.step, round(event.value, 3)) for event in found.Scalars("error_mm")]


@pytest.fixture
def printed():
    with print_messages():
        yield


def test_what_is_said_is_printed_and_kept_at_once_until_the_log_is_closed(log, printed, tmp_path, capsys):
    program.info("one")
    program.info("two\nthree %")
    program.warning("four")
    program.debug("five")
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\nthree %\nWARNING: four\n"
    log.close()
    program.info("six")
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\nthree %\nWARNING: four\n"
    assert capsys.readouterr().out == "one\ntwo\nthree %\nWARNING: four\nsix\n"


def test_on_other_ranks_it_is_silent(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with print_messages(quiet=True):
        log = RunLog(tmp_path)
        program.warning("hello")
        log.record("train", 1, {"mpjpe_mm": 1.0})
        log.start_progress(0, 10)
        log.advance()
        log.show_progress("text", "brief")
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
    assert len(records(tmp_path)) == 1  # at once
    log.record("train", 10, {"mpjpe_mm": 110.25, "learning_rate": 0.003}, epoch=1)
    log.record("test", 10, {"mpjpe_mm": 99.0}, unscheduled=True)
    log.close()
    lines = records(tmp_path)
    assert all(line.pop("time") > 1e9 for line in lines)
    assert lines[0] == {"kind": "train", "step": 5, "epoch": 1, "mpjpe_mm": 120.5, "learning_rate": 0.004}
    assert lines[2] == {"kind": "test", "step": 10, "unscheduled": True, "mpjpe_mm": 99.0}
    assert errors(tmp_path, "train") == [(5, 120.5), (10, 110.25)]
    assert errors(tmp_path, "test") == [(10, 99.0)]


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
    assert errors(tmp_path, "train") == [(2, 102.0), (4, 104.0), (6, 206.0), (8, 208.0), (10, 210.0)]
    assert (tmp_path / "log.txt").read_text() == "before\nafter\n"


def test_texts_and_the_result_are_in_tensorboard(tmp_path):
    log = RunLog(tmp_path, options={"lr": 0.1, "cameras": [0, 1], "run": None})
    log.text("configuration", "    frames 27")
    log.record("test", 7, {"mpjpe_mm": 42.0, "pck": 91.0}, drawn=False)
    log.result({"mpjpe_mm": 42.0, "pck": 91.0, "velocity_mm": math.nan}, 7)  # one frame has no velocity
    log.close()
    found = events(tmp_path)
    assert {"configuration/text_summary", "test/text_summary"} == set(found.Tags()["tensors"])
    (table,) = found.Tensors("test/text_summary")
    assert table.tensor_proto.string_val[0].endswith(b"|---|---|\n| mpjpe_mm | 42.00 |\n| pck | 91.00 |\n")
    hparams = found.PluginTagToContent("hparams")
    assert {"lr", "cameras"} <= set(
        re.findall("lr|cameras|run", hparams["_hparams_/session_start_info"].decode("latin1"))
    )
    assert b"test/mpjpe_mm" in hparams["_hparams_/experiment"]  # the column beside them is this curve
    assert found.Tags()["scalars"] == ["test/mpjpe_mm"]  # and there is none for every other result


def test_the_options_of_a_prolonged_run_replace_those_of_its_first_result(tmp_path, monkeypatch):
    for number, epochs in enumerate((11, 22)):
        log = RunLog(tmp_path, resumed_at=10 * number, options={"epochs": epochs})
        log.result({"mpjpe_mm": 42.0 - number}, 10 * number + 10)
        log.close()
        now = time.time()
        monkeypatch.setattr(time, "time", lambda now=now: now + 60)
    assert curve(tmp_path, "test/mpjpe_mm") == [(10, 42.0), (20, 41.0)]
    table = events(tmp_path).PluginTagToContent("hparams")["_hparams_/session_start_info"]
    content = HParamsPluginData.FromString(table)
    assert content.session_start_info.hparams["epochs"].number_value == 22


def test_progress_is_a_line_without_a_terminal(log, printed, tmp_path, capsys):
    log.start_progress(0, 10)
    log.advance()
    log.show_progress("step 1/10: train 50.0 mm", "train 50.0 mm")
    assert capsys.readouterr() == ("step 1/10: train 50.0 mm\n", "")
    assert (tmp_path / "log.txt").read_text() == "step 1/10: train 50.0 mm\n"


def test_progress_is_a_bar_on_a_terminal(log, printed, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    log.start_progress(3, 10)
    log.advance()
    log.show_progress("step 4/10: train 50.0 mm", "train 50.0 mm")
    program.info("above the bar")
    log.close()
    printed = capsys.readouterr()
    assert printed.out == "above the bar\n"
    assert "4/10" in printed.err
    assert ", train 50.0 mm]" in printed.err
    assert (tmp_path / "log.txt").read_text() == "step 4/10: train 50.0 mm\nabove the bar\n"


@pytest.mark.parametrize(("flags", "sets"), [("", {"train", "validation"}), ("--select_on last", {"train"}),
                                             ("--select_on test", {"train", "test"})])  # fmt: skip
def test_tensorboard_shows_the_errors_of_all_sets_in_its_first_chart(demo, tmp_path, flags, sets):
    assert demo(f"--run r --frames 9 --log_steps 3 --log_with tensorboard {flags}").code == 0
    folder = tmp_path / "runs/r"
    assert {path.name for path in (folder / "tensorboard").iterdir() if path.is_dir()} == sets
    assert min(events(folder).Tags()["scalars"]) > "error_mm"
    assert [step for step, _ in errors(folder, "train")] == [3, 6]
    assert all([step for step, _ in errors(folder, name)] == [5, 6] for name in sets - {"train"})
    pictures = [picture.step for tag in events(folder).Tags()["images"] for picture in events(folder).Images(tag)]
    assert pictures == ([] if "last" in flags else [5, 6])
    ended = json.loads((folder / "result.json").read_text())["mpjpe_mm"]
    assert curve(folder, "test/mpjpe_mm") == [(6, pytest.approx(ended, abs=1e-3))]


def test_a_record_of_epochs_becomes_a_picture(tmp_path):
    lines = [{"kind": "train", "step": 1, "mpjpe_mm": 900.0}]  # of a version that did not say the epoch
    for epoch in (1, 2):
        lines += [
            {"kind": "test", "step": epoch, "epoch": epoch, "mpjpe_mm": 100.0 / epoch, "p_mpjpe_mm": None},
            {"kind": "train", "step": epoch, "epoch": epoch, "mpjpe_mm": 80.0 / epoch},
        ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    draw_training_curves(tmp_path, "epoch", baseline=120.0, name="test")
    picture = imread(tmp_path / "training_curves.png")[..., :3]
    tab_blue, tab_orange, tab_green = (31, 119, 180), (255, 127, 14), (44, 160, 44)
    shown = [(np.abs(picture * 255 - colour).max(axis=-1) < 2).any() for colour in (tab_blue, tab_orange, tab_green)]
    assert shown == [True, True, False]  # training and test; no sequence head, no aligned error


@pytest.mark.parametrize(("flags", "against"), [("", "epoch"), ("--windows 200", "windows")])
def test_the_axis_is_what_sets_the_length_of_a_run(demo, monkeypatch, flags, against):
    drawn = []
    monkeypatch.setattr("glagcn.train.reports.draw_training_curves", lambda *arguments: drawn.append(arguments))
    assert demo(f"--run r --frames 9 --eval_windows 128 --export_training_curves {flags}").code == 0
    assert {(folder.name, axis, name) for folder, axis, _, name in drawn} == {("r", against, "validation")}
    assert all(100 < baseline < 400 for *_, baseline, _ in drawn)


WANDB = """
from types import SimpleNamespace
calls = []
config = SimpleNamespace(update=lambda values, allow_val_change: calls.append(("config", values)))
Image = lambda picture: picture.shape
def init(**settings):
    calls.append(("init", settings))
    run = {"id": settings["id"] or "run7", "config": config, "log": lambda values, step: log(values, step)}
    return SimpleNamespace(finish=lambda: calls.append(("finish",)), **run)
def log(values, step):
    calls.append(("log", values, step))
"""
MLFLOW = """
from types import SimpleNamespace
calls = []
experiments = []
set_experiment = experiments.append
def start_run(**settings):
    calls.append(("init", {**settings, "experiment": experiments[-1]}))
    return SimpleNamespace(info=SimpleNamespace(run_id=settings["run_id"] or "run7"))
log_params = lambda values: calls.append(("config", values))
log_metrics = lambda values, step: calls.append(("log", values, step))
log_figure = lambda figure, artifact_file: calls.append(("figure", artifact_file))
end_run = lambda: calls.append(("finish",))
"""
SOURCES = {"wandb": WANDB, "mlflow": MLFLOW}


@pytest.fixture(params=["wandb", "mlflow"])
def service(request, tmp_path, monkeypatch):
    """The module that stands for a package; its `calls` are what it was told."""
    for name in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "MLFLOW_TAGS", "MLFLOW_NESTED_RUN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "packages").mkdir()
    (tmp_path / f"packages/{request.param}.py").write_text(SOURCES[request.param])
    monkeypatch.syspath_prepend(tmp_path / "packages")
    before = sys.modules.pop(request.param, None)
    yield importlib.import_module(request.param)
    sys.modules.pop(request.param)
    if before:
        sys.modules[request.param] = before


def told(service, kind):
    return [call[1:] for call in service.calls if call[0] == kind]


def test_the_curves_and_the_result_arrive_in_one_run(service, demo, tmp_path):
    assert demo(f"--run r --frames 9 --log_steps 3 --log_with {service.__name__}").code == 0
    folder = tmp_path / "runs/r"
    points = [(name, step, value) for values, step in told(service, "log") for name, value in values.items()]
    assert [step for name, step, _ in points if name == "error_mm/train"] == [3, 6]
    assert [step for name, step, _ in points if name == "error_mm/validation"] == [5, 6]
    result = json.loads((folder / "result.json").read_text())["mpjpe_mm"]
    assert [value for name, _, value in points if name == "test/mpjpe_mm"] == [pytest.approx(result)]
    ((options,),) = told(service, "config")
    assert (options["frames"], options["dataset"]) == ("9", "demo")
    ((settings,),) = told(service, "init")
    assert "r" in (settings.get("name"), settings.get("run_name"))
    assert "glagcn" in (settings.get("project"), settings.get("experiment"))
    if service.__name__ == "mlflow":
        assert told(service, "figure") == [("validation/skeletons_5.png",), ("validation/skeletons_6.png",)]
    else:
        picture, _ = (value for name, _, value in points if name == "validation/skeletons")
        assert len(picture[0]) == 3  # height, width, colours
    assert service.calls[-1] == ("finish",)
    assert not (folder / "tensorboard").exists()


def test_a_prolonged_run_goes_on_in_the_same_run(service, demo):
    flags = f"--run r --frames 9 --log_with {service.__name__}"
    assert demo(flags).code == 0
    assert demo(f"{flags} --max_steps 8").code == 0
    key = "id" if service.__name__ == "wandb" else "run_id"
    assert [settings[key] for (settings,) in told(service, "init")] == [None, "run7"]
    assert len(told(service, "config")) == 1  # MLflow refuses to change a parameter


def test_a_service_that_fails_later_ends_its_curves_only(service, demo, tmp_path, monkeypatch):
    def away(values, step):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(service, "log" if service.__name__ == "wandb" else "log_metrics", away)
    ended = demo(f"--run r --frames 9 --log_with {service.__name__}")
    assert ended.code == 0
    assert ended.out.count(f"WARNING: {service.__name__} failed: no route; the run goes on without it") == 1
    assert (tmp_path / "runs/r/result.json").exists()


def test_a_service_that_cannot_start_is_one_message(service, demo, monkeypatch):
    def refuse(**settings):
        raise RuntimeError("api_key not configured\nmore")

    monkeypatch.setattr(service, "init" if service.__name__ == "wandb" else "start_run", refuse)
    refused = demo(f"--run r --frames 9 --log_with {service.__name__}")
    assert_refused(refused, f"--log_with {service.__name__} cannot start: api_key not configured; log in, or set")


def test_a_missing_package_is_said_before_the_data_are_read_and_a_folder_of_offline_runs_is_none(
    train, tmp_path, monkeypatch
):
    (tmp_path / "mlflow").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    ended = train(f"--dataset 3dhp --root_path {tmp_path}/nowhere --log_with mlflow")
    assert_refused(ended, "--log_with mlflow needs a package that is not installed: pip install mlflow")
    monkeypatch.setattr("glagcn.train.log.find_spec", lambda package: None)
    assert_refused(train("--dataset demo --log_with wandb"), "is not installed: pip install wandb")
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow"]


def test_none_draws_nothing_and_writes_no_curves_elsewhere(demo, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("glagcn.evaluate.figures.skeleton_figure", drawn.append)
    ended = demo("--run r --frames 9 --log_with none")
    assert ended.code == 0
    assert {"metrics.jsonl", "log.txt"} <= {path.name for path in (tmp_path / "runs/r").iterdir()}
    assert not [path for path in (tmp_path / "runs/r").iterdir() if path.name in ("tensorboard", "training_curves.png")]
    assert f"curves     {tmp_path}/runs/r/metrics.jsonl" in ended.out
    assert demo(f"--evaluate {tmp_path}/runs/r/best.pt --log_with none --output {tmp_path}/results").code == 0
    assert drawn == []


@pytest.mark.parametrize("flag", ["--wandb", "--wandb_project=a", "--tensorboard", "--report_to=wandb"])
def test_flags_of_other_trainers_name_log_with(train, flag):
    assert_refused(train(f"--dataset demo {flag}"), "--log_with tensorboard")
