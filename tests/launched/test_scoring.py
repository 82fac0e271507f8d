"""An evaluation by action has the same metrics on any number of processes."""

import json
from pathlib import Path

import pytest

from tests.launched.conftest import REPOSITORY, launch

pytestmark = pytest.mark.launched
WORKER = str(Path(__file__).with_name("scoring_worker.py"))


def numbers(value, path=()):
    """{path: number} of every number in a result."""
    if isinstance(value, dict):
        return {key: leaf for name, part in value.items() for key, leaf in numbers(part, (*path, name)).items()}
    return {path: value} if isinstance(value, int | float) else {}


def test_by_action_on_one_process_and_three(tmp_path):
    results = []
    for processes in (1, 3):
        folder = tmp_path / str(processes)
        launcher = ["torchrun", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else ["python"]
        done = launch([*launcher, WORKER, str(folder)], tmp_path, PYTHONPATH=str(REPOSITORY))
        assert done.code == 0, done.err
        results.append(numbers(json.loads((folder / "result.json").read_text())))
        assert (folder / "evaluation_by_action.csv").exists()
    assert results[0]["frames",] == 31
    assert results[0]["actions", "Walking", "velocity_mm"] > 0
    for other in results[1:]:
        assert other == pytest.approx(results[0], rel=1e-6)
