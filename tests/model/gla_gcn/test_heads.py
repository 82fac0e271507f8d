import pytest
import torch

from glagcn.model.gla_gcn.heads import JointHead, SequenceHead
from glagcn.skeletons import get_skeleton


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
    head = JointHead(8, 17, "mixed", mix=0.25)
    x = features.permute(0, 2, 3, 1)
    torch.testing.assert_close(head(features), 0.25 * head.unshared(x) + 0.75 * head.shared(x))


@pytest.mark.parametrize("mix", [0.0, 1.0, -1.0])
def test_a_mix_that_leaves_one_out_is_refused(mix):
    with pytest.raises(ValueError, match="between 0 and 1"):
        JointHead(8, 17, "mixed", mix=mix)


def test_autocast_does_not_round_a_head(features):
    head = JointHead(8, 17, "unshared")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = head(features)
    assert torch.equal(out, head(features))


def test_the_sequence_head_is_linear_at_its_end(features):
    head = SequenceHead(8, 17, "shared", 0.5, dropout=0.0)
    adjacency = torch.from_numpy(get_skeleton("mpi3dhp17").adjacency())
    assert (head.block(features, adjacency) < 0).any()
    assert head(features, adjacency).shape == (2, 5, 17, 3)
