import pytest
import torch
from torch import nn

from glagcn.model.gla_gcn.blocks import AGCN, AdaptiveGraphConv
from glagcn.model.gla_gcn.heads import JointHead, SequenceHead
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


@pytest.mark.parametrize(("in_channels", "out_channels", "parameters"), [(96, 96, 126_195), (96, 3, 4_176)])
def test_block_sizes_are_the_published_ones(in_channels, out_channels, parameters):
    block = AGCN(in_channels, out_channels, 17)
    assert sum(p.numel() for p in block.parameters()) == parameters


@pytest.fixture
def features():
    torch.manual_seed(0)
    return torch.randn(2, 8, 5, 17)


def test_an_unshared_head_has_a_linear_layer_per_joint(features):
    head = JointHead(8, 17, "unshared")
    out = head(features)
    for joint in (0, 7, 16):
        weight, bias = head.unshared.weight[joint], head.unshared.bias[joint]
        torch.testing.assert_close(out[:, :, joint], features[..., joint].transpose(1, 2) @ weight + bias)


def test_a_mixed_head_is_the_weighted_mean_of_both(features):
    head = JointHead(8, 17, "mixed")
    x = features.permute(0, 2, 3, 1)
    torch.testing.assert_close(head(features), 0.5 * head.unshared(x) + 0.5 * head.shared(x))


def test_autocast_does_not_round_a_head(features):
    head = JointHead(8, 17, "unshared")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = head(features)
    assert torch.equal(out, head(features))


def test_the_sequence_head_is_linear_at_its_end(features):
    head = SequenceHead(8, 17, "shared", dropout=0.0)
    assert (head.block(features, ADJACENCY) < 0).any()
    assert head(features, ADJACENCY).shape == (2, 5, 17, 3)
