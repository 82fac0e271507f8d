"""How many windows fit a GPU, and what is said of micro-batches."""

from types import SimpleNamespace

import pytest
import torch

from glagcn.config.resolve import parse_command_line
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import get_skeleton
from glagcn.training.hardware.capacity import fitting_windows, window_bytes
from glagcn.training.loss import Loss
from glagcn.training.rehearsal import memory_advice, spread_text


def network():
    return LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3), 8, sequence_layers=1, dropout=0.0).train()


def kept_for_real(model, windows):
    kept = {}

    def keep(x):
        if not isinstance(x, torch.nn.Parameter):
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        Loss(model)(torch.randn(windows, 9, 17, 2), torch.randn(windows, 9, 17, 3))
    return sum(storage.nbytes() for storage in kept.values())


def test_the_bytes_of_a_window_are_those_that_a_real_pass_keeps():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = window_bytes(model, "fp32")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert found == pytest.approx(kept_for_real(model, 5) - kept_for_real(model, 4), rel=0.01)


def test_bfloat16_takes_about_half():
    wide = LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3), 64, sequence_layers=1, dropout=0.0).train()
    assert 0.45 < window_bytes(wide, "bf16") / window_bytes(wide, "fp32") < 0.75  # joints are padded to 24


def test_what_fits_grows_with_the_memory_and_may_be_nothing():
    model = network()
    weights, each = sum(p.nbytes for p in model.parameters()), window_bytes(model, "fp32")
    assert fitting_windows(model, "fp32", free=0) == 0
    assert fitting_windows(model, "fp32", free=6 * weights + int(1.25 * 10.5 * each)) == 10


@pytest.mark.parametrize(
    ("size", "fits", "expected"),
    [(150, 80, "_batch 75 "), (150, 20, "--micro_batch 20 "), (8, None, "batch 4 ")],
)
def test_the_advice_names_a_size_that_fits(size, fits, expected):
    assert expected in memory_advice(size, fits)


def test_where_no_window_fits_the_model_is_too_large():
    assert "a micro-batch of one window does not fit" in memory_advice(1, None)


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
def test_a_run_says_where_processes_are_idle(flags, batch_size, processes, expected):
    config, _, _ = parse_command_line(["--dataset", "demo", *flags.split()])
    text = spread_text(config.optim, batch_size, SimpleNamespace(world_size=processes))
    assert all(part in text for part in expected), text
    assert ("WARNING" in text) == any("processes" in part or "of 16" in part for part in expected)
