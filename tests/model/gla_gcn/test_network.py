import pytest
import torch
from reference import mean_distance

from glagcn.errors import UserError
from glagcn.model.gla_gcn.blocks import AGCN, matching, split
from glagcn.model.gla_gcn.heads import HEADS
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton

MPI3DHP, H36M = get_skeleton("mpi3dhp17"), get_skeleton("h36m17")


def small(**options) -> LiftingNetwork:
    return LiftingNetwork(MPI3DHP, (3, 3), 8, **options)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("sequence_layers", [0, 2])
def test_every_parameter_gets_a_gradient(head, sequence_layers):
    torch.manual_seed(0)
    model = small(head=head, sequence_layers=sequence_layers)
    out = model(torch.randn(4, 9, 17, 2))
    loss = mean_distance(out.target, torch.randn(4, 1, 17, 3))
    if out.sequence is not None:
        loss = loss + mean_distance(out.sequence, torch.randn(4, 9, 17, 3))
    loss.backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, p in trained.items() if p.grad is None or not p.grad.any()] == []


def test_only_biases_that_a_batch_norm_takes_away_are_not_trained():
    fixed = {name.rsplit(".", 2)[-2] for name, p in small().named_parameters() if not p.requires_grad}
    assert fixed == {"mix", "temporal", "0"}  # 0: the convolution of a skip or residual


@pytest.mark.parametrize(
    ("channels", "stages", "parameters", "gmac"),
    [(96, 3, 844_076, 0.176), (96, 5, 1_348_856, 1.623), (256, 3, 5_927_036, None), (256, 4, 7_703_106, 3.70)],
)
def test_the_public_model_has_the_published_size(channels, stages, parameters, gmac):
    model = LiftingNetwork(H36M, (3,) * stages, channels, sequence_layers=0, head="shared")
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    if gmac is not None:
        assert model.flops() / 2e9 == pytest.approx(gmac, abs=0.005)


@pytest.mark.parametrize(("layers", "predicted"), [(1, 1_483_883), (3, 1_736_273)])
def test_the_full_model_has_the_predicted_size(layers, predicted):
    model = LiftingNetwork(MPI3DHP, (3,) * 5, 96, sequence_layers=layers)
    assert sum(p.numel() for p in model.parameters()) == predicted + 17 * 12  # a linear layer per joint


def test_a_batch_of_one_works_and_windows_do_not_see_each_other_in_eval_mode():
    model, x = small(), torch.randn(3, 9, 17, 2)
    out = model(x[:1])
    assert (out.target.shape, out.sequence.shape) == ((1, 1, 17, 3), (1, 9, 17, 3))
    assert torch.isfinite(out.target).all()
    torch.testing.assert_close(model.eval()(x).target[1:2], model(x[1:2]).target)


def test_a_joint_map_averages_the_input_and_leaves_it_as_it_was():
    skeleton = get_skeleton("humaneva15_coco17")
    model = LiftingNetwork(skeleton, (3,), 8, sequence_layers=0, head="shared", input_norm=False).eval()
    x = torch.randn(2, 3, 17, 2)
    before = x.clone()
    features = model._features(x)
    assert torch.equal(x, before)
    assert features.shape == (2, 2, 3, 15)
    torch.testing.assert_close(features[..., 0], (x[:, :, 11] + x[:, :, 12]).transpose(1, 2) / 2)
    torch.testing.assert_close(features[..., 2], x[:, :, 5].transpose(1, 2))


@pytest.mark.parametrize("causal", [False, True])
def test_the_outer_residual_carries_the_target_frame(causal):
    """With everything else silenced, what reaches the head is the target frame of the window alone."""
    model = LiftingNetwork(get_skeleton("h36m17"), (3, 5), 4, sequence_layers=0, causal=causal).eval()
    for module in model.strided:
        for layer in (module.reduce.bn, module.reduce.temporal):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    assert model.target_frame == (14 if causal else 7)
    x = torch.randn(1, 15, 17, 2)
    features = model.expand(model._features(x), model.adjacency)[:, :, model.target_frame]
    for module in model.strided:
        module.reduce.activation = False
    expected = model.head(features[:, :, None])
    torch.testing.assert_close(model(x).target, expected)


@pytest.mark.parametrize("shape", [(2, 27, 17, 2), (2, 9, 16, 2), (9, 17, 2)])
def test_a_wrong_input_is_refused_with_both_shapes(shape):
    with pytest.raises(UserError, match=r"\[N, 9, 17, 2\].*found \[") as caught:
        small()(torch.zeros(shape))
    assert str(list(shape)) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "both"}, "unknown head 'both'"),
        ({"graph": get_skeleton("humaneva15")}, "--graph humaneva15: it has 15 joints, but mpi3dhp17 has 17"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_under_autocast_coordinates_are_read_and_positions_written_beyond_bfloat16():
    """bfloat16 would round coordinates near 1 to steps of 1/128, and metres to steps of 4 mm."""
    x = 1 + torch.rand(2, 2, 9, 17) / 8
    with torch.autocast("cpu", dtype=torch.bfloat16):
        channels = split(x)
    assert channels.dtype == torch.bfloat16
    assert channels.shape == (2, 8, 9, 17)
    weight = torch.randn(5, 2, 1, 1)
    found = torch.nn.functional.conv2d(channels.float(), matching(weight, channels))
    torch.testing.assert_close(found, torch.nn.functional.conv2d(x, weight), rtol=1e-4, atol=1e-4)

    torch.manual_seed(0)
    model, x = small().eval(), torch.randn(2, 9, 17, 2)
    exact = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(x)
    assert out.target.dtype == out.sequence.dtype == torch.float32
    assert (out.target - exact.target).abs().max() < 0.05 * exact.target.abs().max()


def test_under_autocast_every_block_hands_on_half_as_many_bytes():
    model = small()
    handed_on = []
    for module in model.modules():
        if isinstance(module, AGCN):
            module.register_forward_hook(lambda module, args, out: handed_on.append(out.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(torch.randn(2, 9, 17, 2))
    assert len(handed_on) == sum(isinstance(module, AGCN) for module in model.modules())
    assert set(handed_on) == {torch.bfloat16}


def test_under_autocast_a_joint_map_averages_in_float32():
    model = LiftingNetwork(get_skeleton("humaneva15_coco17"), (3,), 4, relative=True)
    read = []
    model.expand.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    x = 1 + torch.randn(2, 3, 17, 2) / 64
    model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(x)
    assert torch.equal(*read)
