import pytest
import torch
from torch import nn

from glagcn.model.gla_gcn.blocks import AGCN, AdaptiveGraphConv, StridedModule
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
