"""Where a run is, kept in checkpoints and read back."""

from dataclasses import asdict

import pytest
import torch

from glagcn.train.progress import Progress, Sums


def test_it_comes_back_from_a_checkpoint(tmp_path):
    progress = Progress(step=7, best_mm=41.5, best_step=6, seconds=3.25)
    progress.epoch.add(64, {"mpjpe": 2.5, "other": 1.0})
    progress.epoch.add(32, {"mpjpe": 0.5, "other": 1.0})
    torch.save(asdict(progress), tmp_path / "file.pt")
    found = Progress.of(torch.load(tmp_path / "file.pt", weights_only=True))
    assert found == progress
    assert found.epoch == Sums(96, {"mpjpe": 3.0, "other": 2.0})


def test_sums_without_names_are_those_of_the_first_version():
    content = asdict(Progress(step=3)) | {"interval": [10.0, 2.0, 3.0], "epoch": [20.0, 4.0, 0.0]}
    found = Progress.of(content)
    assert found.interval == Sums(10.0, {"mpjpe": 2.0, "sequence_mpjpe": 3.0})
    assert found.epoch.terms["sequence_mpjpe"] == 0.0


def test_sums_start_anew_with_every_progress():
    Progress().interval.add(1, {"mpjpe": 1.0})
    assert Progress().interval == Sums()


@pytest.mark.parametrize("wrong", [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0]])
def test_other_lists_are_refused(wrong):
    with pytest.raises(ValueError, match="zip"):
        Sums.of(wrong)
