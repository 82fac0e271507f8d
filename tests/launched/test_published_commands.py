"""Every command in the table "published | here" of docs/training.md, on files in the real layouts."""

import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from tests.launched.conftest import REPOSITORY, launch, trainer
from tests.published_files import write_folder

TEXT = (REPOSITORY / "docs/training.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\| .* \| `python main_sagcn_gpus\.py (.*)` \|$", TEXT, re.MULTILINE)
# A step of a small model in place of days; the flags that shape the run stay as they are.
SHORT = "-ch 8 -b 16 -e 1 --max_steps 1 --test_frames 24 --log_steps 1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("published"))


def start(command: str, folder: Path, processes: int, extra: str = ""):
    ended = launch([*trainer(processes), *shlex.split(f"{command} {extra} --workers 1")], folder)
    assert ended.code == 0, ended.err
    return ended


def test_the_table_has_all_of_them():
    assert len(COMMANDS) == 8
    assert sum("--evaluate" in command for command in COMMANDS) == 5


@pytest.mark.launched
@pytest.mark.xdist_group("published commands")
@pytest.mark.parametrize("command", [c for c in COMMANDS if "--evaluate" in c and "--render" not in c])
def test_evaluating_scores_every_action(folder, command):
    ended = start(command, folder, 2, "--output results")
    result = json.loads((folder / "results/result.json").read_text())
    assert result["processes"] == 2
    assert "mean over actions" in ended.out
    assert ("Validate/S3 " in ended.out) == ("--by-subject" in command)
    assert set(result["actions"]) == ({"Walking", "Jog", "Box"} if "humaneva" in command else {"Directions", "Walking"})


@pytest.mark.launched
@pytest.mark.xdist_group("published commands")
@pytest.mark.parametrize("command", [c for c in COMMANDS if "--evaluate" not in c])
def test_training_runs(folder, command):
    ended = start(command, folder, 2, f"{SHORT} --run p{COMMANDS.index(command)}")
    assert "Processes: 2, on" in ended.out
    assert re.search(r"Done:\n  test +MPJPE", ended.out)
    copies = 2 if "-da" in command else 1
    assert f"Plan: {5 * 3 * 4 * 24 * copies:,} windows per epoch" in ended.out  # subjects, takes, cameras, frames


@pytest.mark.launched
@pytest.mark.xdist_group("published commands")
def test_rendering_runs(folder):
    (command,) = (c for c in COMMANDS if "--render" in c)
    start(command, folder, 1, "--viz-limit 3 --viz-size 2")
    with Image.open(folder / "out.gif") as picture:
        assert picture.n_frames == 3
    (folder / "out.gif").unlink()
