"""Muon: what its steps are, and that the rest is Adam's."""

import math

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from glagcn.train import optim as muon
from glagcn.train.optim import Muon, orthogonal, split

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


def test_singular_values_are_brought_to_one():
    torch.manual_seed(0)
    matrices = [torch.randn(shape) * scale for shape, scale in zip(SHAPES, (1, 1e-4, 1e4, 1, 1), strict=True)]
    for matrix, result in zip(matrices, orthogonal(matrices), strict=True):
        left, found, right = torch.linalg.svd(matrix, full_matrices=False)
        # Newton-Schulz rounds keep the singular vectors.
        core = left.T @ result @ right.T
        assert torch.allclose(core - torch.diag(core.diagonal()), torch.zeros_like(core), atol=1e-4)
        assert core.diagonal()[found > 0.02 * found.sum()].min() > 0.6
        assert core.diagonal().max() < 1.3


def test_bfloat16_does_so_about_as_well():
    torch.manual_seed(0)
    matrices = [torch.randn(shape) for shape in [(16, 2), (24, 2), (16, 6), (18, 32), (12, 20), (20, 12), (16, 48)]]
    with Operators() as operators:
        results = orthogonal(matrices, torch.bfloat16)
    for matrix, result in zip(matrices, results, strict=True):
        left, found, right = torch.linalg.svd(matrix, full_matrices=False)
        core = left.T @ result @ right.T
        assert result.dtype == torch.float32
        assert core.diagonal()[found > 0.02 * found.sum()].min() > 0.6
        assert core.diagonal().max() < 1.3
        assert (core - torch.diag(core.diagonal())).abs().max() < 0.05
    assert {kind for kind, _ in operators.products} == {torch.bfloat16}
    assert all(side % 8 == 0 for _, shape in operators.products for side in shape)


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


def test_the_numbers_of_a_step_are_as_large_as_adams():
    torch.manual_seed(3)
    weight = torch.nn.Parameter(torch.zeros(32, 32, 1, 9))
    weight.grad = torch.randn_like(weight)
    Muon([weight], [], lr=1.0).step()
    assert weight.square().mean().sqrt().item() == pytest.approx(muon.RMS, rel=0.2)


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


def test_nothing_moves_where_a_gradient_was_not_finite(model):
    parameters = list(model.parameters())
    optimizer = Muon(*split(model), lr=0.1)
    with_gradients(parameters)
    optimizer.step()
    weights, state = [parameter.detach().clone() for parameter in parameters], values(optimizer)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, math.nan)
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    assert all(torch.equal(parameter, weight) for parameter, weight in zip(parameters, weights, strict=True))
    assert all(torch.equal(now, before) for now, before in zip(values(optimizer), state, strict=True))


def test_parameters_without_a_gradient_stay():
    weights = [torch.nn.Parameter(torch.ones(4, 4, 1, 1), requires_grad=needed) for needed in (True, False)]
    bias = torch.nn.Parameter(torch.ones(4))
    bias.grad = torch.ones(4)
    optimizer = Muon(weights, [bias], lr=0.1)
    optimizer.step()
    assert all(torch.equal(weight, torch.ones_like(weight)) for weight in weights)
    assert not torch.equal(bias, torch.ones(4))
    assert len(optimizer.param_groups[0]["params"]) == 2


def test_a_step_has_few_operators():
    """As many as shapes, not as matrices: on a GPU each is a launch."""
    network = LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3, 3, 3), 8, sequence_layers=3)
    optimizer = Muon(*split(network), lr=0.1)
    with_gradients(network.parameters())
    optimizer.step()  # makes the state
    with Operators() as operators:
        optimizer.step()
    shapes = {parameter.flatten(1).shape for parameter in optimizer.param_groups[0]["params"]}
    assert len(optimizer.param_groups[0]["params"]) == 39
    assert len(operators.names) <= 20 * len(shapes) + 10 == 150


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
