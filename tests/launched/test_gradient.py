"""Gradient and running statistics of a global batch do not depend on how many processes compute its micro-batches."""

from pathlib import Path

import pytest
import torch

from tests.launched.conftest import launch

pytestmark = pytest.mark.launched
WORKER = str(Path(__file__).with_name("gradient_worker.py"))


def found_by(tmp_path, processes, count, most, *flags):
    path = tmp_path / f"{processes}{''.join(flags)}.pt"
    arguments = [WORKER, str(path), str(count), str(most), *flags]
    done = launch(["torchrun", "--standalone", f"--nproc_per_node={processes}", *arguments], tmp_path)
    assert done.code == 0, done.err
    assert "sync_buffers" not in done.err  # which newer releases of PyTorch warn of
    assert "broadcast_buffers" not in done.err
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("count", "most", "processes"),
    [(11, 3, 2), (5, 3, 3)],
    ids=["uneven micro-batches", "a rank without any"],
)
def test_they_are_those_of_one_process_in_float64(tmp_path, count, most, processes):
    expected = found_by(tmp_path, 1, count, most)
    for name, value in found_by(tmp_path, processes, count, most).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-11, msg=name)


def test_thirty_steps_of_float32_leave_the_weights_of_one_process(run, tmp_path):
    """At a moderate rate: high ones enlarge what rounding makes of two runs, by several times a step."""

    def weights(processes, steps):
        name = f"{processes}_{steps}"
        flags = f"--recipe published -b 32 --micro_batch 8 --no_eval --run {name} --max_steps {steps}"
        done = run(flags, processes)
        assert done.code == 0, done.err
        model = torch.load(tmp_path / name / "last.pt", weights_only=True)["model"]
        return torch.cat([value.flatten().double() for value in model.values() if value.is_floating_point()])

    expected = weights(1, 30)
    change = (expected - weights(1, 1)).norm()
    assert (weights(3, 30) - expected).norm() <= 1e-3 * change


def test_compiled_steps_compute_what_eager_ones_do(tmp_path):
    eager, compiled = (found_by(tmp_path, 2, 8, 2, "--compile", mode) for mode in ("off", "on"))
    for name, value in compiled.items():
        torch.testing.assert_close(value, eager[name], rtol=1e-3, atol=1e-5, msg=name)
