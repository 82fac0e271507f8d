"""A run on data of Human3.6M's kind, from training to the table of a subject."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glagcn.config.resolve import parse_command_line
from glagcn.data.cache import open_cache, write_cache
from glagcn.data.dataset import Sequence
from glagcn.evaluate.benchmarks import ACTION_CSV
from glagcn.train.reports import mean_pose_error
from glagcn.train.setup import load_data
from tests.splits import make_split

TRAIN = {"S1/Eating/cam0": 30, "S1/Posing 1/cam1": 40}
TEST = {"S9/Eating/cam0": 9, "S9/Eating 1/cam1": 5, "S9/Posing/cam0": 4, "S11/Posing 1/cam2": 7}


class Humans:
    """A source of random poses that needs no files."""

    dataset, keypoints, annotation, skeleton = "h36m", "gt", "", "h36m17"
    notes = ()

    def __init__(self):
        self.splits = {"train": make_split(TRAIN), "test": make_split(TEST, seed=1)}

    def provenance(self):
        return {}

    def infos(self, split):
        return list(self.splits[split].sequences)

    def read(self, split):
        part = self.splits[split]
        for info, start in zip(part.sequences, part.starts, strict=True):
            frames = slice(start, start + info.length)
            yield Sequence(info, part.pixels[frames], part.millimetres[frames], part.valid[frames])


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("humans")
    write_cache(folder / "h36m_gt.h5", Humans())
    return folder


@pytest.fixture
def flags(root, tmp_path):
    size = "--frames 9 --channel 4 --sequence_layers 1 --batch_size 64 --epochs 2 --log_steps 1 --workers 1"
    return f"--dataset h36m --recipe tuned --select_on test --root_path {root} -c {tmp_path} --run r {size}"


def test_from_training_to_the_result(flags, train, tmp_path):
    ended = train(flags)
    assert ended.code == 0, ended.err
    assert "mean over 2 actions of 25 frames, root as predicted" in ended.out
    folder = tmp_path / "r"
    assert {"last.pt", "best.pt", "result.json", ACTION_CSV} <= {path.name for path in folder.iterdir()}
    result = json.loads((folder / "result.json").read_text())
    assert {name: row["frames"] for name, row in result["actions"].items()} == {"Eating": 14, "Posing": 11}

    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    curves = {line["step"]: line for line in lines if line["kind"] == "test_mpjpe_by_action"}
    tests = {line["step"]: line for line in lines if line["kind"] == "test"}
    assert len(curves) == 2
    assert list(curves) == list(tests)
    for step, test in tests.items():
        assert test["mpjpe_mm"] == pytest.approx((curves[step]["Eating"] + curves[step]["Posing"]) / 2)
    assert curves[result["step"]]["Eating"] == pytest.approx(result["actions"]["Eating"]["mpjpe_mm"])
    assert min(test["mpjpe_mm"] for test in tests.values()) == pytest.approx(result["mpjpe_mm"])

    evaluated = train(f"{flags} --evaluate")
    assert evaluated.code == 0, evaluated.err
    assert f"{result['actions']['Posing']['mpjpe_mm']:.2f}" in evaluated.out
    assert f"Written to {folder}: result.json, {ACTION_CSV}" in evaluated.out
    assert "\nS11 " not in evaluated.out


def test_the_mean_pose_is_scored_like_the_model(flags, root):
    """The mean over actions of the error of one pose, against a way by hand."""
    config, _, _ = parse_command_line(flags.split())
    data = load_data(config, open_cache(root / "h36m_gt.h5"))
    poses, pose = data.test.split.millimetres.astype(float), data.cache.train.millimetres.astype(float)
    poses, pose = (values - values[:, :1] for values in (poses, pose))
    mirrored = pose[:, [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]] * [-1, 1, 1]
    errors = np.linalg.norm(poses - (pose + mirrored).mean(axis=0) / 2, axis=-1).mean(axis=1)
    expected = (errors[:14].mean() + errors[14:].mean()) / 2
    assert mean_pose_error(data, data.test) == pytest.approx(expected, rel=1e-5)
    assert mean_pose_error(data, data.test) != pytest.approx(errors.mean(), rel=1e-5)

    split = data.test.split
    fewer = replace(split, sequences=split.sequences[:2], starts=split.starts[:2])
    part = replace(data.test, split=fewer, frames=np.arange(14))
    assert mean_pose_error(data, part) == pytest.approx(errors[:14].mean(), rel=1e-5)
