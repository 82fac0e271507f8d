"""A run of three processes that is killed, stopped and resumed (.ci/nightly does so under every launcher)."""

import shlex
import signal

import pytest

from tests.command_line import result
from tests.faults.disturbed import check_stop
from tests.faults.runs import LAUNCHERS, SCRIPT, SMALL, assert_same, progress, records, send, start, undisturbed

pytestmark = [pytest.mark.launched, pytest.mark.xdist_group("three processes")]
# 42 steps an epoch: the run is resumed in the middle of one, and ends in the middle of another.
FLAGS = "--max_steps 96 --save_steps 3 --log_with none --no-export_training_curves"


@pytest.fixture(scope="module")
def three():
    """A launcher that starts three processes, and starts them again when one is killed."""
    with pytest.MonkeyPatch.context() as patch:
        command = f"torchrun --standalone --nproc_per_node=3 --max-restarts=3 -- {SCRIPT}"
        patch.setitem(LAUNCHERS, "three", shlex.split(command))
        yield "three"


@pytest.fixture(scope="module")
def whole(three, demo_root, tmp_path_factory):
    """The run folder of an undisturbed run."""
    return undisturbed(three, demo_root, tmp_path_factory.mktemp("runs") / "whole", FLAGS)


def test_a_run_that_is_killed_and_stopped_ends_bit_for_bit_as_an_undisturbed_one(three, whole, demo_root, tmp_path):
    """The kill and the signal reach one worker: the launcher starts all again after the kill, not after the signal."""
    run = start(three, demo_root, tmp_path / "run", FLAGS)
    run.reach(8)
    send(run, signal.SIGKILL, "one")
    run.reach(28)  # with new workers
    run.known = []
    code, step = check_stop(run, signal.SIGTERM, "one")
    assert code != 0
    assert "resumed at step" in run.log.read_text()
    again = start(three, demo_root, tmp_path / "run", FLAGS)
    again.finish()
    log = again.log.read_text()
    assert f"resumed at step {step} of 96" in log
    assert not (run.folder / "stopped.json").exists()
    assert_same(run.folder, whole)
    assert progress(run.folder) == progress(whole)
    assert records(run.folder) == records(whole)
    assert result(run.folder)["mpjpe_mm"] == result(whole)["mpjpe_mm"]


def test_one_process_evaluates_and_resumes_what_three_have_trained(whole, train, demo_root, tmp_path):
    assert whole.with_suffix(".log").read_text().count("Speed: ") == 1  # of all processes
    assert {"inference_data.mat", "mpii_3dhp_evaluation_sequencewise.csv"} <= {path.name for path in whole.iterdir()}
    common = f"{' '.join(SMALL)} --root_path {demo_root} -c {whole.parent} --run whole {FLAGS}"
    assert "TestSeq6" in train(f"{common} --evaluate --output {tmp_path}").out
    one, three = result(tmp_path), result(whole)
    for name in ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "pck", "auc", "frames"):
        assert three[name] == pytest.approx(one[name], abs=1e-4), name
    assert "resumed at step 96 of 100" in train(f"{common} --max_steps 100").out
    assert progress(whole)["step"] == 100
