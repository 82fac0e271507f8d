"""Models from checkpoint files, of this program and published ones: what is loaded, assumed, refused."""

import logging
import shutil
from pathlib import Path

import pytest
import torch

import glagcn
from glagcn.checkpoints import ours as checkpoint
from glagcn.checkpoints.load import load, load_model
from glagcn.checkpoints.published import Hints
from glagcn.errors import UserError
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.model.registry import model_config
from glagcn.skeletons import get_skeleton
from tests.checkpoints.exported_models import a_model
from tests.reference_model import published_weights

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3), 8).eval()


def write(path: Path, model: LiftingNetwork, /, **changes) -> Path:
    content = {"config": {}, "model_config": model_config(model), "model": model.state_dict()}
    checkpoint.save(path, content | changes)
    return path


@pytest.mark.parametrize("prefix", ["module.", "module._orig_mod."])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_prefixes_of_wrappers_and_half_precision_do_not_matter(tmp_path, model, prefix, dtype):
    state = {prefix + name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    loaded = load_model(write(tmp_path / "best.pt", model, model=state)).state_dict()
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor if name == "adjacency" else tensor.to(dtype).to(tensor.dtype))


@pytest.mark.parametrize("kind", ["gla_gcn", "temporal_conv"])
@pytest.mark.parametrize("wrapped", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}])
def test_weights_of_this_program_without_their_configuration_are_named(tmp_path, kind, wrapped):
    state = {f"module._orig_mod.{name}": tensor.half() for name, tensor in a_model(kind).state_dict().items()}
    torch.save(wrapped(state), tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w\.pt: .*not enough without its configuration: give best\.pt or last\.pt"):
        load_model(tmp_path / "w.pt")
    torch.save(a_model(kind), tmp_path / "whole.pt")
    with pytest.raises(UserError, match=r"a whole model, with glagcn\.model.*: give best\.pt.*nothing was executed"):
        load_model(tmp_path / "whole.pt")


def test_our_checkpoint_refuses_another_skeleton_or_widths_with_both_values(tmp_path, model):
    path = write(tmp_path / "best.pt", model)
    with pytest.raises(UserError, match=r"best\.pt: trained with skeleton 'mpi3dhp17', not 'h36m17'"):
        load_model(path, skeleton="h36m17")
    with pytest.raises(UserError, match=r"trained with widths \[3, 3\], not \[3, 3, 3\]"):
        load_model(path, widths=(3, 3, 3))


def test_a_changed_graph_is_refused(tmp_path, model):
    state = model.state_dict() | {"adjacency": torch.zeros(3, 17, 17)}
    with pytest.raises(UserError, match="its adjacency is that of another version"):
        load_model(write(tmp_path / "best.pt", model, model=state))


@pytest.mark.parametrize(
    ("name", "skeleton"),
    [("h36m_27f", "h36m17"), ("humaneva15_gt_27f", "humaneva15"), ("humaneva15_coco17_27f", "humaneva15_coco17")],
)
def test_what_a_published_file_does_not_say_is_assumed_aloud(name, skeleton, caplog):
    with caplog.at_level(logging.WARNING, logger="glagcn"):
        loaded = load_model(GOLDEN / f"{name}.bin")
    assert loaded.skeleton.name == skeleton
    assert loaded.widths == (3, 3, 3)
    assert f"assumed {skeleton}" in caplog.text
    assert "assumed (3, 3, 3)" in caplog.text


def test_what_is_given_is_not_assumed(caplog):
    loaded = glagcn.load_model(GOLDEN / "h36m_27f.bin", skeleton="h36m17", widths=(3, 3, 3))
    assert loaded.skeleton.name == "h36m17"
    assert caplog.text == ""
    loaded = glagcn.load_model(GOLDEN / "h36m_27f.bin", skeleton="mpi3dhp17", widths=(3, 3, 3))
    assert loaded.skeleton.name == "mpi3dhp17"
    assert "the graph of mpi3dhp17 and metres" in caplog.text


def test_a_published_file_whose_name_does_not_tell_its_skeleton_needs_one(tmp_path):
    shutil.copy(GOLDEN / "humaneva15_gt_27f.bin", tmp_path / "best.bin")
    with pytest.raises(UserError, match=r"weights for 15 joints.*skeleton='h36m17'"):
        load_model(tmp_path / "best.bin")
    assert load_model(tmp_path / "best.bin", skeleton="humaneva15").skeleton.name == "humaneva15"


def test_the_data_at_hand_decide_where_the_name_does_not_tell(tmp_path):
    shutil.copy(GOLDEN / "humaneva15_coco17_27f.bin", tmp_path / "best.bin")
    loaded = load(tmp_path / "best.bin", Hints(data_skeleton=get_skeleton("humaneva15_coco17")))
    assert loaded.model.skeleton.name == "humaneva15_coco17"
    assert "assumed humaneva15_coco17, from the data" in loaded.assumed[0]
    with pytest.raises(UserError, match="neither they nor the file name determine the skeleton"):
        load(tmp_path / "best.bin", Hints(data_skeleton=get_skeleton("h36m17")))


def test_a_published_name_tells_the_2d_source_and_the_frames(tmp_path):
    names = {"96_cpn_ft_h36m_dbb_27_supervised.bin": "cpn_ft_h36m_dbb", "96_gt_27_supervised_epoch_819.bin": "gt"}
    for name, source in names.items():
        assert load(shutil.copy(GOLDEN / "h36m_27f.bin", tmp_path / name)).keypoints == source
    assert load(GOLDEN / "h36m_27f.bin").keypoints is None
    longer = shutil.copy(GOLDEN / "h36m_27f.bin", tmp_path / "96_cpn_ft_h36m_dbb_243_supervised.bin")
    with pytest.raises(UserError, match="its name says 243 frames, but 3 stages of width 3 make 27"):
        load(longer)


def test_widths_that_contradict_the_published_name_are_used_and_it_is_said(tmp_path):
    file = shutil.copy(GOLDEN / "h36m_27f.bin", tmp_path / "96_gt_27_supervised.bin")
    loaded = load(file, Hints(widths=(3, 3, 9)))
    assert loaded.model.frames == 81
    assert "its name says 27 frames, but the given filter widths (3, 3, 9) make 81" in loaded.assumed[-1]
    assert not any("its name says" in words for words in load(file, Hints(widths=(3, 3, 3))).assumed)


def test_other_widths_are_refused_with_the_flag_that_fits():
    for widths in ((3, 3), (3, 3, 3, 3)):
        with pytest.raises(UserError, match=f"for 3 filter widths, not {len(widths)}; give -arc 3,3,3"):
            load_model(GOLDEN / "h36m_27f.bin", widths=widths)


def test_a_published_file_refuses_other_joints():
    with pytest.raises(UserError, match="weights for 17 joints, but skeleton 'humaneva15' has 15"):
        load_model(GOLDEN / "h36m_27f.bin", skeleton="humaneva15")


def test_loading_leaves_the_random_draws_of_the_caller_as_they_are():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_model(GOLDEN / "h36m_27f.bin")
    assert torch.equal(torch.rand(2), expected)


def test_a_state_dict_of_something_else_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "linear.pth")
    with pytest.raises(UserError, match=r"linear\.pth: not the weights of a published S-AGCN"):
        load_model(tmp_path / "linear.pth")


def test_a_bare_published_state_dict_is_read(tmp_path):
    public = LiftingNetwork(get_skeleton("h36m17"), (3, 3), 8, sequence_layers=0, head="shared").eval()
    torch.save({f"module.{name}": tensor for name, tensor in published_weights(public).items()}, tmp_path / "a.pth")
    x = torch.randn(2, 9, 17, 2)
    assert torch.equal(load_model(tmp_path / "a.pth")(x).target, public(x).target)
    halves = {f"_orig_mod.module.{name}": tensor.half() for name, tensor in published_weights(public).items()}
    halves["n_averaged"] = torch.tensor(7)  # of torch.optim.swa_utils.AveragedModel
    torch.save({"epoch": 3, "model": {"ema": halves}}, tmp_path / "half.pth")
    torch.testing.assert_close(load_model(tmp_path / "half.pth")(x).target, public(x).target, atol=0.02, rtol=0)
