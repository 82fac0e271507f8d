"""Muon: what its steps are, and that the rest is Adam's."""

import math

import pytest
import torch

from glagcn.engine import muon
from glagcn.engine.muon import Muon, orthogonal
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import get_skeleton

SHAPES = [(8, 8), (48, 32), (32, 96), (6, 54), (8, 8)]


@pytest.fixture
def model() -> LiftingNetwork:
    torch.manual_seed(0)
    return LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3), 8, sequence_layers=1)


def with_gradients(parameters) -> None:
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)


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


def test_a_matrix_alone_gives_what_it_gives_among_others():
    torch.manual_seed(1)
    matrices = [torch.randn(shape) for shape in SHAPES]
    for matrix, result in zip(matrices, orthogonal(matrices), strict=True):
        assert torch.allclose(result, orthogonal([matrix])[0], atol=1e-6)


def test_zeros_stay_zeros():
    assert torch.equal(orthogonal([torch.zeros(4, 6)])[0], torch.zeros(4, 6))


def test_two_steps_of_a_convolution_follow_the_formula():
    torch.manual_seed(2)
    weight = torch.nn.Parameter(torch.randn(6, 4, 1, 9))
    optimizer = Muon([weight], lr=0.01)
    momentum, expected = torch.zeros(6, 36), weight.detach().clone()
    for _ in range(2):
        gradient = torch.randn(6, 36)
        weight.grad = gradient.view_as(weight).clone()
        optimizer.step()
        momentum = muon.MOMENTUM * momentum + (1 - muon.MOMENTUM) * gradient
        nesterov = muon.MOMENTUM * momentum + (1 - muon.MOMENTUM) * gradient
        expected -= 0.01 * 0.2 * math.sqrt(36) * orthogonal([nesterov])[0].view_as(weight)
    assert torch.allclose(weight, expected, atol=1e-6)


def test_the_numbers_of_a_step_are_as_large_as_adams():
    torch.manual_seed(3)
    weight = torch.nn.Parameter(torch.zeros(32, 32, 1, 9))
    weight.grad = torch.randn_like(weight)
    Muon([weight], lr=1.0).step()
    assert weight.square().mean().sqrt().item() == pytest.approx(muon.RMS, rel=0.2)


def test_convolutions_are_muons_and_the_rest_is_adams(model):
    optimizer = Muon(model.parameters(), lr=1.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    matrices, rest = ({names[id(parameter)] for parameter in group["params"]} for group in optimizer.param_groups)
    assert matrices | rest == set(names.values())
    kinds = {name.split(".", 2)[-1] for name in matrices}
    assert kinds >= {"spread.graph_conv.embed.weight", "spread.graph_conv.mix.weight", "spread.temporal.weight"}
    assert not any("bn" in name or "norm" in name or name.endswith(("bias", "free_graph")) for name in matrices)
    assert {name for name in rest if name.startswith("head.")} == {"head.unshared.weight", "head.unshared.bias"}
    # The sequence head's block has three channels, which are coordinates.
    assert "sequence_head.block.temporal.weight" in rest


def test_the_rest_goes_as_torch_goes():
    torch.manual_seed(4)
    start = [torch.randn(5), torch.randn(3, 7), torch.randn(3, 2, 1, 9)]
    ours, theirs = ([torch.nn.Parameter(value.clone()) for value in start] for _ in range(2))
    optimizer, reference = Muon(ours, lr=0.1), torch.optim.Adam(theirs, lr=0.1, fused=True)
    for _ in range(3):
        with_gradients(ours)
        for mine, other in zip(ours, theirs, strict=True):
            other.grad = mine.grad.clone()
        optimizer.step()
        reference.step()
    assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))


def test_nothing_moves_where_a_gradient_was_not_finite(model):
    parameters = list(model.parameters())
    optimizer = Muon(parameters, lr=0.1)
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
    weight = torch.nn.Parameter(torch.ones(4, 4, 1, 1))
    bias = torch.nn.Parameter(torch.ones(4))
    bias.grad = torch.ones(4)
    Muon([weight, bias], lr=0.1).step()
    assert torch.equal(weight, torch.ones_like(weight))
    assert not torch.equal(bias, torch.ones(4))
