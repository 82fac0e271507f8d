"""A study's folder and the data of its runs: metrics of one data set must not pass for those of another."""

import shutil
from pathlib import Path

import pytest

from glagcn.data.cache.writer import write_cache
from glagcn.data.sources.mocap.source import demo_source
from tests.command_line import TINY, assert_refused, listing

pytestmark = pytest.mark.launched

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def study(verb, demo_root, tmp_path, monkeypatch):
    """study("--out DIR"): a study of one run on the cache in tmp_path/data, at first the demo's."""
    monkeypatch.chdir(REPOSITORY)  # the processes import what this one does
    shutil.copytree(demo_root, tmp_path / "data")
    flags = f"--dataset demo --root_path {tmp_path}/data --select_on test --frames 9 {TINY}"
    (tmp_path / "s.toml").write_text(f'[configurations]\na = "{flags}"\n')
    return lambda flags: verb(f"study {tmp_path}/s.toml {flags}")


@pytest.fixture
def other_root(tmp_path):
    """Other people in sequences as many and as long as in the demo."""
    write_cache(tmp_path / "other/demo_gt.h5", demo_source(seed=1))
    return tmp_path / "other"


def test_finished_runs_are_not_reported_for_other_data(study, other_root, tmp_path):
    out = tmp_path / "out"
    assert study(f"--out {out}").code == 0
    before = listing(tmp_path)
    refusal = (
        f"{out} holds runs that were trained on other data than that in --root_path",
        "a_seed0; give the old --root_path, or --out DIR",
    )
    assert_refused(study(f"--out {out} --root_path {other_root}"), *refusal)
    assert listing(tmp_path) == before
    shutil.copy(other_root / "demo_gt.h5", tmp_path / "data/demo_gt.h5")  # the same flags, other data
    assert_refused(study(f"--out {out}"), *refusal)
    assert study(f"--out {tmp_path}/another").code == 0


def test_a_run_that_was_stopped_does_not_go_on_with_other_data(study, other_root, tmp_path):
    assert study(f"--out {tmp_path}/out").code == 0
    (tmp_path / "out/runs/a_seed0.finished.json").unlink()
    (tmp_path / "out/runs/a_seed0/result.json").unlink()
    assert_refused(study(f"--out {tmp_path}/out --root_path {other_root}"), "on other data .*: a_seed0; give")


def test_the_same_data_elsewhere_are_no_other(study, tmp_path):
    assert study(f"--out {tmp_path}/out").code == 0
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    assert study(f"--out {tmp_path}/out --root_path {tmp_path}/copy").code == 0


def test_a_finished_study_is_reported_without_its_data(study, tmp_path):
    assert study(f"--out {tmp_path}/out").code == 0
    summary = (tmp_path / "out/summary.md").read_text()
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "data").write_text("no folder, so that the demo cannot be made again")
    ended = study(f"--out {tmp_path}/out")
    assert (ended.code, "1 runs, 0 to do" in ended.out) == (0, True), ended.err
    assert (tmp_path / "out/summary.md").read_text() == summary
