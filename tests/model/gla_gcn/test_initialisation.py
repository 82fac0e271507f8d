import math

import pytest
import torch

from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton

MPI3DHP = get_skeleton("mpi3dhp17")


def test_the_published_start_has_the_published_spread():
    """Kaiming over the fan-out of each published convolution: channels (1x1) and 9 * channels (temporal)."""
    torch.manual_seed(0)
    model = LiftingNetwork(MPI3DHP, (3, 3), 64)
    block = model.sequence[0]
    expected = {
        block.graph_conv.embed.weight: math.sqrt(2 / 16),
        block.graph_conv.mix.weight: math.sqrt(2 / (64 * 64 * 3)),
        block.temporal.weight: math.sqrt(2 / (64 * 9)),
        model.expand.residual[0].weight: math.sqrt(2 / 64),
        model.expand.graph_conv.skip[0].weight: math.sqrt(2 / 64),
    }
    for weight, std in expected.items():
        assert weight.std().item() == pytest.approx(std, rel=0.25 if weight.numel() < 1000 else 0.05)
    assert (block.graph_conv.free_graph == 1e-6).all()
    assert (block.graph_conv.bn.weight == 1e-6).all()
    assert (block.bn.weight == 1).all()
    assert not block.temporal.bias.any()


@pytest.mark.parametrize("head", ["unshared", "mixed"])
def test_the_tuned_start_predicts_nearly_the_mean_pose(head):
    torch.manual_seed(0)
    model = LiftingNetwork(MPI3DHP, (3, 3), 32, head=head)
    mean_pose = torch.randn(17, 3)
    model.initialise("tuned", mean_pose)
    assert (model.sequence[0].graph_conv.bn.weight == 1).all()
    out = model(torch.randn(16, 9, 17, 2))
    for pose in (out.target, out.sequence):
        assert (pose - mean_pose).abs().mean() < 0.3
    with torch.no_grad():
        for output in (model.head, model.sequence_head.output):
            for layer in (output.unshared, output.shared):
                if layer is not None:
                    layer.weight.zero_()
    torch.testing.assert_close(model(torch.randn(2, 9, 17, 2)).target, mean_pose.expand(2, 1, 17, 3))


def test_a_shared_head_starts_at_the_mean_joint():
    model = LiftingNetwork(MPI3DHP, (3,), 8, head="shared", sequence_layers=0)
    mean_pose = torch.randn(17, 3)
    model.initialise("tuned", mean_pose)
    torch.testing.assert_close(model.head.shared.bias.detach(), mean_pose.mean(0))
