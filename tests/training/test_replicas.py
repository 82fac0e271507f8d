"""Weights that differ between processes are named."""

import pytest
import torch

from glagcn import dist
from glagcn.config.resolve import resolve
from glagcn.errors import UserError
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from glagcn.train.replicas import check_replicas
from glagcn.train.step import Stepper


@pytest.fixture
def stepper():
    torch.manual_seed(0)
    config, _ = resolve({"dataset": "demo"})
    skeleton = get_skeleton("mpi3dhp17")
    return Stepper(config.optim, LiftingNetwork(skeleton, (3,), 8, sequence_layers=1))


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
