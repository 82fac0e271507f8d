import pytest
import torch

from glagcn.checkpoints import checkpoint
from glagcn.checkpoints.load import load_model
from glagcn.checkpoints.published.export import export_published
from glagcn.checkpoints.published.layout import published_state
from glagcn.checkpoints.reader import read
from glagcn.errors import UserError
from glagcn.model.network import LiftingNetwork
from glagcn.model.registry import model_config
from glagcn.skeleton import get_skeleton
from tests.model.gla_gcn import reference


def public_model(name, **changes):
    torch.manual_seed(0)
    form = {"sequence_layers": 0, "head": "shared", "input_norm": name != "humaneva15_coco17"}
    model = LiftingNetwork(get_skeleton(name), (3, 3, 3), 8, **(form | changes))
    with torch.no_grad():  # statistics as after training, so that none is forgotten unnoticed
        for tensor in model.state_dict().values():
            if tensor.dtype == torch.float32:
                tensor += 0.1 * torch.rand_like(tensor)
    model.adjacency.copy_(torch.from_numpy(model.graph.adjacency()))
    return model.eval()


def write(path, model):
    config = {"batch_size": 10, "lr": 0.01}
    content = {"config": config, "model_config": model_config(model), "model": model.state_dict()}
    checkpoint.save(path, content | {"progress": {"step": 21}, "num_windows": 65})
    return path


@pytest.mark.parametrize("suffix", [".bin", ".pth"])
@pytest.mark.parametrize("name", ["h36m17", "humaneva15", "humaneva15_coco17"])
def test_there_and_back_gives_identical_outputs(tmp_path, name, suffix):
    model = public_model(name)
    target = tmp_path / f"out/8_{'detectron_pt_coco' if 'coco' in name else 'gt'}_27_supervised{suffix}"
    export_published(write(tmp_path / "best.pt", model), target)
    x = torch.randn(3, 27, model.skeleton.num_input_joints, 2)
    with torch.no_grad():
        assert torch.equal(load_model(target)(x).center, model(x).center)


@pytest.mark.parametrize("name", reference.NAMES)
def test_the_layout_is_that_of_a_published_file(tmp_path, name):
    """Every name and shape of the reference files, so that the published code loads it strictly."""
    source = reference.checkpoint(name)
    model = load_model(source)
    export_published(write(tmp_path / "best.pt", model), tmp_path / "out.bin")
    content, theirs = read(tmp_path / "out.bin"), read(source)
    assert content["epoch"] == 3
    assert content["lr"] == 0.01
    shapes = [{key: tuple(tensor.shape) for key, tensor in file["model_pos"].items()} for file in (content, theirs)]
    assert shapes[0] == shapes[1]
    ours, held = (published_state(read(path), path) for path in (tmp_path / "out.bin", source))
    assert all(torch.equal(ours[key], held[key]) for key in held if "coco" not in name or not key.startswith("data_bn"))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("mpi3dhp17", {}, "no model of mpi3dhp17"),
        ("h36m17", {"sequence_layers": 1}, "no sequence stage"),
        ("h36m17", {"head": "mixed"}, "a head of kind mixed"),
        ("h36m17", {"causal": True}, "trained on h36m17, causally"),
        ("humaneva15", {"graph": get_skeleton("humaneva15_tree")}, "trained on humaneva15_tree; .*--graph humaneva15 "),
    ],
)
def test_what_the_published_code_cannot_run_is_refused(tmp_path, name, changes, message):
    source = write(tmp_path / "best.pt", public_model(name, **changes))
    with pytest.raises(UserError, match=message):
        export_published(source, tmp_path / "out.bin")
    assert not (tmp_path / "out.bin").exists()


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"out\.onnx: must end in \.bin"):
        export_published(write(tmp_path / "best.pt", public_model("h36m17")), tmp_path / "out.onnx")
