"""A failed step is repeated, and the window, joint, module and weight that are not finite are named."""

import numpy as np
import pytest
import torch

from glagcn import dist
from glagcn.config.resolve import resolve
from glagcn.data.windows.plan import EpochPlan, share
from glagcn.data.windows.store import Batch
from glagcn.errors import UserError
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import get_skeleton
from glagcn.training.failed_step import explain, failed_step, window_names
from glagcn.training.replicas import check_replicas
from glagcn.training.step import Stepper
from tests.splits import make_split

NAMES = [f"S1 frame {number}" for number in range(6)]


@pytest.fixture
def stepper():
    torch.manual_seed(0)
    config, _ = resolve({"dataset": "demo"})
    skeleton = get_skeleton("mpi3dhp17")
    return Stepper(config.optim, LiftingNetwork(skeleton, (3,), 8, sequence_layers=1))


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(0)
    return Batch(torch.randn(6, 3, 17, 2, generator=draw), torch.randn(6, 3, 17, 3, generator=draw))


def lines(stepper, batch):
    return explain(stepper, batch, share(6, 4, 0, 1), (0, 0, 0), NAMES)


def test_a_finite_step_has_nothing_to_name(stepper, batch):
    before = {name: tensor.clone() for name, tensor in stepper.model.named_parameters()}
    assert lines(stepper, batch) == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in stepper.model.named_parameters())


def test_a_nan_input_is_named_with_window_and_joint(stepper, batch):
    batch.inputs[4, 1, 7, 0] = torch.nan
    found = lines(stepper, batch)
    assert found[0] == "2D input of window S1 frame 4: not finite at left_wrist"
    assert any(line.startswith("gradient: not finite in ") for line in found)


def test_a_target_that_overflows_the_loss_is_named(stepper, batch):
    batch.targets[2, 1, 10] = 1e30  # finite, but its square is not
    found = lines(stepper, batch)
    assert found[0] == "error of the target frame of window S1 frame 2: not finite at right_ankle"
    assert any(line.startswith("loss term mpjpe: inf") for line in found)


def test_the_first_module_that_overflows_is_named(stepper, batch):
    with torch.no_grad():
        next(iter(stepper.model.parameters())).fill_(3e38)
    found = lines(stepper, batch)
    names = dict(stepper.model.named_modules())
    (module,) = [line.partition(":")[0] for line in found if line.endswith(": the output is not finite")][:1]
    assert module in names


def test_windows_are_named_by_sequence_and_frame():
    split = make_split({"S9/Walking/cam0": 11, "S9/WalkDog/cam1": 7})
    assert window_names(torch.tensor([0, 10, 11, 17]), split) == [
        "S9/Walking/cam0 frame 0", "S9/Walking/cam0 frame 10", "S9/WalkDog/cam1 frame 0", "S9/WalkDog/cam1 frame 6",
    ]  # fmt: skip


def test_the_file_holds_the_state_before_the_step_and_its_windows():
    plan = EpochPlan(np.arange(10), 4, "random", seed=3)
    content = failed_step({"model": {}, "progress": {"step": 8, "seconds": 1.0}}, plan, 5)
    assert content["progress"] == {"step": 4, "seconds": 1.0}
    assert content["failed_step"]["step"] == 5
    assert content["failed_step"]["frames"].tolist() == plan.batch(1, 1).frames.tolist()


def test_replicas_that_differ_are_named(stepper, monkeypatch):
    def beside_another(sums):
        other = sums.clone()
        other[2] += 1
        return torch.stack([sums, other])

    check_replicas(stepper.model, 7)
    monkeypatch.setattr(dist, "gather", beside_another)
    names = [name for name, tensor in stepper.model.state_dict().items() if tensor.numel()]
    with pytest.raises(UserError, match=rf"after step 7 .* rank\(s\) 1 differ .* first in {names[2]}\."):
        check_replicas(stepper.model, 7)
