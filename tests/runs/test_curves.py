import json

import numpy as np
import pytest
from matplotlib.image import imread

from glagcn.train import log as curves
from glagcn.train.log import draw_training_curves


def test_a_record_of_epochs_becomes_a_picture(tmp_path):
    lines = [{"kind": "train", "step": 1, "mpjpe_mm": 900.0}]  # of a version that did not say the epoch
    for epoch in (1, 2):
        lines += [
            {"kind": "test", "step": epoch, "epoch": epoch, "mpjpe_mm": 100.0 / epoch, "p_mpjpe_mm": None},
            {"kind": "train", "step": epoch, "epoch": epoch, "mpjpe_mm": 80.0 / epoch},
        ]
    records = tmp_path / "metrics.jsonl"
    records.write_text("".join(json.dumps(line) + "\n" for line in lines))
    draw_training_curves(records, tmp_path / "curves.png", title="a run", baseline=120.0)
    picture = imread(tmp_path / "curves.png")[..., :3]
    tab_blue, tab_orange, tab_green = (31, 119, 180), (255, 127, 14), (44, 160, 44)
    shown = [(np.abs(picture * 255 - colour).max(axis=-1) < 2).any() for colour in (tab_blue, tab_orange, tab_green)]
    assert shown == [True, True, False]  # training and test; no sequence head, no aligned error


def test_a_run_draws_its_curves_unless_told_not_to(demo, tmp_path):
    assert demo("--run drawn --frames 9 --export_training_curves").code == 0
    assert (tmp_path / "runs/drawn/training_curves.png").stat().st_size > 5000
    assert demo("--run plain --frames 9 --no-export-training-curves").code == 0
    assert not (tmp_path / "runs/plain/training_curves.png").exists()


@pytest.mark.parametrize(("flags", "against"), [("", "epoch"), ("--windows 200", "windows")])
def test_the_axis_is_what_sets_the_length_of_a_run(demo, monkeypatch, flags, against):
    drawn = []
    monkeypatch.setattr(curves, "draw_training_curves", lambda *arguments: drawn.append(arguments))
    assert demo(f"--run r --frames 9 --eval_windows 128 --export_training_curves {flags}").code == 0
    assert {axis for _, _, axis, *_ in drawn} == {against}
    assert {title for *_, title, _ in drawn} == {"r"}
    assert all(100 < baseline < 400 for *_, baseline in drawn)
