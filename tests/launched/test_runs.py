"""Runs from start to end: resuming, evaluating and refusing, on one process and on several."""

import json
import re

import pytest
import torch

from tests.launched.conftest import REPOSITORY, SMALL, launch

pytestmark = pytest.mark.launched
TIMES = {"time", "seconds", "windows_per_second", "memory_gb"}


def same_state(one, other):
    """Assert that two checkpoints are equal bit for bit, times aside."""
    a, b = (torch.load(path, weights_only=True) for path in (one, other))
    for part in ("model", "optimizer"):
        flat_a, flat_b = (torch.utils._pytree.tree_flatten(content[part]) for content in (a, b))
        assert flat_a[1] == flat_b[1]
        for x, y in zip(flat_a[0], flat_b[0], strict=True):
            assert torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
    assert a["progress"] | {"seconds": 0} == b["progress"] | {"seconds": 0}


def records(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def test_three_processes_stopped_and_resumed_are_bit_identical(run, tmp_path):
    # 294 windows in batches of 7: 42 steps an epoch; both ends lie in the middle of one.
    assert run("--max_steps 54 --run whole", 3).code == 0
    assert run("--max_steps 22 --run parts", 3).code == 0
    done = run("--max_steps 54 --run parts", 3)
    assert "resumed at step 22 of 54" in done.out
    assert done.out.count("Speed: ") == 1  # of all processes
    same_state(tmp_path / "whole/last.pt", tmp_path / "parts/last.pt")
    assert records(tmp_path / "whole") == records(tmp_path / "parts")
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "parts")]
    assert results[0]["mpjpe_mm"] == results[1]["mpjpe_mm"]


def test_replicas_are_compared_and_a_run_says_nothing_that_is_not_its_own(run):
    """Libraries print their notices to stderr, each from every rank.  Warnings are as Python shows them by default."""
    done = run("--max_steps 4 --check_replicas 2 --run r", 2, PYTHONWARNINGS="")
    assert (done.code, done.err) == (0, "")


def test_an_end_between_evaluations_leaves_no_trace(train, demo_root, tmp_path):
    # The run is evaluated at step 42, stopped at 50 (with an evaluation of its own), and goes on to 54.
    common = f"{' '.join(SMALL)} --root_path {demo_root} -c {tmp_path}"
    for name, stops in (("whole", [54]), ("parts", [50, 54])):
        for stop in stops:
            assert train(f"{common} --max_steps {stop} --run {name}").code == 0
    same_state(tmp_path / "whole/last.pt", tmp_path / "parts/last.pt")
    same_state(tmp_path / "whole/best.pt", tmp_path / "parts/best.pt")
    assert records(tmp_path / "whole") == records(tmp_path / "parts")
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "parts")]
    assert results[0]["step"] == results[1]["step"]
    assert [found["test_evaluations"] for found in results] == [1, 2]
    moved = "at step 50 the end was moved from step 50 to 54; the schedule was not stretched"
    assert [found["other_lengths"] for found in results] == [[], [moved]]


def test_resumed_and_evaluated_on_other_numbers_of_processes(run, train, demo_root, tmp_path):
    common = f"{' '.join(SMALL)} --root_path {demo_root} -c {tmp_path}"
    assert train(f"{common} --max_steps 10 --run r").code == 0
    done = run("--max_steps 20 --run r", 2)
    assert "resumed at step 10 of 20" in done.out
    assert json.loads((tmp_path / "r/result.json").read_text())["trained_steps"] == 20
    assert train(f"{common} --run r --evaluate --output {tmp_path}/1").code == 0
    done = run(f"--run r --evaluate --output {tmp_path}/3", 3)
    assert done.code == 0, done.err
    assert "TestSeq6" in done.out
    assert (tmp_path / "3/inference_data.mat").exists()
    assert (tmp_path / "3/mpii_3dhp_evaluation_sequencewise.csv").exists()
    one, three = (json.loads((tmp_path / name / "result.json").read_text()) for name in "13")
    for name in ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "pck", "auc"):
        assert three[name] == pytest.approx(one[name], abs=1e-4)
    assert three["frames"] == one["frames"]


def test_a_fresh_run_keeps_the_old_one_beside_it(demo, tmp_path):
    for flags in ("", "--fresh"):
        assert demo(f"--frames 9 --max_steps 2 --run r {flags}").code == 0
    assert (tmp_path / "runs/r.old1/last.pt").exists()
    assert (tmp_path / "runs/r/last.pt").exists()


def test_dry_run_stops_after_the_summary(demo, tmp_path):
    done = demo("--dry_run")
    assert done.code == 0
    for words in ("Processes: 1", "parameters", "GFLOP per window", "steps in all", "* channels", "Dry run"):
        assert words in done.out
    assert list(tmp_path.iterdir()) == []


def test_debug_goes_the_whole_way(run, tmp_path):
    done = run("--debug", 2)
    assert done.code == 0, done.err
    assert "Processes: 2" in done.out
    assert "DEBUG:" in done.out
    folder = tmp_path / "demo_gt_f27_c8_unshared1_tuned_seed0_debug"
    assert {"last.pt", "best.pt", "result.json", "log.txt", "tensorboard"} <= {p.name for p in folder.iterdir()}


def test_a_step_that_is_not_finite_is_refused_on_every_rank(run, tmp_path):
    done = run("--lr 1e30 --warmup 0 --save_steps 1 --run r", 2)
    assert done.code != 0
    assert done.messages.count("is not finite, so the step was not taken") == 1
    assert "the last good checkpoint is" in done.err
    good = torch.load(tmp_path / "r/last.pt", weights_only=True)["progress"]["step"]
    assert f"of step {good + 1} (batch {good + 1} of epoch 1) is not finite" in done.err
    again = run("--lr 1e30 --warmup 0 --save_steps 1 --run r", 2)
    assert f"of step {good + 1} (batch {good + 1} of epoch 1) is not finite" in again.err
    assert torch.load(tmp_path / "r/last.pt", weights_only=True)["progress"]["step"] == good


def test_one_message_from_many_ranks(run, tmp_path):
    done = run("--batch_size 1", 2)
    assert done.code != 0
    assert done.messages.count("--batch_size 1 is smaller than the 2 processes") == 1
    assert_is_last(done.err, "error: --batch_size 1 is smaller than the 2 processes; .*, or start fewer processes")
    assert 'main_sagcn_gpus.py", line' not in done.err  # torchrun prints a traceback of its own
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_the_last_word_of_accelerate_launch(demo_root, tmp_path):
    config = REPOSITORY / "launch/accelerate/cpu_debug.yaml"
    script = str(REPOSITORY / "main_sagcn_gpus.py")
    flags = [*SMALL, "--root_path", str(demo_root), "-c", str(tmp_path), "--evaluate", "nowhere.pt"]
    done = launch(["accelerate", "launch", "--config_file", str(config), script, *flags], tmp_path)
    assert done.code != 0
    assert done.messages.count("error: --evaluate nowhere.pt") == 1  # of two processes
    assert_is_last(done.err, "error: .*nowhere.pt.*")


def assert_is_last(printed: str, message: str) -> None:
    """The launcher's report ends with its block about the first failure, and that with our message."""
    *_, message_line, border = printed.strip().splitlines()
    assert set(border) == {"="}
    assert re.fullmatch(f"  traceback : {message}", message_line), message_line
