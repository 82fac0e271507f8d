"""`glagcn.train` and `glagcn.evaluate` do what the commands do, and return the result."""

import inspect
import json
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import glagcn
from glagcn import signals
from glagcn.config.options import OPTIONS
from glagcn.config.parse import parse_flags, parse_keywords
from tests.command_line import TINY
from tests.commands.filmed import keypoints
from tests.poses.keypoints import written

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


class Table(SimpleNamespace):
    """What pandas is asked for in docs/python.md."""

    def __init__(self, columns: dict) -> None:
        super().__init__(**columns, columns=columns, attrs={})

    def __getitem__(self, rows):
        return SimpleNamespace(y_mm=self.y_mm[np.equal(self.joint, "right_wrist")])


def test_the_notebook_of_the_documentation_runs(demo_root, tmp_path, monkeypatch):
    """Its cells in order, beside a keypoint file, with the models that come with the program."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(demo_root, "data")
    written.ultralytics_list(tmp_path, keypoints(12) * [3, 2.25, 1]).rename("keypoints.json")
    text = (Path(__file__).parents[2] / "docs/python.md").read_text(encoding="utf-8")
    cells = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names = {"pose_2d": np.random.default_rng(0).uniform(0, 1000, (5, 17, 2)), "truth": np.zeros((5, 17, 3))}
    shown = []
    for cell in cells:
        with monkeypatch.context() as patch:
            if "to_dataframe" in cell:
                patch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=Table))
            exec(cell, names)
        last = cell.strip().splitlines()[-1]
        shown.append(eval(last, names) if re.fullmatch(r"people|result\.headline.*", last) else None)
    assert len(cells) == 9
    people, person = names["people"], names["person"]
    assert re.fullmatch(r"\[Poses\(person 1, 12 frames, .* m away\)\]", repr(people))
    assert re.search(r"\[Poses\(person 1, .* m away\)\]", text)
    assert {path.name for path in tmp_path.glob("person.*")} == {
        f"person.{kind}" for kind in ("bvh", "csv", "html", "npz")
    }
    assert person._repr_png_().startswith(b"\x89PNG")
    assert "<iframe srcdoc=" in person.view()._repr_html_()
    assert repr(person.view()).startswith("Page(")
    np.testing.assert_array_equal(names["heights"], person.xyz[:, names["wrist"], 1])
    assert names["table"].attrs["axes"] == "camera"
    assert set(names["table"].columns) < set(Path("person.csv").read_text().splitlines()[0].split(","))
    assert names["pose_3d"].shape == (5, 17, 3)
    assert names["pose"].shape == (17, 3)
    assert shown[-2] == (names["result"].headline, names["result"]["mpjpe_mm"], names["result"].folder)
    assert names["scores"]["mpjpe_mm"] > 0


def test_without_pandas_a_table_says_what_to_install(monkeypatch, trained):
    monkeypatch.setitem(sys.modules, "pandas", None)
    options = {"joints": "coco17", "image_size": (640, 480), "fps": 25, "checkpoint": trained}
    (person,) = glagcn.lift(keypoints(3)[:, 0], **options)
    with pytest.raises(glagcn.UserError, match="pip install pandas"):
        person.to_dataframe()
