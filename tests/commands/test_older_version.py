"""A run folder that version 0.1.0 left, before options had groups: tests/golden/older_run."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from glagcn.config.resolve import from_dict, parse_command_line
from tests.launched.conftest import launch, trainer

OLDER = Path(__file__).parents[1] / "golden" / "older_run"
FLAGS = shlex.split(
    "-d demo --channel 4 --frames 9 --sequence_layers 1 -b 16 --no_eval --test_frames 60 --validation_frames 60 "
    "--workers 1 --run r --validation S4/Seq1,S8/Seq2"
)


@pytest.fixture
def call(demo_root, tmp_path):
    shutil.copytree(OLDER, tmp_path / "r")
    content = torch.load(tmp_path / "r/last.pt", weights_only=True)
    del content["data_fingerprint"]  # of the demo of that version
    torch.save(content, tmp_path / "r/last.pt")

    def start(*flags):
        done = launch([*trainer(), *FLAGS, "--root_path", str(demo_root), "-c", str(tmp_path), *flags], tmp_path)
        assert (done.code, done.err) == (0, ""), done.err
        return done.out

    return start


def test_its_options_are_those_of_the_same_flags():
    held = from_dict(json.loads((OLDER / "config.json").read_text()))
    now = parse_command_line([*FLAGS, "--save_steps", "3", "--max_steps", "6"])[0]
    assert (held.model, held.selection) == (now.model, now.selection)
    assert held.optim.lr == now.optim.lr


@pytest.mark.launched
def test_it_is_resumed_and_told_what_is_new(call, tmp_path):
    out = call("--max_steps", "9")
    assert "resumed at step 6 of 9" in out
    assert "BatchNorm statistics" in out
    assert json.loads((tmp_path / "r/result.json").read_text())["trained_steps"] == 9


@pytest.mark.launched
def test_it_is_evaluated_and_rendered(call, tmp_path):
    assert "TestSeq1" in call("--evaluate", "last.pt", "--output", str(tmp_path / "results"))
    call("--evaluate", "last.pt", "--render", "--viz_subject", "TS1", "--viz_limit", "2", "--viz_export", "a.npz")
    assert (tmp_path / "a.npz").is_file()
