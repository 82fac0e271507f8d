"""The table of data sets; tests/test_extending.py adds one."""

from dataclasses import replace

import pytest

from glagcn.config.recipes import PRESETS
from glagcn.data.dataset import SequenceInfo
from glagcn.data.datasets import DATASETS, get_dataset
from glagcn.errors import UserError
from glagcn.evaluate.benchmarks import BENCHMARKS, benchmark_of
from glagcn.skeletons import SKELETONS


def test_an_unknown_name_is_refused_with_those_that_there_are(monkeypatch):
    with pytest.raises(UserError, match="h37m.: must be one of h36m, humaneva15, 3dhp, mocap, people, demo"):
        get_dataset("h37m")
    with pytest.raises(UserError, match="unknown data set 'h37m'"):
        benchmark_of("h37m")
    monkeypatch.setitem(DATASETS, "play", replace(get_dataset("demo"), name="play", benchmark="by_hand"))
    message = "data set play: unknown benchmark 'by_hand'; expected one of mpi_inf_3dhp, by_action"
    with pytest.raises(UserError, match=message):
        benchmark_of("play")


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_the_table_names_what_exists(dataset):
    assert set(dataset.skeletons) <= set(SKELETONS)
    assert dataset.benchmark in BENCHMARKS
    assert PRESETS[dataset.name].recipe in PRESETS[dataset.name].recipes


@pytest.mark.parametrize(
    ("name", "keypoints", "skeleton"),
    [
        ("3dhp", "gt", "mpi3dhp17"), ("demo", "gt", "mpi3dhp17"),
        ("mocap", "gt", "mpi3dhp17"), ("mocap", "h36m17", "h36m17"),
        ("h36m", "gt", "h36m17"), ("h36m", "any", "h36m17"),
        ("humaneva15", "gt", "humaneva15"), ("humaneva15", "detectron_pt_coco", "humaneva15_coco17"),
        ("humaneva15", "any", None),
    ],
)  # fmt: skip
def test_the_skeleton_of_a_2d_source(name, keypoints, skeleton):
    assert get_dataset(name).skeleton_name(keypoints) == skeleton


@pytest.mark.parametrize(
    ("name", "subject", "action", "kind"),
    [
        ("S9/SittingDown 1/cam3", "S9", "SittingDown 1", "SittingDown"),
        ("Train/S1/Walking 1 chunk0/cam2", "Train/S1", "Walking 1 chunk0", "Walking"),
        ("S1/Seq1/cam0", "S1", "Seq1", "Seq1"),
        ("TS1", "TS1", "", ""),
    ],
)
def test_the_name_says_what_is_done(name, subject, action, kind):
    info = SequenceInfo(name, subject, camera=0, length=1, fps=50, width=1000, height=1002)
    assert (info.action, info.kind_of_action) == (action, kind)
