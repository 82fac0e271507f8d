"""Which state of a run is best.pt, and that the result is its own."""

import json

import pytest
import torch

from glagcn.checkpoints import checkpoint
from glagcn.evaluation.metrics import MPJPE
from glagcn.files import WriteError
from glagcn.training.trainer import Trainer


@pytest.fixture
def pretend(monkeypatch):
    """pretend([50.0, 40.0]): let the validations of a run find these errors, mm."""
    evaluate = Trainer.evaluate

    def find(errors):
        left = iter(errors)

        def changed(self, data):
            evaluation = evaluate(self, data)
            if data.name == "validation":
                evaluation.metrics[MPJPE.name] = next(left)
            return evaluation

        monkeypatch.setattr(Trainer, "evaluate", changed)

    return find


def test_the_first_of_the_lowest_errors_is_kept_and_tested(demo, tmp_path, pretend):
    pretend([50.0, 40.0, 40.0, 60.0])
    ended = demo("--run r --frames 9 --epochs 4 --max_steps 20 --eval_epochs 1")
    assert ended.code == 0, ended.err
    folder = tmp_path / "runs/r"
    for name in ("best.pt", "last.pt"):
        progress = torch.load(folder / name, weights_only=True)["progress"]
        assert (progress["best_mm"], progress["best_step"]) == (40.0, 10)
    result = json.loads((folder / "result.json").read_text())
    assert (result["step"], result["trained_steps"], result["validation_mm"]) == (10, 20, 40.0)
    assert demo(f"--evaluate {folder}/best.pt --frames 9 --output {tmp_path}/again").code == 0
    assert result[MPJPE.name] == json.loads((tmp_path / "again/result.json").read_text())[MPJPE.name]


def test_a_best_state_that_cannot_be_written_is_not_the_best(demo, tmp_path, monkeypatch, pretend):
    pretend([50.0, 40.0, 45.0])
    save, written = checkpoint.save, []

    def fail_once(path, content):
        if path.name == "best.pt":
            written.append(path)
            if len(written) == 2:
                raise WriteError("cannot write best.pt: No space left on device")
        save(path, content)

    monkeypatch.setattr(checkpoint, "save", fail_once)
    ended = demo("--run r --frames 9 --epochs 3 --max_steps 15 --eval_epochs 1")
    assert "WARNING: cannot write best.pt" in ended.out
    progress = torch.load(tmp_path / "runs/r/best.pt", weights_only=True)["progress"]
    assert (progress["best_mm"], progress["best_step"]) == (45.0, 15)
