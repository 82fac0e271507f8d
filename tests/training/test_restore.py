"""A training state that no longer fits is refused with one message, or an older one is taken; never a traceback."""

import json
import shutil

import pytest
import torch

from glagcn.checkpoints import ours as checkpoint
from glagcn.train.resume import restore_optimizer
from tests.command_line import assert_refused


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a run folder at its end, and a function that spoils its last.pt."""
    folder = shutil.copytree(trained, tmp_path / "runs/r")
    for name in ("best.pt", "last.pt.1", "result.json"):
        (folder / name).unlink(missing_ok=True)

    def spoil(change):
        content = torch.load(folder / "last.pt", weights_only=True)
        change(content)
        checkpoint.save(folder / "last.pt", content)

    return folder, spoil


def other_weights(content):
    content["model"]["head.unshared.bias"] = torch.zeros(2)


def test_weights_of_another_shape_are_refused(demo, run):
    _, spoil = run
    spoil(other_weights)
    assert_refused(demo("--run r --frames 9"), r"last\.pt", r"head\.unshared\.bias.*\[2\]", "--fresh")


def test_an_older_state_is_taken_instead(demo, run):
    folder, spoil = run
    shutil.copy(folder / "last.pt", folder / "last.pt.1")
    spoil(other_weights)
    ended = demo("--run r --frames 9")
    assert ended.code == 0, ended.err
    assert "head.unshared.bias" in ended.out
    assert "resuming from" in ended.out


def test_other_options_are_named_rather_than_the_weights_that_they_change(demo, run):
    assert_refused(demo("--run r --frames 27"), "--frames is 27 now and was 9")


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000])
def test_options_come_from_the_checkpoint_if_config_json_is_damaged(demo, run, text):
    folder, _ = run
    held = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(text)
    ended = demo("--run r --frames 9")
    assert ended.code == 0, ended.err
    assert json.loads((folder / "config.json").read_text())["batch_size"] == held["batch_size"]


def test_switches_are_those_of_this_run():
    optimizer = torch.optim.Adam(torch.nn.Linear(3, 3).parameters(), amsgrad=False, fused=True)
    state = optimizer.state_dict()
    state["param_groups"][0] |= {"amsgrad": True, "fused": False, "eps": 0.5}
    restore_optimizer(optimizer, state)
    (group,) = optimizer.param_groups
    assert (group["amsgrad"], group["fused"], group["eps"]) == (False, True, 0.5)
