"""The loss as a sum of named terms."""

import pytest
import torch

from glagcn.config.resolve import parse_command_line
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from glagcn.train import loss
from glagcn.train.loss import TERMS, Loss, Term


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


def test_a_further_term_is_one_line_of_the_table(monkeypatch):
    def largest(prediction, targets, frame):
        return torch.linalg.vector_norm(prediction.target - targets[:, frame, None], dim=-1).amax(dim=(1, 2)).sum()

    term = Term("worst_joint", largest, lambda optim: 0.25)
    monkeypatch.setattr(loss, "TERMS", (*TERMS, term))
    ours = Loss(network(1))
    inputs, targets = torch.randn(5, 3, 17, 2), torch.randn(5, 3, 17, 3)
    sums = ours(inputs, targets)
    assert sums.shape == (3,)
    distances = torch.linalg.vector_norm(ours.model(inputs).target[:, 0] - targets[:, 1], dim=-1)
    torch.testing.assert_close(sums[2], distances.amax(dim=1).sum())
    assert ours.weights(optim()) == [1.0, 1.0, 0.25]
    assert ours.means(dict(zip(ours.names, sums.tolist(), strict=True)), 5, optim()).keys() == {
        "loss", "mpjpe_mm", "sequence_mpjpe_mm", "worst_joint_mm",
    }  # fmt: skip
