"""Runs and the data they were trained on: other data of the same size must not pass for them."""

import json
import shutil

import pytest

from glagcn.data.cache import open_cache, write_cache
from glagcn.data.mocap.motion import demo_source
from tests.command_line import TINY, assert_refused, listing


@pytest.fixture
def on(train, tmp_path):
    """on(root, "--run r"): a tiny run on the demo cache in `root`."""
    return lambda root, flags: train(
        f"--dataset demo --root_path {root} -c {tmp_path}/runs {TINY} --frames 9 --run r {flags}"
    )


@pytest.fixture(scope="module")
def other_root(tmp_path_factory):
    """Other people in sequences as many and as long as in the demo."""
    root = tmp_path_factory.mktemp("other")
    write_cache(root / "demo_gt.h5", demo_source(seed=1))
    return root


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("steps", [6, 8], ids=["reported", "resumed"])
def test_a_run_is_neither_resumed_nor_reported_on_other_data(on, demo_root, other_root, tmp_path, steps):
    before = listing(tmp_path)
    now, then = (open_cache(root / "demo_gt.h5").fingerprint for root in (other_root, demo_root))
    assert_refused(
        on(other_root, f"--max_steps {steps}"),
        f"runs/r holds a run that cannot go on: it was trained on other data than that in --root_path {other_root}",
        f"fingerprint {now}, the run's is {then}",
        "Give the old options and --root_path to resume, --run NAME for another folder, or --fresh to start over",
    )
    assert listing(tmp_path) == before
    assert on(demo_root, f"--max_steps {steps}").code == 0


@pytest.mark.usefixtures("finished")
def test_data_that_were_moved_are_the_same(on, demo_root, tmp_path):
    assert "resumed at step 6 of 8" in on(shutil.copytree(demo_root, tmp_path / "moved"), "--max_steps 8").out


@pytest.mark.usefixtures("finished")
def test_starting_over_on_other_data_is_as_said(on, other_root, tmp_path):
    assert on(other_root, "--fresh").code == 0
    assert (tmp_path / "runs/r.old1/last.pt").is_file()
    result = json.loads((tmp_path / "runs/r/result.json").read_text())
    assert result["data_fingerprint"] == open_cache(other_root / "demo_gt.h5").fingerprint
    assert "is finished at step 6" in on(other_root, "").out


@pytest.mark.usefixtures("finished")
def test_on_purpose_other_data_may_be_evaluated_and_started_on(on, demo_root, other_root, tmp_path):
    before = json.loads((tmp_path / "runs/r/result.json").read_text())["mpjpe_mm"]
    assert on(other_root, "--evaluate").code == 0  # which is not the end of the run
    assert on(demo_root, "").code == 0
    assert json.loads((tmp_path / "runs/r/result.json").read_text())["mpjpe_mm"] == before
    ended = on(other_root, f"--run second --max_steps 7 --resume {tmp_path}/runs/r/last.pt")
    assert ended.code == 0, ended.err
    assert f"because it was trained on other data than that in --root_path {other_root}" in ended.out
