import json

import pytest
import reference
import torch

from glagcn.checkpoints.load import load_model
from glagcn.checkpoints.ours import read
from glagcn.checkpoints.published import load_published_weights, published_places, published_state
from glagcn.errors import UserError
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from tests.reference_model import published_tensor, published_weights


@pytest.mark.parametrize("name", reference.NAMES)
def test_published_weights_give_the_published_output(name):
    results = reference.results(name)
    with torch.no_grad():
        center = load_model(reference.checkpoint(name))(torch.from_numpy(results["input_2d"])).target
    expected = torch.from_numpy(results["output_3d_eval"])
    torch.testing.assert_close(center, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("name", reference.NAMES)
def test_published_weights_give_the_published_loss_and_gradients(name):
    """In float64: the float32 gradients of the longest model carry rounding errors."""
    dtype, model = torch.float64, reference.without_dropout(load_model(reference.checkpoint(name))).double()
    results = reference.results(name)
    center = model(torch.from_numpy(results["input_2d"]).to(dtype)).target
    expected = torch.from_numpy(results["output_3d_train"]).to(dtype)
    torch.testing.assert_close(center, expected, rtol=0, atol=1e-5 * expected.abs().max().item())

    loss = reference.mean_distance(center, torch.from_numpy(results["target_3d"]).to(dtype))
    assert loss.item() == pytest.approx(results["loss_train"].item(), rel=1e-6)

    loss.backward()
    gradients = {parameter: tensor.grad for parameter, tensor in model.named_parameters()}
    places = published_places(model)
    norms = json.loads(str(results["grad_norms"]))
    assert norms.keys() == {key for key, place in places.items() if place.name in gradients}
    for key, norm in norms.items():
        if norm > 1e-5:
            assert published_tensor(places[key], gradients).norm().item() == pytest.approx(norm, rel=1e-4), key


@pytest.mark.parametrize("name", reference.NAMES)
def test_published_weights_come_back_bit_for_bit(name):
    stored = published_state(read(reference.checkpoint(name)), reference.checkpoint(name))
    if "coco" in name:  # its input normalisation was never applied
        stored = {key: tensor for key, tensor in stored.items() if not key.startswith("data_bn.")}
    returned = published_weights(load_model(reference.checkpoint(name)))
    assert returned.keys() == stored.keys()
    for key, tensor in stored.items():
        assert returned[key].dtype == tensor.dtype
        assert torch.equal(returned[key], tensor), key


def test_every_number_of_ours_has_a_published_place():
    model = LiftingNetwork(get_skeleton("h36m17"), (3, 3), 8, sequence_layers=0, head="shared")
    marks = {name: torch.zeros(tensor.shape) for name, tensor in model.state_dict().items()}
    for place in published_places(model).values():
        marks[place.name][place.part] += 1
    assert [name for name, mark in marks.items() if not (mark == 1).all()] == ["adjacency"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("fc.bias"), r"file\.bin: the weights 'fc\.bias' \[3\] are missing"),
        (lambda w: w.update(extra=torch.zeros(2)), r"unexpected weights 'extra' \[2\]"),
        (lambda w: w.update({"fc.weight": torch.zeros(3, 9, 1)}), r"'fc\.weight' .*\[3, 9, 1\], expected \[3, 8, 1\]"),
        (lambda w: w.pop("layers_tcngcn.1.tcn1.conv.bias"), r"are missing: it is incomplete"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_change_nothing(change, message):
    model = LiftingNetwork(get_skeleton("h36m17"), (3,), 8, sequence_layers=0, head="shared")
    weights = {name: tensor + 1 for name, tensor in published_weights(model).items()}
    change(weights)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError, match=message):
        load_published_weights(model, weights, "file.bin")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
