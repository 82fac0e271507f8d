"""What a run prints of its speed, its remaining time and its micro-batches."""

import re
from datetime import datetime

import pytest

from glagcn import dist
from glagcn.config.resolve import parse_command_line
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from glagcn.train import reports
from glagcn.train.reports import share_of_peak, speed_text, spread_text

NOON = datetime(2026, 11, 27, 12)


def test_the_end_is_a_date_where_there_is_one():
    assert speed_text(2000.0, 0.2, 20, NOON) == (
        "Speed: 2,000 windows/s, 20.0% of the peak arithmetic rate\n"
        "Training ends in 0:00:20 (about 2026-11-27 12:00), evaluations not counted"
    )
    assert "ends in 2 days, 0:00:00 (about 2026-11-29 12:00), " in speed_text(1.0, 0.0001, 2 * 86_400, NOON)
    assert "about" not in speed_text(1.0, 0.0001, 1e12, NOON)


def test_the_share_is_that_of_all_processes_at_the_peak_of_rank_0(monkeypatch):
    model, agreed = LiftingNetwork(get_skeleton("mpi3dhp17"), (3,), 8), []
    monkeypatch.setattr(reports, "peak_flops", lambda device, precision: 1e9)
    monkeypatch.setattr(dist, "gather_objects", lambda problem: agreed.append(problem) or [problem])
    monkeypatch.setattr(dist, "world_size", lambda: 4)
    assert share_of_peak("fp32", model) == 3 * model.flops() / 4e9
    monkeypatch.setattr(dist, "rank", lambda: 1)
    monkeypatch.setattr(reports, "peak_flops", None)  # the other ranks measure nothing and wait
    share_of_peak("fp32", model)
    assert agreed == [None, None]


def test_a_run_of_slow_steps_tells_its_speed_before_the_first_interval_ends(demo, monkeypatch):
    monkeypatch.setattr(reports, "SECONDS_BETWEEN_LINES", 0.0)  # as if every step took half a minute
    lines = demo("--frames 9 --max_steps 3 --log_steps 3").out.splitlines()
    said, first, second = (line for line in lines if re.match(r"Speed: |step [12]/3, ", line))
    assert said.startswith("Speed: ")
    assert first.endswith(" left")
    assert second.endswith(" left")


@pytest.mark.parametrize(
    ("flags", "batch_size", "processes", "expected"),
    [
        ("--micro_batch 64", 128, 8, ["2 micro-batches of 64", "6 of 8 processes", "--micro_batch 16 keeps all busy"]),
        ("--micro_batch 150", 1200, 16, ["8 micro-batches of 150", "8 of 16", "--micro_batch 75 "]),
        ("--micro_batch 150", 1200, 3, ["1 of 3 processes", "--micro_batch 134 "]),
        ("--accumulate 4", 100, 4, ["4 micro-batches of 25 windows"]),
        ("--micro_batch 999", 100, 1, ["1 micro-batch of 100 windows"]),
    ],
)
def test_a_run_says_where_processes_are_idle(monkeypatch, flags, batch_size, processes, expected):
    config, _, _ = parse_command_line(["--dataset", "demo", *flags.split()])
    monkeypatch.setattr(dist, "world_size", lambda: processes)
    text = spread_text(config.optim, batch_size)
    assert all(part in text for part in expected), text
    assert ("WARNING" in text) == any("processes" in part or "of 16" in part for part in expected)
