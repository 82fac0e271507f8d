"""VideoPose3D's network: its size, what it sees, and that strides compute what dilations do."""

import pytest
import torch
import torch.nn.functional as F

from glagcn.errors import UserError
from glagcn.model.cost import count_cost
from glagcn.model.temporal_conv import TemporalConv
from glagcn.skeleton import get_skeleton

H36M = get_skeleton("h36m17")


def network(widths=(3, 3), channels=8, **form):
    torch.manual_seed(0)
    model = TemporalConv(H36M, widths, channels, **form).eval()
    for module in model.modules():  # statistics that do something
        if hasattr(module, "running_mean"):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


def test_the_paper_s_model_of_27_frames_has_8_56_million_parameters():
    # Layers of 1,024 channels: 3 x 34 inputs, two blocks of 3 x 1,024 and 1,024 inputs; 51 outputs; 5 norms.
    by_hand = 102 * 1024 + 2 * (3 * 1024 + 1024) * 1024 + 1024 * 51 + 51 + 5 * 2 * 1024
    parameters, flops = count_cost(TemporalConv(H36M, (3, 3, 3), 1024))
    assert parameters == by_hand == 8_555_571
    assert flops == 2 * 1024 * (9 * 104 + 3 * 4096 + 4096 + 51)  # rows of 102 inputs are padded to 104


@pytest.mark.parametrize(("widths", "frames"), [((3,), 3), ((3, 3), 9), ((5, 3), 15), ((3, 5, 3), 45)])
@pytest.mark.parametrize("causal", [False, True])
def test_every_frame_of_the_window_reaches_the_pose(widths, frames, causal):
    model = network(widths, 64, causal=causal)
    x = torch.randn(1, frames, 17, 2, requires_grad=True)
    model(x).center.sum().backward()
    assert (x.grad.abs().sum(dim=(0, 2, 3)) > 0).all()
    assert model.target_frame == (frames - 1 if causal else frames // 2)


@pytest.mark.parametrize("causal", [False, True])
def test_strides_compute_what_the_dilated_network_does(causal):
    """The form of the paper's inference, with dilations over a whole sequence, gives the same pose for its window."""
    model = network((3, 3, 3), causal=causal)
    sequence = torch.randn(1, 40, 17, 2)
    x = sequence.flatten(2).transpose(1, 2)  # [1,34,T]

    def layer(x, part, width, dilation):
        weight = part.linear.weight.view(len(part.linear.weight), width, -1).transpose(1, 2)
        norm = part.norm
        y = F.conv1d(x, weight, dilation=dilation)
        return F.relu(F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias))

    x = layer(x, model.expand, 3, 1)
    dilation = 3
    for block in model.blocks:
        skip = x[:, :, 2 * dilation :] if causal else x[:, :, dilation:-dilation]
        x = skip + layer(layer(x, block.wide, 3, dilation), block.narrow, 1, 1)
        dilation *= 3
    poses = model.shrink(x.transpose(1, 2)).view(-1, 17, 3)  # of every window of 27 frames
    windows = sequence[0].unfold(0, 27, 1).permute(0, 3, 1, 2)
    torch.testing.assert_close(model(windows).center[:, 0], poses, rtol=1e-4, atol=1e-5)


def test_the_tuned_start_predicts_about_the_mean_pose():
    model, mean = network(), torch.randn(17, 3)
    model.initialise("tuned", mean)
    assert (model(torch.randn(20, 9, 17, 2)).center[:, 0] - mean).abs().max() < 0.5


def test_only_the_last_layer_gives_coordinates():
    model = network()
    assert [weight.shape for weight in model.output_weights()] == [(51, 8)]


@pytest.mark.parametrize("form", [{"widths": (2, 3)}, {"channels": 0}, {"channels": 10**6}, {"widths": ()}])
def test_impossible_forms_are_refused(form):
    with pytest.raises(UserError):
        network(**form)
