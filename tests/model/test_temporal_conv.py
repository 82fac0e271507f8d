"""VideoPose3D's network: its size, what it sees, and that strides compute what dilations do."""

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from glagcn.model.temporal_conv import Layer, TemporalConv
from glagcn.skeletons import get_skeleton
from tests.model.gla_gcn.test_operators import ROW, Recorder, large_products, row, tensors

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
    model = TemporalConv(H36M, (3, 3, 3), 1024)
    assert sum(parameter.numel() for parameter in model.parameters()) == by_hand == 8_555_571
    assert model.flops() == 2 * 1024 * (9 * 104 + 3 * 4096 + 4096 + 51)  # rows of 102 inputs are padded to 104


@pytest.mark.parametrize(("widths", "frames"), [((3,), 3), ((3, 5, 3), 45)])
@pytest.mark.parametrize("causal", [False, True])
def test_every_frame_of_the_window_reaches_the_pose(widths, frames, causal):
    model = network(widths, 64, causal=causal)
    x = torch.randn(1, frames, 17, 2, requires_grad=True)
    model(x).target.sum().backward()
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
    torch.testing.assert_close(model(windows).target[:, 0], poses, rtol=1e-4, atol=1e-5)


def test_the_tuned_start_predicts_about_the_mean_pose():
    model, mean = network(), torch.randn(17, 3)
    model.initialise("tuned", mean)
    assert (model(torch.randn(20, 9, 17, 2)).target[:, 0] - mean).abs().max() < 0.5


def test_on_a_gpu_every_row_of_a_large_bfloat16_product_is_aligned():
    """A row of the input is 3 frames of 17 joints, 102 numbers, which no tensor core reads aligned."""
    model = TemporalConv(H36M, (3, 3, 3), 256, dropout=0.0).train()
    with FakeTensorMode(allow_non_fake_inputs=True), Recorder() as recorder:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            center = model(torch.empty(150, 27, 17, 2)).target
        center.sum().backward()
    assert center.dtype == torch.float32
    read = [tensors([*arguments, result]) for _, arguments, result in large_products(recorder.calls)]
    products = [parts for parts in read if parts[0].dtype == torch.bfloat16]
    assert len(products) == 5 + 5 + 4  # forward, and the gradients of weights and of all inputs but the first
    assert [part.shape for parts in products for part in parts if row(part, False) % ROW] == []


def test_under_autocast_coordinates_are_read_beyond_bfloat16():
    """Joints a few pixels apart, far from the centre: bfloat16 rounds coordinates near 1 to steps of 1/128."""
    torch.manual_seed(0)
    layer = Layer(102, 16, 0.0, coordinates=True).eval()
    signs = torch.randint(0, 2, (16, 51)) * 2.0 - 1
    layer.linear.weight.data = torch.cat([signs, -signs], dim=1)  # differences alone, by weights that bfloat16 has
    x = 1 + torch.rand(20, 102) / 64
    exact = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x)
    assert (found - exact).abs().max() < 0.01 * exact.max()
