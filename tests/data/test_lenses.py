"""Where the focal lengths of the ray frame come from, and a run in it from training to a lifted array."""

import json
from dataclasses import replace

import numpy as np
import pytest

import glagcn
from glagcn.data.cache import open_cache
from glagcn.data.datasets import get_dataset
from glagcn.data.lenses import find_lenses
from glagcn.poses.ray import usual_focal
from tests.command_line import TINY


@pytest.fixture(scope="module")
def cache(demo_root):
    return open_cache(demo_root / "demo_gt.h5")


def test_the_pinhole_that_fits_is_the_calibrated_one(cache):
    known = find_lenses(cache, cache.train, training=True)
    assert known.source == "calibration"
    fitted = find_lenses(replace(cache, dataset="humaneva15"), cache.train, training=True)
    assert fitted.source == "fitted to training poses"
    np.testing.assert_allclose(fitted.values, known.values, atol=0.01)
    assert len({tuple(lens) for lens in known.values}) == len(cache.train.sequences)


def test_a_test_camera_is_that_of_training_or_guessed_and_never_fitted_to_the_test(cache):
    infos = tuple(replace(info, camera=k % 2) for k, info in enumerate(cache.train.sequences))
    moved = replace(cache, dataset="humaneva15", train=replace(cache.train, sequences=infos))
    test = replace(cache.test, sequences=tuple(replace(info, camera=k) for k, info in enumerate(cache.test.sequences)))
    lenses = find_lenses(moved, test, training=False)
    assert lenses.source == "fitted to training poses, guessed (55 degrees)"
    trained = find_lenses(moved, moved.train, training=True).values
    np.testing.assert_allclose(lenses.values[0], np.median(trained[::2], axis=0))
    width, height = test.sequences[2].width, test.sequences[2].height
    assert lenses.values[2].tolist() == [*[usual_focal((width, height))] * 2, width / 2, height / 2]


def test_calibrations_of_data_sets(cache):
    info = replace(cache.test.sequences[0], name="TS5", subject="TS5")
    assert get_dataset("3dhp").lens(info) == (1683.98, 1672.59, 939.86, 560.14)
    assert get_dataset("3dhp").lens(replace(info, name="S1/Seq1/cam0")) is None
    lens = get_dataset("h36m").lens(replace(info, subject="S9", camera=1))
    assert lens == pytest.approx((1149.6757, 1147.5917, 508.8486, 508.0650), abs=1e-3)
    assert get_dataset("humaneva15").lens(replace(info, subject="Validate/S1", camera=0)) is None


def test_a_run_in_the_ray_frame(train, verb, demo_root, tmp_path, cache):
    """Its checkpoint says so, is scored the same again, and lifts the arrays of the test set to the poses scored."""
    run = f"--dataset demo --root_path {demo_root} -c {tmp_path} --run r {TINY} --frames 9 --frame ray"
    ended = train(run)
    assert ended.code == 0, ended.err
    result = json.loads((tmp_path / "r/result.json").read_text())
    assert (result["frame"], result["focal_lengths"]) == ("ray", "calibration")
    model = glagcn.load_model(tmp_path / "r/best.pt")
    assert model.frame == "ray"
    same = f"--dataset demo --root_path {demo_root} --test_frames 40"
    again = verb(f"evaluate {tmp_path}/r/best.pt {same} --output {tmp_path}/again")
    assert again.code == 0, again.err
    scored = json.loads((tmp_path / "again/result.json").read_text())
    assert scored["mpjpe_mm"] == pytest.approx(result["mpjpe_mm"], abs=1e-3)
    refused = train(f"{run} --max_steps 8 --frame camera")
    assert refused.code == 2
    assert "--frame" in refused.err
