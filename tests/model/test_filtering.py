"""Minimal filtering gives what the plain convolution over nine frames gives, and is taken where it pays."""

import pytest
import reference
import torch
import torch.nn.functional as F
from test_published_weights import check_loss_and_gradients

from glagcn.engine.inference import load_model
from glagcn.model import filtering, host


def plain(x, weight, bias=None):
    return F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=(0, 4)).permute(0, 2, 3, 1)


@pytest.mark.parametrize("part", [1, 1 << 20], ids=["in parts", "whole"])
@pytest.mark.parametrize("frames", [1, 2, 9, 10, 11, 27])
def test_it_equals_the_plain_convolution(monkeypatch, frames, part):
    monkeypatch.setattr(filtering, "PART_FLOATS", part)
    torch.manual_seed(0)
    x = torch.randn(3, 4, frames, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 6, 1, 9, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64)
    expected = plain(x, weight, bias)
    gradient = torch.randn_like(expected)
    expected.backward(gradient)
    with torch.no_grad():
        torch.testing.assert_close(filtering.convolve(x, weight, bias), expected)
        torch.testing.assert_close(filtering.convolve(x, weight), plain(x, weight))
        torch.testing.assert_close(filtering.input_gradient(gradient, weight), x.grad)
        torch.testing.assert_close(filtering.weight_gradient(x, gradient), weight.grad)


def test_rounding_stays_near_that_of_the_plain_convolution():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 17, 27, 64), torch.randn(64, 64, 1, 9)
    exact = plain(x.double(), weight.double())
    ours, theirs = ((found.double() - exact).norm() for found in (filtering.convolve(x, weight), plain(x, weight)))
    assert ours < 2 * theirs


@pytest.mark.parametrize("name", reference.NAMES)
def test_with_it_everywhere_training_gives_the_published_results(monkeypatch, name):
    calls = []
    convolve = filtering.convolve
    monkeypatch.setattr(filtering, "convolve", lambda *given: calls.append(given) or convolve(*given))
    monkeypatch.setattr(filtering, "pays", lambda x: True)
    monkeypatch.setattr(host, "PRODUCTS", True)
    monkeypatch.setattr(host, "WIDE", 1)
    monkeypatch.setattr(host, "FILTERED", 1)
    model = reference.without_dropout(load_model(reference.checkpoint(name)))
    tolerance = 3e-4 if name == "h36m_243f" else 1e-4  # as without it
    check_loss_and_gradients(name, model, model, tolerance)
    assert len(calls) == 2 * (1 + len(model.widths))  # forward and back: expand, and the first block of every width


def test_it_is_taken_where_it_pays(monkeypatch):
    taken = []
    monkeypatch.setattr(host, "PRODUCTS", True)
    for function in (host.FilteredConv, host.TemporalConv):
        monkeypatch.setattr(function, "apply", lambda x, *given, name=function.__name__: taken.append(name) or x)
    for shape, stride in [((8, 128, 17, 81), 1), ((8, 128, 17, 81), 3), ((1, 128, 17, 81), 1), ((64, 128, 17, 9), 1),
                          ((64, 64, 17, 81), 1)]:  # fmt: skip
        host.temporal_conv(torch.empty(shape), None, None, stride)
    with torch.no_grad():
        host.temporal_conv(torch.empty(8, 128, 17, 81), None, None, 1)
    monkeypatch.setattr(host, "PRODUCTS", False)
    host.temporal_conv(torch.empty(8, 128, 17, 81), None, None, 1)
    assert taken == ["FilteredConv"] + ["TemporalConv"] * 6
