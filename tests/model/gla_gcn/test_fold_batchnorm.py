import pytest
import reference
import torch

from glagcn.checkpoints.load import load_model
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton


def trained_model(widths=(3, 3), channels=8, **options) -> LiftingNetwork:
    """A model whose BatchNorms are far from doing nothing."""
    torch.manual_seed(0)
    model = LiftingNetwork(get_skeleton("mpi3dhp17"), widths, channels, **options)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


@pytest.mark.parametrize("options", [{"sequence_layers": 0, "head": "shared"}, {"sequence_layers": 2}])
def test_it_predicts_the_same_center_and_no_sequence(options):
    model = trained_model(**options).eval().double()
    x = torch.randn(5, 9, 17, 2, dtype=torch.float64)
    expected, found = model(x), model.for_prediction()(x)
    torch.testing.assert_close(found.target, expected.target, rtol=1e-9, atol=1e-9)
    assert found.sequence is None
    assert torch.equal(model(x).target, expected.target)  # which stays as it was


def test_a_block_that_mixes_before_it_aggregates_keeps_its_bias():
    model = trained_model((3,), 1, sequence_layers=0, head="shared").eval()  # 2 input channels to 1
    assert any(getattr(module, "mixes_first", False) for module in model.modules())
    x = torch.randn(5, 3, 17, 2)
    torch.testing.assert_close(model.for_prediction()(x).target, model(x).target, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", reference.NAMES)
@torch.no_grad()
def test_the_error_of_a_published_model_stays_within_a_ten_thousandth_of_a_millimetre(name):
    results = reference.results(name)
    model, x = load_model(reference.checkpoint(name)), torch.from_numpy(results["input_2d"])
    target = torch.from_numpy(results["target_3d"])
    plain, found = (
        reference.mean_distance(each(x).target.double(), target).item() * 1000
        for each in (model, model.for_prediction())
    )
    assert found == pytest.approx(plain, rel=1e-4 / 50)  # as if the error were 50 mm; targets are random
