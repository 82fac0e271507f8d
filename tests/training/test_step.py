import copy

import numpy as np
import pytest
import torch

from glagcn.config.resolve import parse_command_line
from glagcn.data.plan import share
from glagcn.data.windows import Batch
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.model.interface import Prediction
from glagcn.skeletons import get_skeleton
from glagcn.train.loss import center_error, sequence_error
from glagcn.train.step import Stepper


def stepper(*flags):
    config, _, _ = parse_command_line(["--dataset", "demo", "--dropout", "0", "--workers", "1", *flags])
    torch.manual_seed(0)
    model = LiftingNetwork(get_skeleton("mpi3dhp17"), (3,), 4, sequence_layers=1, dropout=0.0)
    stepper = Stepper(config.optim, model)
    stepper.model.eval()  # batch statistics would differ between a batch and its parts
    return stepper


def batch(count):
    rng = np.random.default_rng(0)
    return Batch(
        torch.from_numpy(rng.normal(size=(count, 3, 17, 2)).astype(np.float32)),
        torch.from_numpy(rng.normal(size=(count, 3, 17, 3)).astype(np.float32)),
    )


def trained(stepper):
    return [parameter for parameter in stepper.model.parameters() if parameter.requires_grad]


def gradients(stepper):
    return [parameter.grad.clone() for parameter in trained(stepper)]


def whole(count, most=99):
    return share(count, most, 0, 1)


def test_errors_are_sums_over_windows_of_mean_distances():
    targets = torch.zeros(2, 3, 17, 3)
    targets[:, 1, :, 0] = 9.0  # only the centre frame counts for the single head
    center = targets[:, 1:2].clone()
    center[0, 0, 5] += torch.tensor([3.0, 4.0, 0.0])
    sequence = targets.clone()
    sequence[1, 2, :, 1] += 2.0
    prediction = Prediction(center, sequence)
    assert center_error(prediction, targets, frame=1).item() == pytest.approx(5 / 17)
    assert sequence_error(prediction, targets, frame=1).item() == pytest.approx(2 / 3)


def test_the_gradient_is_that_of_the_mean_loss():
    ours, data = stepper("--sequence_weight", "0.5"), batch(6)
    sums = ours.gradient(data, whole(6))
    expected = copy.deepcopy(ours.model)
    expected.zero_grad()
    prediction = expected(data.inputs)
    single = (prediction.target - data.targets[:, 1:2]).norm(dim=-1).mean()
    sequence = (prediction.sequence - data.targets).norm(dim=-1).mean()
    (single + 0.5 * sequence).backward()
    wanted = [parameter for parameter in expected.parameters() if parameter.requires_grad]
    for found, parameter in zip(gradients(ours), wanted, strict=True):
        torch.testing.assert_close(found, parameter.grad, rtol=1e-4, atol=1e-7)
    assert [value.item() / 6 for value in sums] == pytest.approx([single.item(), sequence.item()], rel=1e-5)


@pytest.mark.parametrize("most", [3, 2, 1])
def test_in_micro_batches_it_is_the_same(most):
    at_once, pieces = stepper(), stepper()
    sums = [each.gradient(batch(6), whole(6, size)) for each, size in ((at_once, 6), (pieces, most))]
    for one, other in zip(gradients(at_once), gradients(pieces), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(*sums)


def test_a_batch_that_is_not_counted_adds_nothing():
    ours = stepper()
    nothing = share(6, 6, rank=1, world_size=2)
    assert not nothing.has_windows
    assert ours.gradient(batch(1), nothing).tolist() == [0, 0]
    assert all(gradient.abs().max() == 0 for gradient in gradients(ours))


def test_a_step_moves_by_the_rate_and_clears_the_gradient():
    """The first step of Adam moves every weight by the rate against its gradient's sign."""
    ours = stepper("--optimizer", "adam")
    before = [parameter.detach().clone() for parameter in trained(ours)]
    ours.gradient(batch(6), whole(6))
    slopes = gradients(ours)
    norm = ours.apply(0.01)
    assert norm.item() == pytest.approx(torch.cat([slope.flatten() for slope in slopes]).norm().item(), rel=1e-5)
    for old, parameter, slope in zip(before, trained(ours), slopes, strict=True):
        clear = slope.abs() > 1e-5
        torch.testing.assert_close((old - parameter)[clear], 0.01 * slope.sign()[clear], rtol=1e-2, atol=0)
    assert not any(gradient.any() for gradient in gradients(ours))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e30])  # the last overflows the loss, not its gradient
def test_a_loss_that_is_not_finite_leaves_the_weights_as_they_were(bad):
    ours, data = stepper(), batch(6)
    before = copy.deepcopy(ours.model.state_dict())
    data.targets[2, 1, 3] = bad
    ours.gradient(data, whole(6))
    ours.apply(0.01)
    ours.gradient(batch(6), whole(6))  # nor does any later step move them
    ours.apply(0.01)
    assert ours.steps_taken() == 0
    for name, value in ours.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(value.any() for state in ours.optimizer.state.values() for value in state.values())


def test_inputs_that_are_not_finite_leave_weights_and_running_statistics_as_they_were():
    ours, data = stepper(), batch(6)
    ours.model.train()
    ours.statistics.set_momentum(0.9)
    ours.gradient(data, whole(6))
    ours.apply(0.01)
    before = copy.deepcopy(ours.model.state_dict())
    data.inputs[2, 1, 3] = torch.nan
    for each in (data, batch(6)):  # the second step is skipped because the first one was
        ours.gradient(each, whole(6))
        ours.apply(0.01)
    assert ours.steps_taken() == 1
    for name, value in ours.model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("flags", [[], ["--optimizer", "ranger"]], ids=["adam", "ranger"])
def test_steps_before_one_that_is_not_finite_are_counted(flags):
    ours, data = stepper(*flags), batch(6)
    for _ in range(3):
        ours.gradient(data, whole(6))
        ours.apply(0.01)
    data.targets[2, 1, 3] = torch.nan
    ours.gradient(data, whole(6))
    ours.apply(0.01)
    assert ours.steps_taken() == 3


def test_clipping_bounds_the_gradient_and_reports_its_norm():
    free, clipped = stepper("--optimizer", "adam"), stepper("--optimizer", "adam", "--clip", "0.001")
    norms = []
    for each in (free, clipped):
        each.gradient(batch(6), whole(6))
        norms.append(each.apply(0.0).item())
    assert norms[0] == pytest.approx(norms[1])
    moments = [each.optimizer.state_dict()["state"] for each in (free, clipped)]
    ratio = moments[1][0]["exp_avg"].norm() / moments[0][0]["exp_avg"].norm()
    assert ratio.item() == pytest.approx(0.001 / norms[0], rel=1e-3)
