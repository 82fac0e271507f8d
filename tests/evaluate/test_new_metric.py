"""A metric is one function and one line of the table: everything that reports metrics has it then."""

import csv
import json

import numpy as np
import pytest

from glagcn.evaluate import metrics
from glagcn.evaluate.benchmarks import benchmark_of
from glagcn.evaluate.evaluate import scored_frames, summarise, write_results
from glagcn.skeletons import get_skeleton
from glagcn.train.log import curves
from tests.splits import make_split, true_poses

LENGTHS = {"S9/Eating/cam0": 3, "S9/Posing/cam0": 2}


def worst_joint(predicted, target):
    return metrics.joint_errors(predicted, target).max(axis=1)


def jump(predicted, target):
    return np.abs(np.diff(metrics.joint_errors(predicted, target)[:, 3]))


@pytest.fixture
def extended(monkeypatch):
    """The table with a metric of frames, one of pairs of frames, and one of joint errors more."""
    new = (
        metrics.FrameMetric("worst_mm", "worst joint", "mm", worst_joint, drawn=True),
        metrics.FrameMetric("jump_mm", "jump", "mm", jump, of_pairs=True),
        metrics.JointMetric("pck50", "PCK50", "", lambda errors: metrics.pck(errors, 50.0)),
    )
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, *new))


def evaluate(dataset, skeleton):
    """Joint 3 is off by 85 mm, but for the first frame of Posing, in which it is off by 34."""
    split = make_split(LENGTHS, skeleton)
    frames = scored_frames(split)
    joints = get_skeleton(skeleton)
    predicted = true_poses(split, frames, joints.root)
    predicted[:, 3, 1] += np.array([85, 85, 85, 34, 85])
    return summarise(benchmark_of(dataset), split, joints, "", frames, predicted)


@pytest.mark.usefixtures("extended")
def test_by_action_reports_it(tmp_path):
    evaluation = evaluate("h36m", "h36m17")
    result = write_results(evaluation, tmp_path, {})
    assert result["worst_mm"] == pytest.approx((85 + 59.5) / 2)
    assert result["frame_mean"]["worst_mm"] == pytest.approx((4 * 85 + 34) / 5)
    assert result["actions"]["Posing"]["jump_mm"] == pytest.approx(51)
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert evaluation.scalars["worst_mm"] == result["worst_mm"]
    assert "pck50" not in result  # of the joints of MPI-INF-3DHP
    (table,) = tmp_path.glob("*.csv")
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows[0][-2:] == ["worst_mm", "jump_mm"]
    assert [float(cell) for cell in rows[2][-2:]] == pytest.approx([59.5, 51])
    lines = evaluation.benchmark.show(evaluation, False).splitlines()
    assert [line.split()[-2:] for line in lines if line.startswith("Posing")] == [["59.50", "51.00"]]
    assert "worst joint 72.25 mm, jump 25.50 mm (mean over 2 actions" in evaluation.benchmark.headline(result)


@pytest.mark.usefixtures("extended")
def test_mpi_inf_3dhp_reports_it(tmp_path):
    evaluation = evaluate("3dhp", "mpi3dhp17")
    result = write_results(evaluation, tmp_path, {})
    assert result["worst_mm"] == pytest.approx((4 * 85 + 34) / 5)
    assert result["jump_mm"] == pytest.approx(51 / 3)
    assert result["pck50"] == result["protocols"]["official"]["pck50"] == pytest.approx(100 - 100 * 4 / (5 * 14))
    assert evaluation.scalars["pck50"] == result["pck50"]
    text = evaluation.benchmark.show(evaluation, False)
    assert "PCK50" in text.splitlines()[0]
    assert "worst joint 74.80 mm, jump 17.00 mm, PCK" in evaluation.benchmark.headline(result)
    assert "PCK50 94.29 (official" in evaluation.benchmark.headline(result)


@pytest.mark.usefixtures("extended")
def test_the_picture_of_the_curves_shows_it():
    assert curves()["test", "worst_mm"] == "test, worst joint"
    assert ("test", "jump_mm") not in curves()
