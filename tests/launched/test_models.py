"""Another model trains, with what its layers draw, and is evaluated on two processes."""

import json

import pytest

from tests.launched.conftest import launch, trainer

pytestmark = pytest.mark.launched
SMALL = (
    "--dataset demo --model temporal_conv --channel 8 --frames 9 --dropout 0.25 --batch_size 7 --micro_batch 3 "
    "--subset 0.02 --test_frames 40 --log_steps 4 --workers 1"
)


def test_temporal_convolutions_are_evaluated_on_two_processes_as_on_one(demo_root, tmp_path):
    def run(flags, processes=1):
        common = [*SMALL.split(), "--root_path", str(demo_root), "-c", str(tmp_path)]
        done = launch([*trainer(processes), *common, *flags.split()], tmp_path)
        assert done.code == 0, done.err

    run("--max_steps 22 --run whole")
    run(f"--run whole --evaluate --output {tmp_path}/again", 2)
    found = json.loads((tmp_path / "again/result.json").read_text())["mpjpe_mm"]
    assert found == pytest.approx(json.loads((tmp_path / "whole/result.json").read_text())["mpjpe_mm"], abs=1e-4)
