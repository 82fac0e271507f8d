"""Gradient and running statistics of a global batch do not depend on how many processes compute its micro-batches."""

import os
import sys
from pathlib import Path

import pytest
import torch

from tests.launched.conftest import SMALL, launch

pytestmark = pytest.mark.launched
WORKER = str(Path(__file__).with_name("gradient_worker.py"))
CASES = ("11,3", "3,3")  # uneven micro-batches; a rank without any
# The C++ of inductor, which --compile takes, needs minutes: .ci/nightly has it.  Here the captured graphs run eagerly.
COMPILED = ("8,2,none", f"8,2,{os.environ.get('COMPILE_BACKEND', 'eager')}")


def found_by(tmp_path, processes, *cases):
    path = tmp_path / f"{processes}.pt"
    launcher = [sys.executable] if processes == 1 else ["torchrun", "--standalone", f"--nproc_per_node={processes}"]
    done = launch([*launcher, WORKER, str(path), *cases], tmp_path)
    assert done.code == 0, done.err
    assert "sync_buffers" not in done.err  # which newer releases of PyTorch warn of
    assert "broadcast_buffers" not in done.err
    return torch.load(path, weights_only=True)


def test_two_processes_find_those_of_one_and_those_that_compile_find_those_of_eager_ones(tmp_path):
    one, two = found_by(tmp_path, 1, *CASES), found_by(tmp_path, 2, *CASES, *COMPILED)
    for case in CASES:  # in float64
        for name, value in two[case].items():
            torch.testing.assert_close(value, one[case][name], rtol=1e-9, atol=1e-11, msg=f"{case} {name}")
    eager, compiled = (two[case] for case in COMPILED)
    for name, value in compiled.items():
        torch.testing.assert_close(value, eager[name], rtol=1e-3, atol=1e-5, msg=name)


def test_thirty_steps_of_float32_leave_the_weights_of_one_process(run, train, demo_root, tmp_path):
    """At a moderate rate: high ones enlarge what rounding makes of two runs, by several times a step."""

    def weights(processes, steps):
        name = f"{processes}_{steps}"
        flags = f"--frames 9 --recipe published -b 32 --micro_batch 8 --no_eval --run {name} --max_steps {steps}"
        common = f"{' '.join(SMALL)} --root_path {demo_root} -c {tmp_path}"
        done = train(f"{common} {flags}") if processes == 1 else run(flags, processes)
        assert done.code == 0, done.err
        model = torch.load(tmp_path / name / "last.pt", weights_only=True)["model"]
        return torch.cat([value.flatten().double() for value in model.values() if value.is_floating_point()])

    expected = weights(1, 30)
    change = (expected - weights(1, 1)).norm()
    assert (weights(3, 30) - expected).norm() <= 1e-3 * change
