import json
import socket
from pathlib import Path

import pytest
import torch

import glagcn
from glagcn.checkpoints import ours as checkpoint
from glagcn.checkpoints.exports import export_safetensors
from glagcn.checkpoints.load import load
from glagcn.errors import UserError
from tests.checkpoints.exported_models import a_checkpoint, a_model
from tests.command_line import assert_refused


@pytest.fixture
def exported(tmp_path):
    def export(model, half=False):
        export_safetensors([a_checkpoint(tmp_path / "best.pt", model)], tmp_path / "model.safetensors", half)
        return tmp_path / "model.safetensors"

    return export


def test_there_and_back_nothing_changes(exported, tmp_path):
    model = a_model(causal=True)
    loaded, held = load(exported(model)), checkpoint.load(tmp_path / "best.pt")
    assert {name: loaded.content[name] for name in ("config", "model_config")} == {
        name: held[name] for name in ("config", "model_config")
    }
    state = loaded.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert not loaded.model.training


def test_half_precision_comes_back_as_float32(exported):
    model = a_model()
    whole, halved = exported(model).stat().st_size, exported(model, half=True)
    assert halved.stat().st_size < 0.75 * whole
    loaded, expected = glagcn.load_model(halved), model.state_dict()
    weights = dict(model.named_parameters())
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == expected[name].dtype
        assert torch.equal(tensor, expected[name].half().float() if name in weights else expected[name])
    x = torch.randn(2, 9, 17, 2)
    with torch.no_grad():
        assert torch.allclose(loaded(x).target, model(x).target, atol=0.01 * model(x).target.abs().max())


def test_a_flipped_bit_is_noticed(exported, tmp_path):
    path = exported(a_model())
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.safetensors.*does not match its digest"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "the file is empty"), (b"hello, there", "cannot be read as a safetensors file")]
)
def test_another_file_is_refused(verb, demo_root, tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert_refused(verb(f"evaluate {path} --dataset demo --root_path {demo_root}"), r"model\.safetensors", message)


def test_a_file_of_another_program_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(3)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="its metadata has no version, config, model_config, digest; expected a file"):
        glagcn.load_model(tmp_path / "model.safetensors")


def test_no_folder_of_the_machine_is_in_what_is_shared(verb, trained, tmp_path):
    config = json.loads((trained / "config.json").read_text())
    folders = [config["root_path"].encode(), config["checkpoint"].encode()]
    assert all(folder in (trained / "best.pt").read_bytes() for folder in folders)
    folders += [str(Path(glagcn.__file__).parent).encode(), socket.gethostname().encode()]
    for name, flags in (("a.pt", ""), ("a.safetensors", "--layout safetensors"), ("a.onnx", "--layout onnx")):
        assert verb(f"export {trained}/best.pt {flags} --out {tmp_path}/{name}").code == 0
        content = (tmp_path / name).read_bytes()
        assert [folder for folder in folders if folder in content] == []
        assert name == "a.onnx" or load(tmp_path / name).content["config"]["root_path"] == "data"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--layout safetensors --out {}/x.pt", r"--out .*x\.pt: expected a name that ends in \.safetensors"),
        ("--layout onnx --out {}/x.pt", r"--out .*x\.pt: expected a name that ends in \.onnx"),
        ("--layout onnx --half --out {}/x.onnx", "invalid --half with --layout onnx"),
    ],
)
def test_flags_that_do_not_fit_are_refused(verb, trained, tmp_path, flags, message):
    assert_refused(verb(f"export {trained}/best.pt {flags.format(tmp_path)}"), message)
    assert list(tmp_path.iterdir()) == []
