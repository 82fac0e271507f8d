"""Several models as one: their mean, in PyTorch and ONNX, from two runs to a lifted file, and what cannot be one."""

import json

import numpy as np
import pytest
import torch

import glagcn
from glagcn.checkpoints.exports import export_onnx, export_safetensors
from glagcn.checkpoints.load import load
from glagcn.errors import UserError
from glagcn.model.ensemble import Ensemble
from glagcn.model.registry import from_config, model_config
from tests.checkpoints.exported_models import a_checkpoint, a_model


def members(**form):
    """Two networks of other kinds, as after training."""
    return [a_model("gla_gcn", **form), a_model("temporal_conv", **form)]


@pytest.fixture
def two_files(tmp_path):
    return [a_checkpoint(tmp_path / f"{number}.pt", model) for number, model in enumerate(members())]


@pytest.mark.parametrize("form", [{}, {"causal": True, "input": "xyc"}])
def test_poses_are_the_mean_of_those_of_the_members(form):
    models = members(**form)
    together = Ensemble(models).eval()
    x = torch.randn(5, 9, 17, len(form.get("input", "xy")))
    with torch.no_grad():
        expected = (models[0](x).target + models[1](x).target) / 2
        assert torch.equal(together(x).target, expected)
        assert together(x).sequence is None
        fast = together.for_prediction()
        torch.testing.assert_close(fast(x).target, expected, rtol=1e-3, atol=1e-4)
        track = torch.randn(20, 17, x.shape[-1])
        whole = (models[0].predict_sequence(track) + models[1].predict_sequence(track)) / 2
        torch.testing.assert_close(fast.predict_sequence(track), whole, rtol=1e-3, atol=1e-4)
    assert (together.causal, together.input, together.frames) == (form.get("causal", False), form.get("input", "xy"), 9)
    assert together.flops() == models[0].flops() + models[1].flops()
    assert together.map_size == models[0].map_size
    options = {"architecture": (3, 3), "frames": 9, "channels": 8, "frame": "camera"}
    assert together.options() == options | {"causal": together.causal, "input": together.input}


def test_two_checkpoints_become_one_file_that_is_read_like_any(two_files, tmp_path):
    export_safetensors(two_files, tmp_path / "both.safetensors")
    loaded = load(tmp_path / "both.safetensors")
    x = torch.randn(3, 9, 17, 2)
    with torch.no_grad():
        expected = sum(model(x).target for model in members()) / 2
        torch.testing.assert_close(loaded.model(x).target, expected, rtol=1e-6, atol=1e-7)
    assert model_config(from_config(model_config(loaded.model))) == model_config(loaded.model)
    assert len(json.loads(loaded.content["description"]["configs"])) == 2
    export_safetensors([tmp_path / "both.safetensors"], tmp_path / "again.safetensors")
    assert load(tmp_path / "again.safetensors").content["description"] == loaded.content["description"]
    export_safetensors(two_files, tmp_path / "half.safetensors", half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.75 * (tmp_path / "both.safetensors").stat().st_size


def test_as_onnx(two_files, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    export_onnx(two_files, tmp_path / "both.onnx")  # which compares the poses
    session = onnxruntime.InferenceSession(tmp_path / "both.onnx", providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["model_kind"] == "ensemble"


def test_from_two_runs_to_a_lifted_file(demo, verb, tmp_path, demo_root):
    for seed in "01":
        assert demo(f"--run s{seed} --frames 9 --seed {seed} --max_steps 2").code == 0
    runs = [str(tmp_path / f"runs/s{seed}") for seed in "01"]
    both = tmp_path / "both.safetensors"
    ended = verb(f"export {' '.join(runs)} --layout safetensors --out {both}")
    assert ended.code == 0, ended.err
    assert f"the weights of {runs[0]}/best.pt and {runs[1]}/best.pt" in ended.out
    track = np.random.default_rng(0).uniform(200, 600, (30, 17, 2))
    poses = [glagcn.predict(glagcn.load_model(path), track, image_size=(800, 800)) for path in (*runs, both)]
    np.testing.assert_allclose(poses[2], (poses[0] + poses[1]) / 2, atol=1e-2)
    score = verb(f"evaluate {both} --root_path {demo_root} --output {tmp_path}/score")
    assert score.code == 0, score.err
    again = demo(f"--run more --frames 9 --max_steps 2 --resume {both}")
    assert again.code == 2
    assert "is the mean of several models, which cannot be trained; start from one of them" in again.err


def test_what_cannot_be_one_model_is_refused_by_name(tmp_path, two_files):
    causal = a_checkpoint(tmp_path / "causal.pt", a_model(causal=True))
    with pytest.raises(UserError, match="must have the same causal: the first has False, and number 2 has True"):
        export_safetensors([two_files[0], causal], tmp_path / "x.safetensors")
    human = a_checkpoint(tmp_path / "h36m.pt", a_model(skeleton="h36m17"))
    with pytest.raises(UserError, match="same skeleton: the first has mpi3dhp17, and number 3 has h36m17"):
        export_safetensors([*two_files, human], tmp_path / "x.safetensors")
    rays = a_model()
    rays.frame = "ray"
    with pytest.raises(UserError, match="same frame: the first has camera, and number 2 has ray"):
        Ensemble([a_model(), rays])
    assert not (tmp_path / "x.safetensors").exists()
    whole = {"kind": "ensemble", "skeleton": "mpi3dhp17", "frame": "camera"}
    for wrong in ({}, {"members": []}, {"members": 3}, {"members": [3]}, {"members": ["gla_gcn"]}, {"members": [{}]}):
        with pytest.raises(UserError):
            from_config(whole | wrong)
