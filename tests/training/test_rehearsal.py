"""What is said of micro-batches."""

import pytest

from glagcn import dist
from glagcn.config.resolve import parse_command_line
from glagcn.train.rehearsal import memory_advice, spread_text


@pytest.mark.parametrize(
    ("size", "expected"),
    [(150, "--micro_batch 75 "), (1, "a micro-batch of one window does not fit")],
)
def test_the_advice_names_half_the_size(size, expected):
    assert expected in memory_advice(size)


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
