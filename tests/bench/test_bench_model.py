"""The plain model computes what the published code does, and what ours does."""

import json

import pytest
import torch

from glagcn.bench.reference.model import ReferenceModel
from glagcn.bench.reference.weights import reference_of
from glagcn.checkpoints.load import load_model
from glagcn.checkpoints.published.layout import published_state, published_weights
from glagcn.checkpoints.reader import read
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import get_skeleton
from tests.model.gla_gcn import reference


def small(**form) -> LiftingNetwork:
    """A network whose every weight and running statistic differs from where it starts, with outputs about a metre."""
    torch.manual_seed(0)
    model = LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3), 8, **({"dropout": 0.0} | form))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and name != "adjacency":
                tensor.add_(torch.rand_like(tensor) * 0.1)
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum = 0.9
        model(windows(8))
    return model


def windows(count=3, frames=9, joints=17):
    return torch.rand(count, frames, joints, 2, generator=torch.Generator().manual_seed(1)) - 0.5


@pytest.mark.parametrize("name", reference.NAMES)
def test_published_weights_give_the_published_results(name):
    ours, results = load_model(reference.checkpoint(name)), reference.results(name)
    weights = published_state(read(reference.checkpoint(name)), reference.checkpoint(name))
    if ours.input_norm is None:  # stored, never applied
        weights = {key: tensor for key, tensor in weights.items() if not key.startswith("data_bn.")}
    plain = ReferenceModel(
        ours.skeleton, ours.widths, ours.channels, graph=ours.graph, sequence_layers=0, head="shared",
        dropout=0.0, input_norm=ours.input_norm is not None,
    )  # fmt: skip
    plain.load_published(weights)
    inputs = torch.from_numpy(results["input_2d"])
    for mode, key in ((False, "output_3d_eval"), (True, "output_3d_train")):
        center, sequence = plain.train(mode)(inputs)
        expected = torch.from_numpy(results[key])
        torch.testing.assert_close(center, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
        assert sequence is None
    loss = reference.mean_distance(center, torch.from_numpy(results["target_3d"]))
    assert loss.item() == pytest.approx(results["loss_train"].item(), rel=1e-6)
    loss.backward()
    norms = json.loads(str(results["grad_norms"]))
    found = {key.replace("fc.layers.0.", "fc."): value.grad.norm().item() for key, value in plain.named_parameters()}
    tolerance = 3e-4 if name == "h36m_243f" else 1e-4
    large = {key: norm for key, norm in norms.items() if norm > 1e-5}
    assert {key: found[key] for key in large} == pytest.approx(large, rel=tolerance)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"head": "shared"},
        {"sequence_layers": 0, "head": "shared"},
        {"causal": True},
        {"graph": get_skeleton("h36m17")},
        {"input_norm": False},
    ],
    ids=lambda form: "-".join(form) or "full",
)
def test_ours_and_the_plain_model_agree(form, training):
    ours = small(**form).train(training)
    plain = reference_of(ours)
    assert plain.training == training
    center, sequence = plain(windows())
    expected = ours(windows())
    torch.testing.assert_close(center, expected.center, rtol=0, atol=1e-5)
    assert (sequence is None) == (expected.sequence is None)
    if sequence is not None:
        torch.testing.assert_close(sequence, expected.sequence, rtol=0, atol=1e-5)


def test_the_public_form_loads_by_its_published_names():
    ours = small(sequence_layers=0, head="shared").eval()
    plain = ReferenceModel(ours.skeleton, ours.widths, ours.channels, sequence_layers=0, head="shared").eval()
    plain.load_published(published_weights(ours))
    torch.testing.assert_close(plain(windows())[0], ours(windows()).center, rtol=0, atol=1e-5)


def test_every_weight_of_ours_reaches_the_plain_model():
    """A weight that the translation forgot would start at random, and change nothing when ours changes."""
    ours = small()
    total = sum(weight.numel() for weight in ours.parameters())
    assert sum(weight.numel() for weight in reference_of(ours).parameters()) == total
    first, second = (reference_of(ours).state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_dropout_drops():
    plain = reference_of(small(dropout=0.5)).train()
    assert not torch.equal(plain(windows())[0], plain(windows())[0])


def test_a_mixed_head_is_refused():
    with pytest.raises(ValueError, match="invalid head 'mixed'"):
        reference_of(small(head="mixed"))
