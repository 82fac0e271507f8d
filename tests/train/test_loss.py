"""The loss as a sum of named terms."""

import pytest
import torch

from glagcn.config.resolve import parse_command_line
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from glagcn.train.loss import Loss


def network(sequence_layers):
    torch.manual_seed(0)
    skeleton = get_skeleton("mpi3dhp17")
    return LiftingNetwork(skeleton, (3,), 4, sequence_layers=sequence_layers, dropout=0.0).eval()


def optim(*flags):
    return parse_command_line(["--dataset", "demo", *flags])[0].optim


def test_a_model_without_a_sequence_leaves_its_terms_out():
    assert Loss(network(1)).names == ("mpjpe", "sequence_mpjpe")
    assert Loss(network(0)).names == ("mpjpe",)


def test_means_are_per_window_in_mm_and_the_loss_in_metres():
    means = Loss(network(1)).means({"mpjpe": 3.0, "sequence_mpjpe": 1.0}, 10, optim("--sequence_weight", "0.5"))
    assert means == pytest.approx({"loss": 0.35, "mpjpe_mm": 300.0, "sequence_mpjpe_mm": 100.0})
