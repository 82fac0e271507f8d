"""What serves a CPU gives what the plain operations give, forward and backward."""

import pytest
import torch
from reference import mean_distance

from glagcn.model import host
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import get_skeleton

SKELETON = get_skeleton("mpi3dhp17")


def model_of(channels: int, dropout: float = 0.0) -> LiftingNetwork:
    torch.manual_seed(0)
    model = LiftingNetwork(SKELETON, (3, 3), channels, sequence_layers=1, dropout=dropout)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.double()


def results(model: LiftingNetwork, x: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    x = x.clone().requires_grad_()
    out = model(x)
    (mean_distance(out.center, torch.ones(())) + mean_distance(out.sequence, torch.ones(()))).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    return gradients | {"input": x.grad, "center": out.center.detach(), "sequence": out.sequence.detach()}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    ("products", "channels"), [(True, 8), (True, host.WIDE), (False, host.WIDE)], ids=["narrow", "wide", "AVX-512"]
)
def test_it_equals_the_plain_operations(monkeypatch, products, channels, mode):
    monkeypatch.setattr(host, "PRODUCTS", products)
    model = model_of(channels).train(mode == "train")
    x = torch.randn(3, 9, 17, 2, dtype=torch.float64)
    ours = results(model, x)
    monkeypatch.setattr(host, "serves", lambda x: False)
    plain = results(model, x)
    for name, expected in plain.items():
        torch.testing.assert_close(ours[name], expected, rtol=1e-9, atol=1e-11, msg=name)


def test_a_large_unfolded_map_is_summed_in_parts(monkeypatch):
    monkeypatch.setattr(host, "PRODUCTS", True)
    model = model_of(host.WIDE)
    x = torch.randn(3, 9, 17, 2, dtype=torch.float64)
    whole = results(model, x)
    monkeypatch.setattr(host, "UNFOLDED_FLOATS", 9 * 9 * host.WIDE * 5)  # 5 does not divide 3 * 17
    for name, value in results(model, x).items():
        torch.testing.assert_close(value, whole[name], rtol=1e-9, atol=1e-11, msg=name)


def test_with_dropout_the_gradient_is_that_of_what_was_kept():
    """With the same draws the network is a fixed function, whose gradient differences must show."""
    model = model_of(8, dropout=0.3)
    x, direction = torch.randn(2, 3, 9, 17, 2, dtype=torch.float64)

    def value(step: float) -> torch.Tensor:
        torch.manual_seed(1)
        out = model(x + step * direction)
        return out.center.square().sum() + out.sequence.square().sum()

    torch.manual_seed(1)
    y = x.clone().requires_grad_()
    out = model(y)
    (out.center.square().sum() + out.sequence.square().sum()).backward()
    with torch.no_grad():
        slope = (value(1e-7) - value(-1e-7)) / 2e-7
    assert (y.grad * direction).sum().item() == pytest.approx(slope.item(), rel=1e-5)


def test_it_leaves_autocast_alone():
    x = torch.zeros(1, 2, 3, 4)
    assert host.serves(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not host.serves(x)
    assert not host.serves(x.to("meta"))
