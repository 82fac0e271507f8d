"""What a run asks of its hardware: when it compiles, the advice on memory, the peak arithmetic rate."""

import pytest
import torch

from glagcn.config.resolve import parse_command_line
from glagcn.errors import UserError
from glagcn.train import hardware
from glagcn.train.hardware import is_compiled, out_of_memory


@pytest.mark.parametrize(
    ("flags", "device", "expected"),
    [
        ([], "cpu", False),
        ([], "cuda", True),
        (["--compile"], "cpu", True),
        (["--compile", "on"], "cpu", True),
        (["--compile", "off"], "cuda", False),
        (["--no_compile"], "cuda", False),
    ],
)
def test_auto_compiles_on_gpus(flags, device, expected):
    config, _, _ = parse_command_line(["--dataset", "demo", *flags])
    assert is_compiled(config.optim, torch.device(device)) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(150, "--micro_batch 75 "), (1, "a micro-batch of one window does not fit")],
)
def test_the_advice_names_half_the_size(size, expected):
    with pytest.raises(UserError, match=f"out of memory: .*{expected}"), out_of_memory(size):
        raise torch.OutOfMemoryError


def test_the_peak_is_measured_and_leaves_the_draws_of_a_run_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert hardware.peak_flops(torch.device("cpu"), "fp32") > 1e8
    assert torch.equal(torch.get_rng_state(), before)


def test_a_work_is_repeated_for_a_while_and_its_best_counts(monkeypatch):
    calls, times = [], iter([0.012, 0.01, 0.015, 0.003])
    monkeypatch.setattr(hardware, "seconds", lambda work, device: work() or next(times))
    assert hardware._least_seconds(lambda: calls.append("once"), torch.device("cpu")) == 0.01
    assert len(calls) == 4  # the first of them does not count
