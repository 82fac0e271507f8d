"""A finished run compared with reference runs of the recipes."""

import json

import pytest

from glagcn.config.recipes import REFERENCE
from glagcn.config.resolve import changed, parse_command_line
from glagcn.train.reports import Comparison, compare_with_reference

TABLE = {
    "tuned": ((1_000, 0.8), (10_000, 0.4), (100_000, 0.2)),
    "published": ((1_000, 1.2), (10_000, 1.0)),
}


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setitem(REFERENCE, "demo", TABLE)
    config, _, _ = parse_command_line(["-d", "demo"])
    return config


@pytest.mark.parametrize(
    ("windows", "tuned", "published"),
    [
        (1_000, 0.8, 1.2),
        (3_162, 0.6, 1.1),  # half way between 1,000 and 10,000 on the logarithm
        (10_000, 0.4, 1.0),
        (99_999, 0.2, 1.0),
        (100_000, 0.2, 1.0),
        (5_000_000, 0.2, 1.0),
    ],
)
def test_the_table_is_read_along_the_logarithm_of_the_windows(config, windows, tuned, published):
    found = compare_with_reference(config, windows, 50.0, 200.0)
    shares = 0.25, pytest.approx(tuned, abs=1e-4), pytest.approx(published, abs=1e-4)
    assert found == Comparison("tuned", windows, *shares)


def test_runs_that_are_not_comparable_are_not_compared(config):
    assert compare_with_reference(config, 999, 50.0, 200.0) is None
    for other in (
        {"dataset": "h36m"},
        {"resume": "x.pt"},
        {"debug": True},
        {"max_steps": 3},
        {"model": "temporal_conv"},
    ):
        assert compare_with_reference(changed(config, **other), 20_000, 50.0, 200.0) is None


@pytest.mark.parametrize(("recipe", "error", "suspicious"), [
    ("tuned", 100, False), ("tuned", 105, True), ("published", 105, False), ("published", 261, False),
])  # fmt: skip
def test_a_run_clearly_worse_than_the_tuned_recipe_that_it_follows_is_warned_of(config, recipe, error, suspicious):
    text = compare_with_reference(changed(config, recipe=recipe), 10_000, error, 200.0).text()
    assert text.startswith("WARNING") == suspicious
    assert f"{error / 200:.0%} of the mean-pose baseline" in text
    assert "tuned 40%, published 100%" in text


def test_the_end_of_a_run_compares_it(train, config, demo_root, tmp_path):
    flags = "--channel 4 --frames 9 --batch_size 64 --test_frames 40 --validation_frames 40 --workers 1"
    ended = train(f"-d demo --root_path {demo_root} -c {tmp_path} --run r --windows 1000 {flags}")
    assert ended.code == 0, ended.err
    result = json.loads((tmp_path / "r" / "result.json").read_text())
    windows = result["trained_windows"]
    assert result["place"] == {
        "recipe": "tuned",
        "windows": windows,
        "this": pytest.approx(result["mpjpe_mm"] / result["mean_pose_mm"]),
        "tuned": pytest.approx(0.8, abs=0.02),
        "published": pytest.approx(1.2, abs=0.02),
    }
    assert f"After {windows:,} windows" in ended.out.splitlines()[-1]


def test_every_table_is_in_order():
    for curves in REFERENCE.values():
        assert set(curves) == {"tuned", "published"}
        for curve in curves.values():
            windows = [row[0] for row in curve]
            assert windows == sorted(set(windows))
