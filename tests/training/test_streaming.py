"""Runs with --stream: the same state after a resume, what is decided and said, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from glagcn.config.resolve import from_dict, parse_command_line, to_dict
from glagcn.data.cache.reader import open_cache
from glagcn.data.windows.block_plan import BlockPlan
from glagcn.data.windows.plan import WindowIds
from glagcn.open_data import prepare_cache
from glagcn.training.setup import load_data
from tests.command_line import assert_refused


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks so small that an epoch of the tiny runs has several groups."""
    monkeypatch.setattr(BlockPlan, "block_frames", 100)
    monkeypatch.setattr(BlockPlan, "group_blocks", 2)


def state(folder):
    content = torch.load(folder / "last.pt", weights_only=True)
    leaves, _ = torch.utils._pytree.tree_flatten([content["model"], content["optimizer"]])
    return leaves, content["progress"] | {"seconds": 0}


def same_state(one, other):
    (leaves, progress), (others, progress_of_other) = state(one), state(other)
    assert progress == progress_of_other
    for a, b in zip(leaves, others, strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_a_streamed_run_resumes_bit_for_bit(demo, tmp_path, small_blocks):
    # 320 windows, 640 with the mirrored ones, in batches of 64: the stop is in the middle of the second epoch.
    flags = "--stream on --flip copy --distort_targets --max_steps"
    whole = demo(f"{flags} 17 --run whole")
    assert whole.code == 0, whole.err
    assert "training windows streamed from the file, 2 shuffled blocks of 100 frames at a time" in whole.out
    assert demo(f"{flags} 13 --run parts").code == 0
    resumed = demo(f"{flags} 17 --run parts")
    assert "resumed at step 13 of 17" in resumed.out
    same_state(tmp_path / "runs/whole", tmp_path / "runs/parts")


def test_the_order_is_another_and_the_windows_are_as_many(demo, tmp_path, small_blocks):
    for flag in ("on", "off"):
        assert demo(f"--stream {flag} --run {flag}").code == 0
    contents = [torch.load(tmp_path / f"runs/{flag}/last.pt", weights_only=True) for flag in ("on", "off")]
    assert contents[0]["num_windows"] == contents[1]["num_windows"]
    weights = [content["model"] for content in contents]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(("available", "decided"), [(10**12, "off"), (10_000_000, "on")])
def test_auto_streams_what_does_not_fit_half_of_the_memory(demo, tmp_path, monkeypatch, available, decided):
    monkeypatch.setattr("glagcn.training.setup.available_memory", lambda: available)  # the demo has 5.4 MB of frames
    done = demo("--run r")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "runs/r/config.json").read_text())["stream"] == decided
    assert f"training windows {'streamed' if decided == 'on' else 'resident on'}" in done.out


def test_a_run_goes_on_as_it_began(demo):
    assert demo("--run r --max_steps 3").code == 0
    assert_refused(demo("--run r --stream on"), "--stream is on now and was off")
    assert demo("--run r --stream off").code == 0
    assert demo("--run r").code == 0


def test_a_run_of_an_older_version_was_not_streamed():
    config, _, _ = parse_command_line(["-d", "demo"])
    held = to_dict(config)
    assert held.pop("stream") == "auto"
    assert from_dict(held).data.stream == "off"


def test_what_would_gather_frames_in_memory_is_refused(demo):
    assert_refused(demo("--stream on --downsample 2"), "--downsample 2 needs the frames in memory", "--stream off")


def test_chosen_subjects_are_streamed(demo, tmp_path):
    streamed = demo("--stream on --subjects_train S1 --select_on last --run s --dry_run")
    resident = demo("--stream off --subjects_train S1 --select_on last --run r --dry_run")
    assert streamed.code == 0, streamed.err
    lines = [
        [line for line in ended.out.splitlines() if "Plan:" in line or "Baseline:" in line]
        for ended in (streamed, resident)
    ]
    assert lines[0] == lines[1]


def test_other_views_and_held_out_frames_are_those_of_resident_frames(demo_root, small_blocks):
    def data(flag):
        config, _, _ = parse_command_line(
            ["-d", "demo", "--root_path", str(demo_root), "--frames", "9", "--stream", flag]
        )
        return load_data(config, open_cache(Path(prepare_cache(config.data))))

    streamed, resident = data("on"), data("off")
    assert streamed.is_streamed
    for index in range(5):
        ids = streamed.plan.batch(0, index)
        assert np.ptp(ids.camera_draws) > 1
        assert same(streamed.train.windows(ids), resident.train.windows(ids))

    one, other = streamed.validation, resident.validation
    np.testing.assert_array_equal(one.frames, other.frames)
    assert one.split.sequences == other.split.sequences
    np.testing.assert_array_equal(one.split.millimetres[one.frames], other.split.millimetres[other.frames])
    ids = WindowIds(one.frames, np.zeros(len(one.frames), dtype=bool))
    assert same(one.store.windows(ids), other.store.windows(ids))


def same(batch, other):
    return all(torch.equal(*pair) for pair in zip(batch, other, strict=True))
