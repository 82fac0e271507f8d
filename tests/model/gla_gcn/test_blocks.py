import pytest
import torch
from torch import nn

from glagcn.model.gla_gcn.blocks import AGCN, AdaptiveGraphConv, StridedModule
from glagcn.model.layers import Dropout
from glagcn.skeletons import get_skeleton

ADJACENCY = torch.from_numpy(get_skeleton("mpi3dhp17").adjacency())


def randomised(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return module


def eq_2(conv: AdaptiveGraphConv, x: torch.Tensor) -> torch.Tensor:
    """sum_k (A_k + B_k + C_k) f W_k, one subset, one joint pair at a time, as the paper writes it."""
    n, _, t, v = x.shape
    size = conv.embed_channels
    weight, bias = conv.embed.weight[:, :, 0, 0], conv.embed.bias
    out = torch.zeros(n, conv.mix.weight.shape[0], t, v)
    for k in range(3):
        theta, phi = (slice((factor * 3 + k) * size, (factor * 3 + k + 1) * size) for factor in (0, 1))
        a = torch.einsum("oc,nctv->notv", weight[theta], x) + bias[theta, None, None]
        b = torch.einsum("oc,nctv->notv", weight[phi], x) + bias[phi, None, None]
        graph = torch.softmax(torch.einsum("noti,notj->nij", a, b) / (size * t), dim=1)
        graph = graph + ADJACENCY[k] + conv.free_graph[k]
        received = torch.einsum("ncti,nij->nctj", x, graph)
        out += torch.einsum("dc,nctj->ndtj", conv.mix.weight[:, :, k, 0], received) + conv.mix.bias[k][:, None, None]
    return out


def test_the_graph_convolution_is_eq_2():
    torch.manual_seed(0)
    conv = randomised(AdaptiveGraphConv(8, 8, 17, dropout=0.0)).eval()
    x = torch.randn(2, 8, 5, 17)
    expected = torch.relu(conv.bn(eq_2(conv, x)) + x)
    torch.testing.assert_close(conv(x, ADJACENCY), expected, rtol=1e-4, atol=1e-5)


def test_features_stay_channels_last():
    block = AGCN(8, 8, 17, stride=3, residual=False)
    x = torch.randn(2, 8, 9, 17).to(memory_format=torch.channels_last)
    assert block(x, ADJACENCY).is_contiguous(memory_format=torch.channels_last)


def test_the_strided_module_adds_the_centre_frames():
    """With all weights 0 the units give 0, and what is left is the outer residual: the centre of each group."""
    module = StridedModule(4, 17, 3, dropout=0.0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    x = torch.randn(2, 4, 9, 17)
    torch.testing.assert_close(module(x, ADJACENCY), x[:, :, [1, 4, 7]])


@pytest.mark.parametrize(("in_channels", "out_channels", "parameters"), [(96, 96, 126_195), (96, 3, 4_176)])
def test_block_sizes_are_the_published_ones(in_channels, out_channels, parameters):
    block = AGCN(in_channels, out_channels, 17)
    assert sum(p.numel() for p in block.parameters()) == parameters


def test_dropout_drops_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(64, 32, 17, 9, requires_grad=True)
    y = Dropout(0.1)(x)
    assert y.unique().tolist() == pytest.approx([0.0, 1 / 0.9], rel=1e-4)
    assert (y == 0).float().mean().item() == pytest.approx(0.1, abs=0.003)
    assert y.mean().item() == pytest.approx(1, abs=0.003)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())


def test_dropout_bears_any_probability_below_1():
    dropout = Dropout(0.999999).train()
    assert torch.isfinite(dropout(torch.ones(2, 3, 4, 5))).all()


def test_dropout_follows_the_seed_and_draws_anew_every_time():
    dropout, x = Dropout(0.5), torch.ones(2, 3, 5, 7)
    torch.manual_seed(3)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(3)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)


def test_dropout_is_off_in_eval_mode_and_at_0():
    x = torch.randn(2, 3, 5, 7)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
