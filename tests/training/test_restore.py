"""A training state that no longer fits is refused with one message, or an older one is taken; never a traceback."""

import json
import shutil

import pytest
import torch

from glagcn.checkpoints import checkpoint
from glagcn.checkpoints.load import load
from glagcn.errors import UserError
from glagcn.training.optim.restore import restore_optimizer
from tests.command_line import assert_refused


def first_state(content):
    return next(state for state in content["optimizer"]["state"].values() if "momentum" in state)


def widen(content):
    first_state(content)["momentum"] = torch.zeros(3, 3)


def lose_momentum(content):
    first_state(content).clear()


def forget_weights(content):
    content["optimizer"]["param_groups"][0]["params"] = [0]


SPOILT = {
    "another shape": (widen, "optimiser's state of weight"),
    "another form": (lose_momentum, "optimiser's state of weight"),
    "not finite": (lambda content: first_state(content)["momentum"].fill_(float("nan")), "not finite"),
    "other weights": (forget_weights, "optimiser is of other weights"),
    "a rate in words": (lambda content: content["optimizer"]["param_groups"][0].update(lr="x"), "lr is 'x'"),
    "no optimiser": (lambda content: content.update(optimizer=3), "damaged"),
    "no number": (lambda content: content["progress"].update(best_mm="low"), "best error is 'low'"),
    "evaluated later": (lambda content: content["progress"].update(evaluated_step=99), "evaluated_step is 99"),
    "no step": (lambda content: content["progress"].update(step=2.5), "no valid step"),
    "weights of another shape": (
        lambda content: content["model"].update({"head.unshared.bias": torch.zeros(2)}), r"head\.unshared\.bias.*\[2\]",
    ),
    "a batch in words": (lambda content: content["config"].update(batch_size="x"), "batch_size is 'x'"),
    "an endless epoch": (lambda content: content.update(num_windows=-1), "epoch has -1 windows"),
}  # fmt: skip


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a run folder at its end, and a function that spoils its last.pt; the digest fits."""
    folder = shutil.copytree(trained, tmp_path / "runs/r")
    for name in ("best.pt", "last.pt.1", "result.json"):
        (folder / name).unlink(missing_ok=True)

    def spoil(change):
        content = torch.load(folder / "last.pt", weights_only=True)
        change(content)
        checkpoint.save(folder / "last.pt", content)

    return folder, spoil


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_state_that_does_not_fit_is_refused(demo, run, spoilt):
    _, spoil = run
    change, message = SPOILT[spoilt]
    spoil(change)
    assert_refused(demo("--run r --frames 9"), r"last\.pt", message, "--fresh")


def test_an_older_state_is_taken_instead(demo, run):
    folder, spoil = run
    shutil.copy(folder / "last.pt", folder / "last.pt.1")
    spoil(widen)
    ended = demo("--run r --frames 9")
    assert ended.code == 0, ended.err
    assert "optimiser's state of weight" in ended.out
    assert "resuming from" in ended.out


def test_other_options_are_named_rather_than_the_weights_that_they_change(demo, run):
    assert_refused(demo("--run r --frames 27"), "--frames is 27 now and was 9")


@pytest.mark.parametrize("text", ['{"batch_size": "x"}', '{"batch_size": -3}', "[]", "{", "[" * 100_000])
def test_options_come_from_the_checkpoint_if_config_json_is_damaged(demo, run, text):
    folder, _ = run
    held = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(text)
    ended = demo("--run r --frames 9")
    assert ended.code == 0, ended.err
    assert json.loads((folder / "config.json").read_text())["batch_size"] == held["batch_size"]


@pytest.mark.parametrize(
    "form",
    [{"channels": 10**6}, {"sequence_layers": 10**6}, {"channels": 16_000, "sequence_layers": 100}],
)
def test_a_form_far_larger_than_the_file_is_refused_before_memory_is_taken(run, form):
    folder, spoil = run
    spoil(lambda content: content["model_config"].update(form))
    with pytest.raises(UserError, match=r"last\.pt"):
        load(folder / "last.pt")


def test_switches_are_those_of_this_run():
    optimizer = torch.optim.Adam(torch.nn.Linear(3, 3).parameters(), amsgrad=False, fused=True)
    state = optimizer.state_dict()
    state["param_groups"][0] |= {"amsgrad": True, "fused": False, "eps": 0.5}
    restore_optimizer(optimizer, state)
    (group,) = optimizer.param_groups
    assert (group["amsgrad"], group["fused"], group["eps"]) == (False, True, 0.5)
