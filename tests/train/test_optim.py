"""Schedules, and the optimisers of the recipes."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from glagcn.checkpoints.load import load_model
from glagcn.config.resolve import parse_command_line
from glagcn.data.plan import EpochPlan
from glagcn.errors import UserError
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from glagcn.train import optim as muon
from glagcn.train.optim import (
    Muon,
    WeightAverage,
    bn_momentum,
    build_optimizer,
    fitting_batch,
    is_capturable,
    learning_rate,
    next_evaluation,
    orthogonal,
    planned_epochs,
    planned_steps,
    planned_windows,
    split,
)
from glagcn.train.setup import Selection, settle
from tests.model.gla_gcn import reference

PLAN = EpochPlan(np.arange(1000), 100, "none", 0)  # 10 steps an epoch
UNEVEN = EpochPlan(np.arange(1010), 100, "none", 0)  # 11 steps, the last one of 10 windows


def config(line):
    return parse_command_line(line.split())[0].optim


def settled(line, centers=1000, scored=0, **earlier):
    selection = Selection(None, None, None, np.arange(centers), scored)
    config, origin, _ = parse_command_line(line.split())
    return settle(config, selection, "fp32", earlier, None, origin)


def test_published_decay_halves_every_fifth_epoch_instead():
    published = config("-d 3dhp --recipe published --lr 1")
    rates = [learning_rate(published, PLAN, 10 * epoch + 5) for epoch in range(7)]
    expected = [1, 0.95, 0.95**2, 0.95**3, 0.95**4, 0.95**4 * 0.5, 0.95**5 * 0.5]
    assert rates == pytest.approx(expected)


def test_published_cosine_is_that_of_pytorch_epoch_by_epoch():
    published = config("-d h36m --epochs 12")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12, eta_min=1e-5)
    for epoch in range(12):
        for index in (0, 7):
            expected = pytest.approx(reference.get_last_lr()[0])
            assert learning_rate(published, PLAN, 10 * epoch + index) == expected
        optimizer.step()
        reference.step()


def test_published_bn_momentum_falls_from_a_tenth_to_a_thousandth():
    published = config("-d humaneva15 --epochs 10")
    assert [bn_momentum(published, PLAN, epoch) for epoch in (0, 5, 10)] == pytest.approx([0.1, 0.01, 0.001])
    assert {bn_momentum(config("-d 3dhp"), PLAN, epoch) for epoch in range(49)} == {0.1}


@pytest.mark.parametrize("budget", ["--epochs 10", "--windows 10000"])
def test_tuned_rate_falls_from_lr_to_lr_final(budget):
    flags = f"-d demo --schedule exponential --lr 4e-3 --lr_final 2e-4 --warmup 0 {budget}"
    tuned = config(flags)
    rates = [learning_rate(tuned, PLAN, step) for step in (0, 50, 100, 120)]
    assert rates == pytest.approx([4e-3, (4e-3 * 2e-4) ** 0.5, 2e-4, 2e-4])
    line = config(f"{flags} --schedule linear")
    assert learning_rate(line, PLAN, 25) == pytest.approx(4e-3 - 0.25 * (4e-3 - 2e-4))


def test_warmup_rises_over_the_first_windows_of_any_batch_size():
    flat = config("-d demo --schedule exponential --lr 1 --lr_final 1 --warmup 400")
    assert [learning_rate(flat, PLAN, step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    halves = EpochPlan(np.arange(1000), 50, "none", 0)
    assert [learning_rate(flat, halves, step) for step in (1, 3, 7, 8)] == pytest.approx([0.25, 0.5, 1, 1])


def test_without_a_number_of_windows_the_rate_rises_over_sixteen_steps():
    for plan in (PLAN, EpochPlan(np.arange(1000), 50, "none", 0)):
        run = settled("-d 3dhp --schedule exponential --lr 1 --lr_final 1", batch_size=plan.batch_size)
        assert [learning_rate(run.optim, plan, step) for step in (0, 7, 15, 16)] == pytest.approx([1 / 16, 0.5, 1, 1])
    run = settled("-d 3dhp --warmup 5", batch_size=70, warmup=9)
    assert (run.optim.warmup, run.optim.batch_size, run.optim.precision) == (5, 70, "fp32")
    assert settled("-d 3dhp --windows 300000").optim.batch_size == 300


@pytest.mark.parametrize(("windows", "batch"), [
    (1, 64), (64_999, 64), (65_000, 65), (500_000, 500), (1_200_000, 1200), (103_000_000, 1200),
])  # fmt: skip
def test_a_long_run_takes_large_batches_and_a_short_one_as_many_steps_as_it_can(windows, batch):
    assert fitting_batch(windows) == batch


def test_the_plan_is_counted_in_windows():
    assert (planned_steps(config("-d demo --epochs 3"), UNEVEN), UNEVEN.windows_until(33)) == (33, 3030)
    part = config("-d demo --windows 2525")
    assert planned_windows(part, UNEVEN) == 2525
    assert planned_epochs(part, UNEVEN) == 2.5
    assert planned_steps(part, UNEVEN) == 22 + 6  # 505 windows into the third epoch
    for windows in range(1, 2200):
        step = UNEVEN.steps_for(windows)
        assert UNEVEN.windows_until(step) >= windows > UNEVEN.windows_until(step - 1)


@pytest.mark.parametrize(("flags", "scored", "every"), [
    ("--epochs 2", 400, 2800),                    # the demo: ten points, and 400 x 2 / 3 x 10 < 2,800 windows
    ("--epochs 2", 2000, None),                   # a tenth of the training pays for two, as many as epochs
    ("--epochs 2", 1000, 7000),                   # for four
    ("--epochs 2 --no-test_flip", 1000, 3500),    # for eight, of half the predictions
    ("--epochs 4", 400, 5600),
    ("--epochs 5", 400, None),                    # not short
    ("--windows 69999", 400, 7000),
    ("--windows 70000", 400, None),
    ("--epochs 2", 0, None),                      # --select_on last
    ("--epochs 2 --eval_epochs 1", 400, None),    # as given
    ("--epochs 2 --no-eval", 400, None),
    ("--epochs 2 --eval_windows 77", 400, 77),
    ("--epochs 2 --max_steps 20", 400, 2800),     # a longer run resumes with the same evaluations
])  # fmt: skip
def test_a_short_run_is_evaluated_ten_times_if_that_is_cheap(flags, scored, every):
    assert settled(f"-d demo {flags}", 14_000, scored).selection.eval_windows == every


@pytest.mark.parametrize("flags", ["--windows 5 --epochs 1", "--eval_windows 5 --eval_epochs 2"])
def test_two_budgets_are_one_too_many(flags):
    with pytest.raises(UserError, match="are alternatives"):
        config(f"-d demo {flags}")


@pytest.mark.parametrize(
    ("line", "scheduled"),
    [
        ("--epochs 3 --eval_epochs 2", [20, 30]),
        ("--epochs 3 --eval_epochs 1", [10, 20, 30]),
        ("--epochs 3 --eval_epochs 1 --select_on last", [30]),
        ("--windows 3000 --eval_windows 700", [7, 14, 21, 28, 30]),
    ],
)
def test_evaluations_come_at_their_interval_and_at_the_planned_end(line, scheduled):
    for flags in (line, f"{line} --max_steps 25"):
        config, _, _ = parse_command_line(flags.split())
        assert [step for step in range(1, 31) if next_evaluation(config, PLAN, step - 1) == step] == scheduled
    for step in range(30):
        assert next_evaluation(config, PLAN, step) == min(due for due in scheduled if due > step)


@pytest.mark.parametrize("name", reference.NAMES)
def test_ranger_goes_the_published_way(name):
    results = reference.results(name)
    inputs, target = (torch.from_numpy(results[part]) for part in ("input_2d", "target_3d"))
    model = reference.without_dropout(load_model(reference.checkpoint(name)))
    config, _, _ = parse_command_line(["-d", "h36m", "--lr", str(results["ranger_lr"])])
    assert config.optim.optimizer == "ranger"
    optimizer = build_optimizer(config.optim, model)
    losses = []
    for _ in results["ranger_losses"]:
        loss = reference.mean_distance(model(inputs).target, target)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses == pytest.approx(results["ranger_losses"].tolist(), rel=1e-5)


@pytest.mark.parametrize("optimizer", ["ranger", "muon", "adam"])
def test_a_stopped_optimizer_goes_on_bit_for_bit(optimizer):
    config, _, _ = parse_command_line(["-d", "h36m", "--optimizer", optimizer])
    start = [torch.arange(4.0), torch.arange(48.0).reshape(4, 4, 1, 3) / 48]

    def begin():
        model = torch.nn.Conv2d(4, 4, (1, 3))
        with torch.no_grad():
            for parameter, value in zip((model.bias, model.weight), start, strict=True):
                parameter.copy_(value)
        return [model.bias, model.weight], build_optimizer(config.optim, model)

    def steps(parameters, optimizer, numbers):
        for number in numbers:
            optimizer.zero_grad()
            sum((parameter * (number + 1)).square().sum() for parameter in parameters).backward()
            optimizer.step()

    whole, optimizer = begin()
    steps(whole, optimizer, range(20))
    first, stopped = begin()
    steps(first, stopped, range(9))
    second, resumed = begin()
    with torch.no_grad():
        for parameter, value in zip(second, first, strict=True):
            parameter.copy_(value)
    resumed.load_state_dict(stopped.state_dict())
    steps(second, resumed, range(9, 20))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(second, whole, strict=True))
    assert not torch.equal(whole[1], start[1])


@pytest.mark.parametrize(("optimizer", "expected"), [("ranger", False), ("muon", True), ("adam", True)])
def test_what_decides_on_the_device_can_be_captured(optimizer, expected):
    config, _, _ = parse_command_line(["-d", "h36m", "--optimizer", optimizer])
    assert is_capturable(build_optimizer(config.optim, torch.nn.Linear(4, 4))) == expected


SHAPES = [(8, 8), (48, 32), (32, 96), (6, 54), (8, 8)]


@pytest.fixture
def model() -> LiftingNetwork:
    torch.manual_seed(0)
    return LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3), 8, sequence_layers=1)


def with_gradients(parameters) -> None:
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)


class Operators(TorchDispatchMode):
    """Notes the operators that compute, and the types and shapes of what the products read."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.products = [], []

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        name = operator.overloadpacket.__name__
        if not operator.is_view:
            self.names.append(name)
        if name in ("bmm", "baddbmm"):
            self.products += [(factor.dtype, factor.shape[1:]) for factor in arguments]
        if name.startswith("_fused") and arguments[0][0].is_cuda:
            return None  # fake tensors do not know these; they return nothing
        return operator(*arguments, **(options or {}))


def values(optimizer) -> list[torch.Tensor]:
    return [value.clone() for state in optimizer.state.values() for value in state.values()]


@pytest.mark.parametrize(("kind", "scales", "worst"), [(None, (1, 1e-4, 1e4), 1e-4), (torch.bfloat16, (1,), 0.05)])
def test_singular_values_are_brought_to_one_and_products_in_bfloat16_are_aligned(kind, scales, worst):
    torch.manual_seed(0)
    shapes = [*SHAPES, (16, 2), (24, 2), (16, 6), (18, 32), (12, 20), (20, 12), (16, 48)]
    matrices = [torch.randn(shape) * scales[number % len(scales)] for number, shape in enumerate(shapes)]
    with Operators() as operators:
        results = orthogonal(matrices, *([kind] if kind else []))
    for matrix, result in zip(matrices, results, strict=True):
        left, found, right = torch.linalg.svd(matrix, full_matrices=False)
        core = left.T @ result @ right.T  # Newton-Schulz rounds keep the singular vectors
        assert result.dtype == torch.float32
        assert (core - torch.diag(core.diagonal())).abs().max() < worst
        assert core.diagonal()[found > 0.02 * found.sum()].min() > 0.6
        assert core.diagonal().max() < 1.3
    assert {dtype for dtype, _ in operators.products} == {kind or torch.float32}
    assert kind is None or all(side % 8 == 0 for _, shape in operators.products for side in shape)


def test_a_matrix_alone_gives_what_it_gives_among_others():
    torch.manual_seed(1)
    matrices = [torch.randn(shape) for shape in SHAPES]
    for matrix, result in zip(matrices, orthogonal(matrices), strict=True):
        assert torch.allclose(result, orthogonal([matrix])[0], atol=1e-6)


def test_zeros_stay_zeros():
    for dtype in (torch.float32, torch.bfloat16):
        assert torch.equal(orthogonal([torch.zeros(4, 6)], dtype)[0], torch.zeros(4, 6))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("rate", [0.01, torch.tensor(0.01)], ids=["float", "tensor"])
def test_two_steps_of_a_convolution_follow_the_formula(layout, rate):
    torch.manual_seed(2)
    weight = torch.nn.Parameter(torch.randn(6, 4, 1, 9).to(memory_format=layout))
    optimizer = Muon([weight], [], lr=0.1)
    optimizer.param_groups[0]["lr"] = rate
    momentum, expected = torch.zeros(6, 36), weight.detach().clone()
    for _ in range(2):
        gradient = torch.randn(6, 36)
        weight.grad = gradient.view_as(weight).to(memory_format=layout, copy=True)
        optimizer.step()
        momentum = muon.MOMENTUM * momentum + (1 - muon.MOMENTUM) * gradient
        nesterov = muon.MOMENTUM * momentum + (1 - muon.MOMENTUM) * gradient
        expected -= 0.01 * 0.2 * math.sqrt(36) * orthogonal([nesterov])[0].view_as(weight)
    assert torch.allclose(weight, expected, atol=1e-6)


def test_convolutions_are_muons_and_the_rest_is_adams(model):
    optimizer = Muon(*split(model), lr=1.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    matrices, rest = ({names[id(parameter)] for parameter in group["params"]} for group in optimizer.param_groups)
    assert matrices | rest == set(names.values())
    kinds = {name.split(".", 2)[-1] for name in matrices}
    assert kinds >= {"spread.graph_conv.embed.weight", "spread.graph_conv.mix.weight", "spread.temporal.weight"}
    assert not any("bn" in name or "norm" in name or name.endswith(("bias", "free_graph")) for name in matrices)
    assert {name for name in rest if name.startswith("head.")} == {"head.unshared.weight", "head.unshared.bias"}
    # The sequence head's block has three channels, which are coordinates.
    assert "sequence_head.block.temporal.weight" in rest


@pytest.mark.parametrize("head", ["unshared", "shared", "mixed"])
def test_a_network_has_the_groups_that_its_checkpoints_have(head):
    network = LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3), 8, sequence_layers=1, head=head)
    expected = {
        True: [p for p in network.parameters() if p.dim() == 4 and len(p) > 3],
        False: [p for p in network.parameters() if p.dim() != 4 or len(p) <= 3],
    }
    for found, group in zip(split(network), (expected[True], expected[False]), strict=True):
        assert [id(parameter) for parameter in found] == [id(parameter) for parameter in group]
    optimizer = Muon(*split(network), lr=1.0)
    with_gradients(network.parameters())
    optimizer.step()
    matrices, rest = optimizer.state_dict()["param_groups"]
    assert set(matrices) == set(rest) == {"params", "fused", "lr"}
    state = optimizer.state_dict()["state"]
    assert {tuple(state[place]) for place in matrices["params"]} == {("momentum",)}
    assert {tuple(state[place]) for place in rest["params"]} == {("step", "exp_avg", "exp_avg_sq")}


def test_every_layer_of_a_model_to_come_is_muons():
    layers = [nn.Linear(4, 8), nn.Conv1d(8, 4, 3), nn.Conv2d(4, 5, 1), nn.Conv3d(5, 6, 1)]
    others = [nn.Linear(6, 3), nn.LayerNorm((4, 6)), nn.Embedding(7, 6), nn.BatchNorm1d(6), nn.PReLU(6)]
    matrices, rest = split(nn.Sequential(*layers, *others))
    assert [id(parameter) for parameter in matrices] == [id(layer.weight) for layer in layers]
    assert len(rest) == len(layers) + 2 + 2 + 1 + 2 + 1


def test_the_rest_goes_as_torch_goes():
    torch.manual_seed(4)
    start = [torch.randn(5), torch.randn(3, 7), torch.randn(3, 2, 1, 9)]
    ours, theirs = ([torch.nn.Parameter(value.clone()) for value in start] for _ in range(2))
    optimizer, reference = Muon([], ours, lr=0.1), torch.optim.Adam(theirs, lr=0.1, fused=True)
    for _ in range(3):
        with_gradients(ours)
        for mine, other in zip(ours, theirs, strict=True):
            other.grad = mine.grad.clone()
        optimizer.step()
        reference.step()
    assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))


def test_parameters_without_a_gradient_stay():
    weights = [torch.nn.Parameter(torch.ones(4, 4, 1, 1), requires_grad=needed) for needed in (True, False)]
    bias = torch.nn.Parameter(torch.ones(4))
    bias.grad = torch.ones(4)
    optimizer = Muon(weights, [bias], lr=0.1)
    optimizer.step()
    assert all(torch.equal(weight, torch.ones_like(weight)) for weight in weights)
    assert not torch.equal(bias, torch.ones(4))
    assert len(optimizer.param_groups[0]["params"]) == 2


def test_on_cuda_a_step_reads_nothing_back_and_multiplies_in_bfloat16(monkeypatch):
    """On tensors without numbers, whose reading fails."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    with FakeTensorMode():
        number = torch.empty((), device="cuda")
        with pytest.raises(DataDependentOutputException):
            bool(number > 0)
        shapes = [(16, 2, 3, 1), (16, 16, 1, 9), (16, 16, 1, 9), (5,), (3, 5, 5)]
        parameters = [torch.nn.Parameter(torch.empty(shape, device="cuda")) for shape in shapes]
        for parameter in parameters:
            parameter.grad = torch.empty_like(parameter)
        optimizer = Muon(parameters[:3], parameters[3:], lr=0.1)
        for group in optimizer.param_groups:
            group["lr"] = number
        optimizer.found_inf = number
        with Operators() as operators:
            optimizer.step()
    assert operators.names.count("_fused_sgd_") == 2
    assert operators.names.count("_fused_adam_") == 1
    assert {kind for kind, _ in operators.products} == {torch.bfloat16}


def test_the_average_of_weights_is_that_of_its_formula_and_leaves_training_as_it_was():
    layer = nn.BatchNorm1d(1)
    average, expected = WeightAverage(0.5, layer), 1.0
    for step in range(1, 9):
        with torch.no_grad():
            layer.weight.fill_(step)
            layer.num_batches_tracked.fill_(step)
        average.update(step)
        share = min(0.5, (1 + step) / (10 + step))
        expected = share * expected + (1 - share) * step
    with average.in_model():
        assert (layer.weight.item(), layer.num_batches_tracked.item()) == (pytest.approx(expected), 8)
    assert layer.weight.item() == 8
    assert WeightAverage(None, layer).weights == {}


def test_neither_training_nor_lifting_imports_what_takes_seconds():
    """PyTorch's compiler, which its optimisers import on their own, and SciPy's filters and solvers."""
    program = """
import sys, torch
from types import SimpleNamespace
import glagcn.commands.train, glagcn.poses.lift, glagcn.poses.writers.tables
import glagcn.poses.root_path, glagcn.poses.ground
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from glagcn.train.optim import build_optimizer, step_unless
layer = torch.nn.Linear(3, 3)
for name in ("adam", "muon"):
    optimizer = build_optimizer(SimpleNamespace(optimizer=name, lr=0.1), layer)
    layer(torch.ones(1, 3)).sum().backward()
    if name == "muon":
        step_unless(torch.zeros(()), optimizer)
        optimizer.load_state_dict(optimizer.state_dict())
LiftingNetwork(get_skeleton("mpi3dhp17"), (3,), 2).flops()
print([name for name in ("torch._dynamo", "scipy.linalg", "scipy.signal", "matplotlib.figure") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
