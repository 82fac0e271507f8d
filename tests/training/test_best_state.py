"""Which state of a run is best.pt, and that the result is its own."""

import json

import torch

from glagcn.evaluation.metrics import MPJPE
from glagcn.training.trainer import Trainer


def test_the_first_of_the_lowest_errors_is_kept_and_tested(demo, tmp_path, monkeypatch):
    errors, evaluate = iter([50.0, 40.0, 40.0, 60.0]), Trainer.evaluate

    def pretend(self, data):
        evaluation = evaluate(self, data)
        if data.name == "validation":
            evaluation.metrics[MPJPE.name] = next(errors)
        return evaluation

    monkeypatch.setattr(Trainer, "evaluate", pretend)
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
