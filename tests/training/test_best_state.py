"""Which state of a run is best.pt, and that the result is its own."""

import json

import pytest
import torch

from glagcn.checkpoints import ours as checkpoint
from glagcn.commands import train as commands_train
from glagcn.evaluate.metrics import MPJPE
from glagcn.files import WriteError
from glagcn.train.loop import Trainer


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


@pytest.fixture
def fail_second_best(monkeypatch):
    """The second time that best.pt is written, the disk is full."""
    save, written = checkpoint.save, []

    def fail_once(path, content):
        if path.name == "best.pt":
            written.append(path)
            if len(written) == 2:
                raise WriteError("cannot write best.pt: No space left on device")
        save(path, content)

    monkeypatch.setattr(checkpoint, "save", fail_once)


@pytest.mark.usefixtures("fail_second_best")
def test_a_best_state_that_cannot_be_written_is_not_the_best(demo, tmp_path, pretend):
    pretend([50.0, 40.0, 45.0])
    ended = demo("--run r --frames 9 --epochs 3 --max_steps 15 --eval_epochs 1")
    assert "WARNING: cannot write best.pt" in ended.out
    progress = torch.load(tmp_path / "runs/r/best.pt", weights_only=True)["progress"]
    assert (progress["best_mm"], progress["best_step"]) == (45.0, 15)


@pytest.mark.usefixtures("fail_second_best")
def test_the_best_state_outlives_a_failed_write_at_the_end_of_max_steps(demo, tmp_path, pretend):
    pretend([50.0, 40.0])
    ended = demo("--run r --frames 9 --epochs 3 --max_steps 7 --eval_epochs 1")
    assert "WARNING: cannot write best.pt" in ended.out
    folder = tmp_path / "runs/r"
    assert not (folder / "best_before_end.pt").exists()
    assert torch.load(folder / "best.pt", weights_only=True)["progress"]["step"] == 5
    result = json.loads((folder / "result.json").read_text())
    assert (result["step"], result["trained_steps"], result["validation_mm"]) == (5, 7, 50.0)


@pytest.mark.parametrize(("errors", "validation_mm"), [([50.0, 60.0], None), ([50.0, 40.0], 40.0)])
def test_the_validation_error_belongs_to_the_tested_state(demo, tmp_path, monkeypatch, pretend, errors, validation_mm):
    """best.pt is damaged at the end, so that last.pt is tested: at first not the best state, then the best."""
    pretend(errors)
    conclude = commands_train._conclude

    def damage_first(trainer, target):
        trainer.folder.best.write_bytes(b"damaged")
        conclude(trainer, target)

    monkeypatch.setattr(commands_train, "_conclude", damage_first)
    ended = demo("--run r --frames 9 --epochs 2 --max_steps 10 --eval_epochs 1")
    assert ended.code == 0, ended.err
    result = json.loads((tmp_path / "runs/r/result.json").read_text())
    assert (result["step"], result["validation_mm"]) == (10, validation_mm)
