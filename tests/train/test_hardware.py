"""What a run asks of its hardware: when it compiles, the advice on memory, the peak arithmetic rate."""

import pytest
import torch

from glagcn import dist
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


@pytest.fixture
def four_threads(monkeypatch):
    """Four threads, which nobody gave."""
    before = torch.get_num_threads()
    monkeypatch.setattr(dist, "_free_threads", 4)
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize(
    ("times", "first", "expected", "tried"),
    [
        ({4: 0.2, 2: 0.1, 1: 0.12}, 0.3, 2, [4, 4, 4, 2, 2, 2, 1, 1, 1]),
        ({4: 0.2, 2: 0.18, 1: 0.1}, 0.3, 1, [4, 4, 4, 2, 2, 2, 1, 1, 1]),
        ({4: 0.2, 2: 0.19, 1: 0.21}, 0.3, 4, [4, 4, 4, 2, 2, 2, 1, 1, 1]),  # the difference may be noise
        ({4: 0.2, 2: 0.4}, 0.3, 4, [4, 4, 4, 2, 2, 2]),  # even fewer would be slower still
        ({4: 0.6, 2: 0.4, 1: 0.3}, 0.7, 1, [4, 2, 1]),  # long steps are tried once
    ],
)
def test_the_threads_of_the_fastest_trial_are_taken(monkeypatch, caplog, times, first, expected, tried):
    caplog.set_level("INFO")
    calls, extra = [], iter([first - times[4], 0.05])  # the first call warms up; one disturbed trial does not decide

    def seconds(work, device):
        work()
        return times[torch.get_num_threads()] + next(extra, 0.0)

    monkeypatch.setattr(hardware, "seconds", seconds)
    assert hardware.best_threads(lambda: calls.append(torch.get_num_threads())) == expected
    assert calls == [4, *tried]
    assert torch.get_num_threads() == 4
    (message,) = caplog.messages
    assert message.startswith(f"Threads of a training step: {expected} of 4, by a trial (")
    assert f", {1000 * times[2]:.0f} ms with 2" in message


@pytest.mark.usefixtures("four_threads")
def test_threads_are_not_tried_where_a_step_is_long_a_run_goes_on_or_somebody_gave_them(monkeypatch):
    calls = []
    monkeypatch.setattr(hardware, "seconds", lambda work, device: calls.append(1) or 4.0)
    assert hardware.best_threads(list) == 4
    assert len(calls) == 1
    assert hardware.best_threads(list, before=2) == 2
    assert len(calls) == 1
    assert hardware.best_threads(list, before=8) == 4  # on a smaller machine
    monkeypatch.setattr(dist, "_free_threads", 0)
    assert hardware.best_threads(list, before=2) is None
