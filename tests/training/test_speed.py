"""What a run logs about its speed: the share of the peak, the time left, the end; in closed form."""

import re
from contextlib import contextmanager
from datetime import datetime

import numpy as np
import pytest
import torch

from glagcn import dist
from glagcn.config.resolve import resolve
from glagcn.data.plan import EpochPlan
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from glagcn.train import hardware as speed
from glagcn.train import reports as accounts
from glagcn.train.hardware import Speed, duration, is_warm, run_speed

NOON = datetime(2026, 11, 27, 12)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (100, "2 min"), (59.4 * 60, "59 min"), (59.6 * 60, "1 h 0 min"),
        (3 * 3600 + 12 * 60, "3 h 12 min"), (24 * 3600 - 29, "1 d 0 h"), (51 * 3600 + 5 * 60, "2 d 3 h"),
    ],
)  # fmt: skip
def test_a_duration_is_told_in_its_largest_units(seconds, words):
    assert duration(seconds) == words


def test_the_first_speed_is_said_once_and_the_newest_gives_the_time_left(said):
    told = Speed(0.0001, 50_000, now=lambda: NOON)
    assert told.left(0) == ""
    told.update(2000.0, 10_000)
    assert said == [
        "Speed: 2,000 windows/s, 20 % of the peak arithmetic rate; "
        "training ends in 20 s (about 2026-11-27 12:00), evaluations not counted"
    ]
    assert told.left(10_000) == ", 20 s left"
    told.update(5.0, 14_000)
    assert told.left(14_000) == ", 2 h 0 min left"
    assert told.left(50_000) == ", 0 s left"
    assert len(said) == 1


def test_the_end_is_a_date_where_there_is_one(said):
    Speed(0.0001, 3 * 86_400, now=lambda: NOON).update(1.0, 86_400)
    Speed(0.0001, 10**15, now=lambda: NOON).update(1.0, 0)
    assert "ends in 2 d 0 h (about 2026-11-29 12:00), " in said[0]
    assert "0.0 % of" in said[0]
    assert "about" not in said[1]


def test_ten_steps_warm_up_and_half_of_a_short_run():
    assert [is_warm(100, step, 1000) for step in (100, 109, 110, 111)] == [False, False, True, True]
    assert [is_warm(4, step, 10) for step in (5, 6, 7)] == [False, False, True]


def pretend_ranks(monkeypatch, rank, world_size):
    """Be one rank of several that agree; returns the ranks that came to agree."""
    met = []

    @contextmanager
    def agree():
        yield
        met.append(rank)

    for name, value in {"rank": lambda: rank, "world_size": lambda: world_size, "agree": agree}.items():
        monkeypatch.setattr(dist, name, value)
    return met


def small(**options):
    given = {"dataset": "demo", "channels": 8, "frames": 3, "batch_size": 64, "epochs": 1}
    return resolve(given | {"precision": "fp32"} | options)[0]


@pytest.mark.parametrize("processes", [1, 4])
def test_the_share_is_that_of_all_processes_at_their_peaks(monkeypatch, processes, said):
    monkeypatch.setattr(speed, "peak_flops", lambda device, precision: 1e9)
    model = LiftingNetwork(get_skeleton("mpi3dhp17"), (3,), 8)
    plan = EpochPlan(np.arange(1000), 64, "none", seed=0)
    pretend_ranks(monkeypatch, 0, processes)
    run_speed(small(max_steps=16), plan, model).update(100.0, 0)
    share = 100 * 3 * model.flops() / (1e9 * processes)
    assert f", {speed.percent(share)} of the peak arithmetic rate" in said[0]
    assert "ends in 10 s" in said[0]  # the last step is that of the epoch, and has what remains


def test_the_other_ranks_measure_nothing_and_wait(monkeypatch):
    met = pretend_ranks(monkeypatch, 1, 2)
    monkeypatch.setattr(speed, "peak_flops", None)
    plan = EpochPlan(np.arange(100), 64, "none", seed=0)
    run_speed(small(), plan, None)
    assert met == [1]


def test_a_run_tells_its_speed_once_and_what_is_left_after_it(demo):
    lines = demo("--max_steps 12").out.splitlines()
    assert sum(line.startswith("Speed: ") for line in lines) == 1
    assert "%" in next(line for line in lines if line.startswith("Speed: "))


def test_a_run_of_slow_steps_tells_its_speed_before_the_first_interval_ends(demo, monkeypatch):
    monkeypatch.setattr(accounts, "SECONDS_BETWEEN_LINES", 0.0)  # as if every step took half a minute
    lines = demo("--max_steps 3 --log_steps 3").out.splitlines()
    first, said, second = (number for number, line in enumerate(lines) if re.match(r"Speed: |step [12]/3, ", line))
    assert (lines[first].endswith("left"), lines[second].endswith("left")) == (False, True)
    assert lines[said].startswith("Speed: ")


def test_the_peak_is_measured_and_leaves_the_draws_of_a_run_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert speed.peak_flops(torch.device("cpu"), "fp32") > 1e8
    assert torch.equal(torch.get_rng_state(), before)


def test_a_work_is_repeated_for_a_tenth_of_a_second_and_its_best_counts(monkeypatch):
    calls, times = [], iter([0.04, 0.03, 0.05, 0.01])
    monkeypatch.setattr(speed, "seconds", lambda work, device: work() or next(times))
    assert speed._least_seconds(lambda: calls.append("once"), torch.device("cpu")) == 0.03
    assert len(calls) == 4  # the first of them does not count
