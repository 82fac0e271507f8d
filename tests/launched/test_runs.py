"""Runs from start to end: resuming, evaluating and refusing, on one process and on several."""

import pytest
import torch

from tests.command_line import result
from tests.faults.runs import assert_same, progress, records
from tests.launched.conftest import SMALL, assert_is_last

pytestmark = pytest.mark.launched


def test_debug_goes_the_whole_way_and_says_nothing_that_is_not_its_own(run, tmp_path):
    """Libraries print their notices to stderr, each from every rank.  Warnings are as Python shows them by default."""
    done = run("--debug --check_replicas 2", 2, PYTHONWARNINGS="")
    assert (done.code, done.err) == (0, "")
    assert "Processes: 2" in done.out
    assert "DEBUG:" in done.out
    folder = tmp_path / "demo_gt_f27_c8_unshared1_ray_tuned_seed0_debug"
    assert {"last.pt", "best.pt", "result.json", "log.txt", "tensorboard"} <= {p.name for p in folder.iterdir()}


def test_an_end_between_evaluations_leaves_no_trace(train, demo_root, tmp_path):
    # The run is evaluated at step 42, stopped at 50 (with an evaluation of its own), and goes on to 54.
    small = "--frames 9 --log_with none --no-export_training_curves --eval_epochs 1 --validation_frames 40"
    common = f"{' '.join(SMALL)} {small} --root_path {demo_root} -c {tmp_path}"
    for name, stops in (("whole", [54]), ("parts", [50, 54])):
        for stop in stops:
            assert train(f"{common} --max_steps {stop} --run {name}").code == 0
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert_same(parts, whole)
    assert_same(parts, whole, "best.pt")
    assert progress(parts) == progress(whole)
    assert records(parts) == records(whole)
    assert result(parts)["step"] == result(whole)["step"]
    assert [result(folder)["test_evaluations"] for folder in (whole, parts)] == [1, 2]
    moved = "at step 50 the end was moved from step 50 to 54; the schedule was not stretched"
    assert [result(folder)["other_lengths"] for folder in (whole, parts)] == [[], [moved]]


def test_dry_run_stops_after_the_summary(demo, tmp_path):
    done = demo("--dry_run --batch_size 3")
    assert done.code == 0
    for words in (
        "Estimate: 0:",
        "GB of memory\n",
        "Processes: 1",
        "parameters",
        "GFLOP per window",
        "steps in all",
        "* channels",
        "Dry run",
    ):
        assert words in done.out
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_is_not_finite_is_refused_on_every_rank(run, train, demo_root, tmp_path):
    flags = "--lr 1e30 --warmup 0 --save_steps 1 --run r"
    done = run(flags, 2)
    assert done.code != 0
    assert done.messages.count("is not finite, so the step was not taken") == 1
    assert "the last good checkpoint is" in done.err
    good = torch.load(tmp_path / "r/last.pt", weights_only=True)["progress"]["step"]
    refusal = f"of step {good + 1} (batch {good + 1} of epoch 1) is not finite"
    assert refusal in done.err
    assert refusal in train(f"{' '.join(SMALL)} --root_path {demo_root} -c {tmp_path} {flags}").err
    assert torch.load(tmp_path / "r/last.pt", weights_only=True)["progress"]["step"] == good


def test_one_message_from_many_ranks(run, tmp_path):
    done = run("--batch_size 1", 2)
    assert done.code != 0
    assert done.messages.count("--batch_size 1 is smaller than the 2 processes") == 1
    assert_is_last(done.err, "error: --batch_size 1 is smaller than the 2 processes; .*, or start fewer processes")
    assert 'main_sagcn_gpus.py", line' not in done.err  # torchrun prints a traceback of its own
    assert list(tmp_path.iterdir()) == []
