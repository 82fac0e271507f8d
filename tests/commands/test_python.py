"""`glagcn.train` and `glagcn.evaluate` do what the commands do, and return the result."""

import inspect
import json
import os

import pytest

import glagcn
from glagcn import signals
from glagcn.config.options import OPTIONS
from glagcn.config.parse import parse_flags, parse_keywords
from tests.command_line import TINY

TINY_OPTIONS = {
    "channel": 4, "batch_size": 64, "subset": 0.02, "test_frames": 40, "max_steps": 6, "log_steps": 2, "workers": 1,
    "log_with": "none", "export_training_curves": False,
}  # fmt: skip


def test_the_options_are_those_of_the_other_tests():
    assert parse_keywords(TINY_OPTIONS) == parse_flags(TINY.split())


def test_train_and_evaluate_return_the_results_of_the_commands(trained, demo_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MPLBACKEND", "a notebook's")
    options = {"dataset": "demo", "root_path": demo_root, "checkpoint": tmp_path, "run": "r", "frames": 9}
    result = glagcn.train(**options, **TINY_OPTIONS)
    command = json.loads((trained / "result.json").read_text())
    assert result == json.loads((tmp_path / "r/result.json").read_text())
    assert result["mpjpe_mm"] == command["mpjpe_mm"]
    assert repr(result) == f"Result({result.headline}; {tmp_path / 'r'})"
    assert "Done:" in capsys.readouterr().out
    assert glagcn.train(**options, **TINY_OPTIONS) == result  # it is finished
    scored = glagcn.evaluate(tmp_path / "r", root_path=demo_root, output=tmp_path / "scores", test_frames=40)
    assert (scored["mpjpe_mm"], scored.folder) == (result["mpjpe_mm"], tmp_path / "scores")
    assert os.environ["MPLBACKEND"] == "a notebook's"


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (glagcn.train, {"fames": 9}, "no flag --fames; did you mean frames"),
        (glagcn.train, {"frames": "nine"}, "invalid int value: 'nine'"),
        (glagcn.train, {"frames": 8}, "frames 8"),
        (glagcn.train, {"dataset": "h37m"}, "invalid choice: 'h37m'"),
        (glagcn.evaluate, {"checkpoint": "none.pt"}, "none.pt"),
        (glagcn.evaluate, {"checkpoint": "none.pt", "lr": 1}, "--lr has no effect on evaluate; it takes dataset, "),
    ],
)
def test_options_are_checked_as_flags_are(function, options, words):
    with pytest.raises(glagcn.UserError, match=words):
        function(**options)


def test_interrupting_is_a_keyboard_interrupt(monkeypatch):
    def stop(*_):
        raise signals.Stopped(2)

    monkeypatch.setattr("glagcn.cli.run", stop)
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGINT"):
        glagcn.train(dataset="demo")


def test_notebooks_show_the_options():
    shown = inspect.signature(glagcn.train).parameters
    assert list(shown) == [key for key in OPTIONS if key != "evaluate"]
    assert OPTIONS["frames"].help in glagcn.train.__doc__
    assert list(inspect.signature(glagcn.evaluate).parameters)[:2] == ["checkpoint", "dataset"]
