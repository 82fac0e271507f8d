"""Which steps are compiled, that nothing recompiles, and what happens where compiling fails."""

import numpy as np
import pytest
import torch

from glagcn.config.resolve import parse_command_line
from glagcn.data.plan import share
from glagcn.data.windows import Batch
from glagcn.errors import UserError
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from glagcn.train.hardware import is_compiled
from glagcn.train.rehearsal import rehearse
from glagcn.train.step import Stepper

SIZES = frozenset({3})


def stepper(*flags):
    config, _, _ = parse_command_line(["--dataset", "demo", "--workers", "1", *flags])
    torch.manual_seed(0)
    model = LiftingNetwork(get_skeleton("mpi3dhp17"), (3,), 4, sequence_layers=1, dropout=0.0)
    return Stepper(config.optim, model, SIZES)


def batch(count):
    rng = np.random.default_rng(0)
    return Batch(*(torch.from_numpy(rng.normal(size=(count, 3, 17, axes)).astype(np.float32)) for axes in (2, 3)))


class Compiler:
    """Stands in for torch.compile: notes the sizes that it is called with, or fails."""

    def __init__(self, monkeypatch, failure: Exception | None = None) -> None:
        self.sizes, self.failure = [], failure
        monkeypatch.setattr("glagcn.train.step.compiled", lambda module, config, device: self.around(module))

    def around(self, module):
        def call(inputs, targets):
            if self.failure:
                raise self.failure
            self.sizes.append(len(inputs))
            return module(inputs, targets)

        return call


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


def test_only_sizes_that_come_all_the_time_are_compiled(monkeypatch):
    compiler = Compiler(monkeypatch)
    ours = stepper("--compile")
    for count in (9, 7, 9):  # 7: the last batch of an epoch, in parts of 3, 2 and 2
        ours.gradient(batch(count), share(count, 3, 0, 1))
    assert compiler.sizes == [3, 3, 3, 3, 3, 3, 3]


def test_a_compiler_that_fails_is_one_warning_and_an_eager_run(monkeypatch, said):
    Compiler(monkeypatch, RuntimeError("no C++ compiler\nand a long trace"))
    ours, eager = stepper("--compile"), stepper()
    rehearse(ours, batch(6), share(6, 3, 0, 1))
    (warning,) = said
    assert warning.startswith("WARNING: torch.compile failed (RuntimeError: no C++ compiler)")
    assert "--compile off" in warning
    for each in (ours, eager):
        each.gradient(batch(6), share(6, 3, 0, 1))
        each.apply(0.01)
    for one, other in zip(ours.model.parameters(), eager.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_memory_that_runs_out_is_no_failure_of_the_compiler(monkeypatch):
    Compiler(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(UserError, match=r"out of memory: a micro-batch of 3 windows .* give --micro_batch 1 "):
        rehearse(stepper("--compile"), batch(6), share(6, 3, 0, 1))


def test_a_rehearsal_leaves_no_trace(monkeypatch):
    Compiler(monkeypatch)
    ours = stepper("--compile")
    before = {name: value.clone() for name, value in ours.model.state_dict().items()}
    rehearse(ours, batch(6), share(6, 3, 0, 1))
    assert not any(parameter.grad.any() for parameter in ours.model.parameters() if parameter.requires_grad)
    ours.statistics.update(torch.zeros(()))
    assert all(torch.equal(value, before[name]) for name, value in ours.model.state_dict().items())


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # what torch.compile imports
def test_neither_schedules_nor_the_last_batch_recompile(monkeypatch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    def compiled(module, optim, device):
        return torch.compile(module, dynamic=False, backend=backend)

    monkeypatch.setattr("glagcn.train.step.compiled", compiled)
    torch._dynamo.reset()
    ours = stepper("--compile")
    rehearse(ours, batch(6), share(6, 3, 0, 1))
    first = len(graphs)
    assert first == 1  # nothing in a step breaks the graph
    for epoch in range(10):
        ours.statistics.set_momentum(0.1 / (1 + epoch))
        for count in (6, 5):
            ours.gradient(batch(count), share(count, 3, 0, 1))
            ours.apply(0.01 / (1 + epoch))
    assert len(graphs) == first
