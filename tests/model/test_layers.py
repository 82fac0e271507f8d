"""The layers of all models: dropout, and confidences as a third input channel."""

import pytest
import torch

from glagcn.errors import UserError
from glagcn.model.layers import Dropout, PoseInput
from glagcn.model.registry import MODELS
from glagcn.skeletons import get_skeleton
from tests.checkpoints.exported_models import a_model

SKELETON = get_skeleton("mpi3dhp17")


def test_confidences_pass_through_and_do_not_change_places():
    x = torch.randn(2, 9, 17, 3)
    found = PoseInput(SKELETON, True, "xyc")(x)
    torch.testing.assert_close(found[..., :2], PoseInput(SKELETON, True)(x[..., :2]))
    assert torch.equal(found[..., 2], x[..., 2])


def test_a_mapped_joint_has_the_mean_confidence_of_its_sources():
    skeleton = get_skeleton("humaneva15_coco17")
    x = torch.rand(1, 1, 17, 3)
    found = PoseInput(skeleton, True, "xyc")(x)
    for joint, sources in enumerate(skeleton.joint_map):
        torch.testing.assert_close(found[0, 0, joint, 2], x[0, 0, list(sources), 2].mean())


@pytest.mark.parametrize("kind", list(MODELS))
def test_the_confidence_of_every_joint_and_frame_reaches_the_pose(kind):
    model = a_model(kind, input="xyc")
    x = torch.rand(1, *model.window_shape, requires_grad=True)
    (model(x).target ** 2).sum().backward()
    assert model.window_shape == (9, 17, 3)
    assert (x.grad[..., 2].abs().sum(dim=2) > 0).all()
    assert (x.grad[..., 2].abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("kind", list(MODELS))
def test_windows_without_confidences_are_refused_with_both_shapes(kind):
    with pytest.raises(UserError, match=r"\[N, 9, 17, 3\] .*x, y and confidence\), found \[1, 9, 17, 2\]"):
        a_model(kind, input="xyc")(torch.zeros(1, 9, 17, 2))


@pytest.mark.parametrize("kind", list(MODELS))
def test_constant_confidences_do_not_trouble_training(kind):
    """In data without confidences all are 1, and have no variance."""
    model = a_model(kind, input="xyc").train()
    x = torch.cat([torch.rand(4, 9, 17, 2), torch.ones(4, 9, 17, 1)], dim=3)
    model(x).target.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert all(torch.isfinite(buffer).all() for buffer in model.buffers())


@pytest.mark.parametrize("shape", [(64, 32, 17, 9), (1000, 315)])
def test_dropout_drops_its_share_and_keeps_the_mean(shape):
    torch.manual_seed(0)
    x = torch.ones(shape, requires_grad=True)
    y = Dropout(0.1)(x)
    assert y.unique().tolist() == pytest.approx([0.0, 1 / 0.9], rel=1e-4)
    assert (y == 0).float().mean().item() == pytest.approx(0.1, abs=0.003)
    assert y.mean().item() == pytest.approx(1, abs=0.003)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.isfinite(Dropout(0.999999)(x)).all()


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (30, 7)])
def test_dropout_follows_the_seed_and_draws_anew_every_time(shape):
    dropout, x = Dropout(0.5), torch.ones(shape)
    torch.manual_seed(3)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(3)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)
