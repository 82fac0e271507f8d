"""The state in a checkpoint: written, restored, refused, and taken over by another run (--resume)."""

import json
import re
import shutil

import pytest
import torch

from glagcn import cli
from glagcn.checkpoints import ours as checkpoint
from glagcn.train.resume import restore_optimizer
from tests.command_line import TINY, assert_refused, listing
from tests.data.tiny_videopose3d import write_h36m


@pytest.fixture
def run(finished):
    """A copy of a run folder at its end, and a function that spoils its last.pt."""
    folder = finished
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
    assert_refused(demo("--run r --frames 9"), "runs/r", r"head\.unshared\.bias.*\[2\]")


def test_an_older_state_is_taken_instead(demo, run):
    folder, _ = run
    (folder / "last.pt").rename(folder / "last.pt.1")
    (folder / "last.pt").write_bytes((folder / "last.pt.1").read_bytes()[:-700])
    ended = demo("--run r --frames 9")
    assert ended.code == 0, ended.err
    assert re.search(r"last\.pt: the file is truncated.*resuming from .*last\.pt\.1 \(step 6\)", ended.out)


def test_other_options_are_named_rather_than_the_weights_that_they_change(demo, run):
    assert_refused(demo("--run r --frames 27"), "--frames is 27 now and was 9")


def test_options_come_from_the_checkpoint_whatever_config_json_holds(demo, run):
    folder, _ = run
    held = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text("{")
    ended = demo("--run r --frames 9")
    assert ended.code == 0, ended.err
    assert json.loads((folder / "config.json").read_text())["batch_size"] == held["batch_size"]


def test_switches_are_those_of_this_run():
    optimizer = torch.optim.Adam(torch.nn.Linear(3, 3).parameters(), amsgrad=False, fused=True)
    state = optimizer.state_dict()
    state["param_groups"][0] |= {"amsgrad": True, "fused": False, "capturable": True, "eps": 0.5}
    restore_optimizer(optimizer, state)
    (group,) = optimizer.param_groups
    switches = group["amsgrad"], group["fused"], group["capturable"]  # the last is of a run on a GPU
    assert (*switches, group["eps"]) == (False, True, False, 0.5)


RUN = "--frames 9 --epochs 2 --max_steps 10 --checkpoint_frequency 1"  # two epochs of five steps


@pytest.fixture(scope="module")
def trained_once(demo_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    flags = f"--dataset demo --root_path {demo_root} -c {folder} --run first {TINY} {RUN}"
    assert cli.train_main(flags.split()) == 0
    return folder / "first"


@pytest.fixture
def first(trained_once, tmp_path):
    return shutil.copytree(trained_once, tmp_path / "runs/first")


def test_every_epoch_is_kept_that_should_be(demo, first, tmp_path):
    assert sorted(path.name for path in first.glob("epoch_*.pt")) == ["epoch_1.pt", "epoch_2.pt"]
    assert checkpoint.load(first / "epoch_1.pt")["progress"]["step"] == 5
    assert demo(f"--run new {RUN} --keep 1").code == 0
    assert sorted(path.name for path in (tmp_path / "runs/new").glob("epoch_*.pt")) == ["epoch_2.pt"]


def test_a_whole_state_goes_on_where_it_was(demo, first, tmp_path):
    ended = demo(f"--run second {RUN} --resume {first}/epoch_1.pt")
    assert f"Started from the state of {first}/epoch_1.pt, step 5" in ended.out
    ours, theirs = (checkpoint.load(folder / "last.pt") for folder in (tmp_path / "runs/second", first))
    assert ours["progress"]["step"] == theirs["progress"]["step"] == 10
    for name, tensor in theirs["model"].items():
        assert torch.equal(ours["model"][name], tensor), name
    again = demo(f"--run second {RUN} --resume {first}/epoch_1.pt")
    assert "is finished at step 10" in again.out  # the same command goes on from the run's own state
    assert "is finished at step 10" in demo(f"--run first {RUN} --resume last.pt").out


def test_a_finished_state_is_evaluated_where_it_is_taken_to(demo, first, tmp_path):
    ended = demo(f"--run second {RUN} --resume {first}/last.pt")
    assert "step 10" in ended.out
    assert (tmp_path / "runs/second/best.pt").is_file()
    assert (tmp_path / "runs/second/result.json").is_file()


def test_with_other_options_only_the_weights_are_taken_and_it_is_said(demo, first, tmp_path):
    ended = demo(f"--run second {RUN} --lr 1e-9 --lr_final 1e-9 --max_steps 1 --resume {first}/epoch_2.pt")
    assert "optimiser, learning rate and epoch count start from scratch" in ended.out
    assert "--lr is 1e-09 now and was 0.016" in ended.out
    ours, theirs = (checkpoint.load(folder / "last.pt")["model"] for folder in (tmp_path / "runs/second", first))
    torch.testing.assert_close(ours["head.unshared.weight"], theirs["head.unshared.weight"], rtol=0, atol=1e-7)
    shutil.move(first / "epoch_2.pt", tmp_path / "elsewhere.pt")  # a run that was stopped does not need it any more
    assert demo(f"--run second {RUN} --lr 1e-9 --lr_final 1e-9 --max_steps 2 --resume {first}/epoch_2.pt").code == 0


def test_exported_weights_say_what_they_lack(demo, verb, first, tmp_path):
    assert verb(f"export {first}/best.pt --out {tmp_path}/runs/weights.pt").code == 0
    ended = demo(f"--run second {RUN} --resume weights.pt")  # found in the -c folder
    assert "because its checkpoint has no optimizer, progress, num_windows" in ended.out


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ("--run second --channel 8 --resume {}/last.pt", ("--channel is 8 and was 4", "another network")),
        ("--run second --resume nowhere.pt", ("--resume nowhere.pt: no such checkpoint", "runs/second/nowhere.pt")),
        ("--run first --resume {}/epoch_1.pt", ("at step 10 that did not start from --resume", "--fresh", "--run")),
    ],
)
def test_what_cannot_start_is_refused_and_leaves_all_as_it_was(demo, first, tmp_path, flags, parts):
    before = listing(tmp_path)
    assert_refused(demo(f"{RUN} {flags.format(first)}"), *parts)
    assert listing(tmp_path) == before


def test_what_differs_in_our_network_is_named_as_flags_are(train, demo, first, tmp_path):
    """Not as entries of the model's configuration are: there is no --skeleton and no h36m17."""
    assert_refused(
        demo(f"{RUN} --run second --graph h36m --resume {first}/last.pt"), "--graph is h36m and was mpi3dhp17"
    )
    write_h36m(tmp_path / "data", keypoints=("gt",))
    flags = f"-d h36m --root_path {tmp_path}/data -c {tmp_path}/runs -ch 4 -arc 3,3 --resume {first}/last.pt"
    refused = train(flags)
    assert_refused(refused, r"the skeleton of the data \(-d, -k\) is h36m17 and was mpi3dhp17")
    assert "--graph" not in refused.err


def test_a_published_file_of_other_joints_is_refused(demo, tmp_path):
    golden = "tests/golden/h36m_27f.bin"
    assert_refused(demo(f"--frames 27 --channel 16 --resume {golden}"), "is mpi3dhp17 and was h36m17")
    assert not (tmp_path / "runs").exists()


def test_a_stopped_run_with_averaged_weights_ends_as_one_that_was_not_stopped(demo, tmp_path):
    flags = "--frames 9 --ema 0.9 --weight_decay 0.1 --eval_windows 128"
    for name, steps in (("whole", 4), ("parts", 2), ("parts", 4)):
        ended = demo(f"{flags} --run {name} --max_steps {steps}")
        assert ended.code == 0, ended.err
    whole, parts = (torch.load(tmp_path / f"runs/{name}/best.pt", weights_only=True) for name in ("whole", "parts"))
    for entry in ("model", "trained_model"):
        assert all(torch.equal(value, parts[entry][name]) for name, value in whole[entry].items())
    assert any(not torch.equal(value, whole["trained_model"][name]) for name, value in whole["model"].items())
    evaluated = demo(f"--evaluate {tmp_path}/runs/whole --output {tmp_path}/again --frames 9")
    assert evaluated.code == 0, evaluated.err
    errors = [json.loads((folder / "result.json").read_text())["mpjpe_mm"]
              for folder in (tmp_path / "again", tmp_path / "runs/whole")]  # fmt: skip
    assert errors[0] == pytest.approx(errors[1])


def test_a_run_out_of_patience_is_finished_and_goes_on_with_more(demo, tmp_path):
    flags = "--run r --frames 9 --lr 1e-12 --clip 1e-9 --eval_windows 64 --max_steps 30"
    ended = demo(f"{flags} --patience 1")
    assert ended.code == 0, ended.err
    result = json.loads((tmp_path / "runs/r/result.json").read_text())
    assert (result["ended_early"], "ended early, by --patience" in ended.out) == (True, True)
    assert result["trained_steps"] < 30
    again = demo(f"{flags} --patience 1")
    assert f"is finished at step {result['trained_steps']}" in again.out
    longer = demo(f"{flags} --patience 100")
    assert longer.code == 0, longer.err
    assert re.search(rf"resumed at step {result['trained_steps']} of \d+", longer.out)
    assert not json.loads((tmp_path / "runs/r/result.json").read_text())["ended_early"]
    assert_refused(demo("--select_on last --patience 2"), "--patience has no effect with --select_on last")
