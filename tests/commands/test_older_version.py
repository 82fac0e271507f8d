"""A run folder that version 0.1.0 left, before options had groups: tests/golden/older_run."""

import json
import shutil
from pathlib import Path

import pytest

from glagcn.config.resolve import from_dict, parse_command_line
from tests.command_line import assert_refused

OLDER = Path(__file__).parents[1] / "golden" / "older_run"
FLAGS = (
    "-d demo --channel 4 --frames 9 --sequence_layers 1 -b 16 --no_eval --test_frames 60 --validation_frames 60 "
    "--workers 1 --run r --validation S4/Seq1,S8/Seq2 --frame camera"
)


@pytest.fixture
def call(train, demo_root, tmp_path):
    shutil.copytree(OLDER, tmp_path / "r")
    return lambda flags: train(f"{FLAGS} --root_path {demo_root} -c {tmp_path} {flags}")


def test_its_options_are_those_of_the_same_flags():
    held = from_dict(json.loads((OLDER / "config.json").read_text()))
    now = parse_command_line([*FLAGS.split(), "--save_steps", "3", "--max_steps", "6"])[0]
    assert (held.model, held.selection) == (now.model, now.selection)
    assert held.optim.lr == now.optim.lr


def test_it_is_not_resumed(call):
    assert_refused(call("--max_steps 9"), "cannot go on: version 0.1.0 wrote it", "--run NAME for another folder")


def test_its_weights_are_taken(call):
    assert "from the weights of" in call(f"--run new --resume {OLDER}/last.pt --max_steps 1").out


def test_it_is_evaluated_and_rendered(call, tmp_path):
    assert "TestSeq1" in call(f"--evaluate last.pt --output {tmp_path}/results").out
    call(f"--evaluate last.pt --render --viz_subject TS1 --viz_limit 2 --viz_export {tmp_path}/a.npz")
    assert (tmp_path / "a.npz").is_file()
