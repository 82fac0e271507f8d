"""Models by name: building, keeping and naming them."""

import numpy as np
import pytest
import torch

from glagcn.config.resolve import parse_command_line
from glagcn.errors import UserError
from glagcn.model.registry import MODELS, from_config, get_kind, model_config, name_of
from glagcn.skeletons import get_skeleton


def built(name, *flags):
    config = parse_command_line(["-d", "demo", "--model", name, "--channel", "8", "--frames", "9", *flags])[0]
    return get_kind(name).load().build(get_skeleton("mpi3dhp17"), config.model)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_built_again_from_what_a_checkpoint_keeps_of_it(name):
    model = built(name, "--causal").eval()
    kept = model_config(model)
    assert kept["kind"] == name == name_of(model)
    again = from_config(kept).eval()
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 9, 17, 2)
    assert torch.equal(again(x).target, model(x).target)
    assert model_config(again) == kept
    if name == "gla_gcn":  # as version 0.1.0 kept it
        older = {key: value for key, value in kept.items() if key not in ("kind", "input")}
        assert model_config(from_config(older)) == kept


@pytest.mark.parametrize("name", MODELS)
def test_every_model_keeps_the_interface(name):
    model = built(name)
    prediction = model(torch.randn(3, 9, 17, 2))
    assert prediction.target.shape == (3, 1, 17, 3)
    assert (prediction.sequence is not None) == model.predicts_sequence
    assert model.options()["frames"] == 9
    assert "9 frames" in model.describe()
    assert 0 < model.for_prediction().flops() <= model.flops()
    torch.testing.assert_close(
        model.for_prediction()(x := torch.randn(3, 9, 17, 2)).target, model.eval()(x).target, rtol=1e-3, atol=1e-4
    )
    with pytest.raises(UserError, match=r"reads windows of shape \[N, 9, 17, 2\]"):
        model(torch.randn(3, 8, 17, 2))
    for wrong in (torch.randn(3, 9, 17, 2).double(), np.zeros((3, 9, 17, 2))):
        with pytest.raises(UserError, match=r"reads a tensor of torch.float32, found .*; convert it first"):
            model(wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"channels": "8"},
        {"widths": "ab"},
        {"skeleton": 3},
        {"colour": "red"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", MODELS)
def test_configurations_that_cannot_be_are_refused(name, change):
    with pytest.raises(UserError):
        from_config(model_config(built(name)) | change)


@pytest.mark.parametrize("flags", ["--sequence_layers 0", "--head shared", "--graph h36m"])
def test_flags_of_another_model_are_refused(flags):
    assert built("gla_gcn", *flags.split())
    with pytest.raises(UserError, match=f"{flags.split()[0]} has no effect on --model temporal_conv"):
        built("temporal_conv", *flags.split())
