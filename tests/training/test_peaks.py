"""What the machine can do at most: that something is measured, and for how long."""

import torch

from glagcn.training.hardware import peaks

CPU = torch.device("cpu")


def test_peaks_are_measured_and_leave_the_draws_of_a_run_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    measured = peaks.measure_peaks(CPU, "fp32")
    assert measured.flops > 1e8
    assert measured.bytes > 1e7
    assert torch.equal(torch.get_rng_state(), before)


def test_a_work_is_repeated_for_a_tenth_of_a_second_and_its_best_counts(monkeypatch):
    calls, times = [], iter([0.04, 0.03, 0.05, 0.01])
    monkeypatch.setattr(peaks, "seconds", lambda work, device: work() or next(times))
    assert peaks._least_seconds(lambda: calls.append("once"), CPU) == 0.03
    assert len(calls) == 4  # the first of them does not count
