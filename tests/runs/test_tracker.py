"""--log_with wandb and mlflow, with stand-ins for the packages; accelerate's trackers are the real ones."""

import importlib
import json
import sys

import pytest

from tests.command_line import assert_refused

WANDB = """
from types import SimpleNamespace
calls = []
config = SimpleNamespace(update=lambda values, allow_val_change: calls.append(("config", values)))
Image = lambda picture: picture.shape
def init(**settings):
    calls.append(("init", settings))
    return SimpleNamespace(id=settings["id"] or "run7", log=log, finish=lambda: calls.append(("finish",)))
def log(values, step):
    calls.append(("log", values, step))
"""
MLFLOW = """
from types import SimpleNamespace
calls = []
utils = SimpleNamespace(validation=SimpleNamespace(MAX_PARAM_VAL_LENGTH=500, MAX_PARAMS_TAGS_PER_BATCH=100))
def start_run(**settings):
    calls.append(("init", settings))
    return SimpleNamespace(info=SimpleNamespace(run_id=settings["run_id"] or "run7"))
search_experiments = lambda filter_string: []
create_experiment = lambda name, artifact_location, tags: name
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
    assert "glagcn" in (settings.get("project"), settings.get("experiment_id"))
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


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_said_before_the_data_are_read(name, train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("glagcn.train.log.find_spec", lambda package: None)
    ended = train(f"--dataset 3dhp --root_path {tmp_path}/nowhere --log_with {name}")
    assert_refused(ended, f"--log_with {name} needs a package that is not installed: pip install {name}")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_offline_runs_is_no_package(train, tmp_path, monkeypatch):
    (tmp_path / "mlflow").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert_refused(train("--dataset demo --log_with mlflow"), "pip install mlflow")


def test_none_writes_no_curves_elsewhere(demo, tmp_path):
    ended = demo("--run r --frames 9 --log_with none")
    assert ended.code == 0
    assert (tmp_path / "runs/r/metrics.jsonl").exists()
    assert not (tmp_path / "runs/r/tensorboard").exists()
    assert f"curves     {tmp_path}/runs/r/metrics.jsonl" in ended.out


@pytest.mark.parametrize("flag", ["--wandb", "--wandb_project=a", "--tensorboard", "--report_to=wandb"])
def test_flags_of_other_trainers_name_log_with(train, flag):
    assert_refused(train(f"--dataset demo {flag}"), "--log_with tensorboard")
