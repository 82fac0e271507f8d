import pytest
import torch

from glagcn.checkpoints import ours as checkpoint
from glagcn.errors import UserError
from glagcn.files import WriteError
from tests.full_disk import files_limited_to

CONTENT = {"config": {"dataset": "demo"}, "model_config": {"channels": 4}, "model": {"weight": torch.arange(3.0)}}
REST = {"optimizer": {"state": {}}, "progress": {"step": 7, "best_mm": float("inf")}, "num_windows": 12}


@pytest.fixture
def path(tmp_path):
    checkpoint.save(tmp_path / "run/last.pt", CONTENT | REST)
    return tmp_path / "run/last.pt"


def test_what_is_saved_comes_back(path):
    content = checkpoint.load(path)
    assert content["format"] == checkpoint.FORMAT
    assert content["version"] == checkpoint.VERSION
    assert {name: content[name] for name in REST} == REST
    assert torch.equal(content["model"]["weight"], torch.arange(3.0))
    assert checkpoint.load_glagcn(path)


@pytest.mark.parametrize("room", [0, 10, 500, -1])
def test_a_write_that_fails_leaves_the_old_checkpoint_and_nothing_else(path, room):
    before = path.read_bytes()
    with (
        files_limited_to(room % len(before)),
        pytest.raises(WriteError, match=r"cannot write .*last\.pt: File too large"),
    ):
        checkpoint.save(path, CONTENT | REST)
    assert path.read_bytes() == before
    assert [other.name for other in path.parent.iterdir()] == ["last.pt"]


def test_an_export_holds_the_weights_and_no_more(path, tmp_path):
    checkpoint.export(checkpoint.load(path), tmp_path / "new/weights.pt")
    assert set(checkpoint.load(tmp_path / "new/weights.pt")) == {"format", "version", *CONTENT}


def test_a_newer_version_is_refused_with_both(path, monkeypatch):
    monkeypatch.setattr(checkpoint, "VERSION", 0)
    with pytest.raises(UserError, match=r"version 1; this program reads versions up to 0\. Update the program"):
        checkpoint.load(path)


def test_published_files_and_other_files_are_not_ours(tmp_path):
    torch.save({"model_pos": {}}, tmp_path / "published.bin")
    (tmp_path / "text.pt").write_text("hello")
    assert checkpoint.load_glagcn(tmp_path / "published.bin") is None
    for name in ("text.pt", "nothing.pt"):
        with pytest.raises(UserError, match=name):
            checkpoint.load_glagcn(tmp_path / name)
    with pytest.raises(UserError, match=r"published\.bin is not a checkpoint of this program"):
        checkpoint.load(tmp_path / "published.bin")


def test_one_flipped_bit_is_noticed(path):
    checkpoint.save(path, {"config": {}, "model_config": {}, "model": {"weight": torch.ones(1000)}})
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(8).numpy().tobytes()) + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="the checksum of .* does not match"):
        checkpoint.load(path)
