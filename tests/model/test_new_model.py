"""A model without strides, channels and BatchNorm: the rest trains, resumes, evaluates and predicts with it."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import glagcn
from glagcn.errors import UserError
from glagcn.model.interface import Model, Prediction
from glagcn.model.registry import MODELS, ModelKind
from tests.command_line import assert_refused


class Linear(Model):
    """A linear map of all 2D joints of a window, of any even length, that predicts every frame too."""

    predicts_sequence = True

    def __init__(self, skeleton, *, frames):
        super().__init__()
        self.skeleton, self.frames = skeleton, frames
        self.linear = nn.Linear(frames * skeleton.num_input_joints * 2, frames * skeleton.num_joints * 3)

    def forward(self, x):
        self.check_input(x)
        sequence = self.linear(x.flatten(1)).view(len(x), self.frames, -1, 3)
        return Prediction(sequence[:, self.target_frame, None], sequence)

    def output_weights(self):
        yield self.linear.weight


def check(options):
    if options.frames % 2:
        raise UserError(f"--frames {options.frames}: must be even")


@pytest.fixture
def linear(monkeypatch):
    """The model in the registry."""
    options = ("model", "frames", "sequence_weight")
    kind = ModelKind("a linear map", f"{__name__}:Linear", options, label=lambda _: "linear", check=check)
    monkeypatch.setitem(MODELS, "linear", kind)


FLAGS = "--model linear --frames 10"


@pytest.mark.usefixtures("linear")
def test_a_new_model_goes_every_way(train, demo_root, tmp_path):
    data = f"--dataset demo --root_path {demo_root} -c {tmp_path}"
    small = "--batch_size 64 --subset 0.02 --test_frames 40 --log_steps 2 --workers 1"
    for name, stops in (("whole", [6]), ("parts", [3, 6])):
        for stop in stops:
            ended = train(f"{data} {small} {FLAGS} --max_steps {stop} --run {name}")
            assert ended.code == 0, ended.err
    whole, parts = (torch.load(tmp_path / name / "last.pt", weights_only=True)["model"] for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    result = json.loads((tmp_path / "whole/result.json").read_text())
    ended = train(f"{data} {small} {FLAGS} --run whole --evaluate --output {tmp_path}/again")
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "again/result.json").read_text())["mpjpe_mm"] == result["mpjpe_mm"]
    model = glagcn.load_model(tmp_path / "whole/best.pt")
    pixels = np.random.default_rng(0).uniform(0, 1000, (12, 17, 2))
    assert glagcn.predict(model, pixels, image_size=(1000, 1000)).shape == (12, 17, 3)
    assert "gt_f10_c32_linear_tuned" in train(f"{data} {FLAGS} --dry_run").out


@pytest.mark.usefixtures("linear")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--frames 9", "--frames 9: must be even"),
        ("--frames 10 --dropout 0.1", "--dropout has no effect on --model linear"),
        ("--frames 10 --channel 8", "--channel has no effect on --model linear"),
    ],
)
def test_it_has_its_own_options(train, demo_root, tmp_path, flags, message):
    data = f"--dataset demo --root_path {demo_root} -c {tmp_path}"
    assert_refused(train(f"{data} --model linear {flags}"), message)
