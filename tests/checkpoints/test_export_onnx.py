import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import glagcn
from glagcn.checkpoints import exports as exporting
from glagcn.checkpoints.exports import NORMALISATION, export_onnx
from glagcn.errors import UserError
from glagcn.poses.normalise import normalise
from tests.checkpoints.exported_models import a_checkpoint, a_model
from tests.command_line import assert_refused

REPOSITORY = Path(__file__).parents[2]
GOLDEN = REPOSITORY / "tests/golden"


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


@pytest.fixture
def exported(tmp_path):
    def export(model):
        export_onnx([a_checkpoint(tmp_path / "best.pt", model)], tmp_path / "model.onnx")
        return session(tmp_path / "model.onnx")

    return export


@pytest.mark.parametrize(("skeleton", "causal"), [("mpi3dhp17", True), ("humaneva15_coco17", False)])
@pytest.mark.parametrize("kind", ["gla_gcn", "temporal_conv"])
def test_onnx_runtime_gives_the_poses_of_the_model(exported, kind, skeleton, causal):
    model = a_model(kind, skeleton, causal=causal)
    runtime = exported(model)
    for count in (1, 3):
        x = torch.randn(count, *model.window_shape)
        with torch.no_grad():
            expected = model(x).target[:, 0].numpy()
        root = model.skeleton.root
        assert np.abs(expected[:, root]).max() > 0.001  # so that the zero below is not the model's
        expected[:, root] = 0
        (found,) = runtime.run(["poses"], {"keypoints": x.numpy()})
        assert found.dtype == np.float32
        assert not found[:, root].any()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    (found,) = runtime.run(["poses"], {"keypoints": np.zeros((0, *model.window_shape), np.float32)})
    assert found.shape == (0, model.skeleton.num_joints, 3)


def test_the_file_says_what_it_reads_and_gives(exported):
    model = a_model("gla_gcn", "humaneva15_coco17", causal=True)
    runtime = exported(model)
    told = runtime.get_modelmeta().custom_metadata_map
    held = {
        name: told[name] for name in ("skeleton", "frame", "model_kind", "glagcn_version", "units", "normalisation")
    }
    assert held == {
        "skeleton": "humaneva15_coco17", "frame": "camera", "model_kind": "gla_gcn",
        "glagcn_version": glagcn.__version__, "units": "metres relative to the root", "normalisation": NORMALISATION,
    }  # fmt: skip
    read = {name: json.loads(value) for name, value in told.items() if name not in held}
    assert read["joints"] == list(model.skeleton.joints)
    assert read["parents"] == list(model.skeleton.parents)
    assert (read["frames"], read["target_frame"], read["causal"], read["root"]) == (9, 8, True, 0)
    assert read["joint_map"] == [list(row) for row in model.skeleton.joint_map]
    assert (read["mirror"], read["input_mirror"]) == (model.skeleton.mirror, model.skeleton.input_mirror)
    assert read["model_config"] == {"kind": "gla_gcn", "frame": "camera"} | model.config()
    documented = (REPOSITORY / "docs/export.md").read_text()
    assert [name for name in told if f"`{name}`" not in documented] == []
    (given,), (taken,) = runtime.get_outputs(), runtime.get_inputs()
    assert (taken.name, taken.shape, taken.type) == ("keypoints", ["N", 9, read["input_joints"], 2], "tensor(float)")
    assert (given.name, given.shape, given.type) == ("poses", ["N", 15, 3], "tensor(float)")


def test_the_formula_is_the_one_that_windows_are_made_by():
    values = {"pixel_x": 300.0, "pixel_y": 200.0, "width": 1920.0, "height": 1080.0}
    x, y = (eval(part.split("=")[1], values.copy()) for part in NORMALISATION.split(";"))
    found = normalise(torch.tensor([300.0, 200.0]), torch.tensor([1920.0, 1080.0]))
    assert torch.allclose(found, torch.tensor([x, y]))


def test_a_trace_that_holds_for_one_batch_size_is_not_written(tmp_path, monkeypatch):
    """As that of a model that asks for len(x), which is a number to the trace."""
    source = a_checkpoint(tmp_path / "best.pt", a_model("temporal_conv"))
    monkeypatch.setattr(
        exporting.Lifted, "forward", lambda self, x: self.model(x).target[:, 0] * self.others * (len(x) - 1)
    )
    with pytest.raises(UserError, match=r"best\.pt: as ONNX it gives other poses than in PyTorch, by 0\.5"):
        export_onnx([source], tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_package_one_message_says_what_to_install(verb, trained, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)  # what a failed import is to Python
    ended = verb(f"export {trained}/best.pt --layout onnx --out {tmp_path}/model.onnx")
    assert_refused(ended, f"--layout onnx needs the package {package}", r"pip install glagcn\[onnx\]")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frame", ["camera", "ray"])
def test_the_example_lifts_a_sequence_without_torch(tmp_path, frame):
    model = a_model("temporal_conv")
    model.frame = frame
    source = a_checkpoint(tmp_path / "best.pt", model)
    export_onnx([source], tmp_path / "model.onnx")
    pixels = np.random.default_rng(0).uniform((0, 0), (1920, 1080), (40, 17, 2))
    np.save(tmp_path / "keypoints.npy", pixels)
    program = REPOSITORY / "glagcn/examples/onnx_lift.py"
    imports = [line for line in program.read_text().splitlines() if "import" in line]
    assert not [line for line in imports if "torch" in line or "glagcn" in line]
    arguments = [tmp_path / "model.onnx", tmp_path / "keypoints.npy", "1920", "1080", tmp_path / "poses.npy"]
    done = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    expected = glagcn.predict(source, pixels, (1920, 1080), flip=False)
    np.testing.assert_allclose(np.load(tmp_path / "poses.npy") * 1000, expected, atol=0.02)


def test_shapes_are_numbers_in_the_file(tmp_path):
    """A call would compute them again: they were two thirds of all operators, and a fifth of the time of a window."""
    export_onnx([a_checkpoint(tmp_path / "best.pt", a_model("gla_gcn", "mpi3dhp17"))], tmp_path / "model.onnx")
    nodes = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert nodes.count("Softmax") > 1
    assert nodes.count("Shape") <= 4
    assert nodes.count("Expand") == 0
