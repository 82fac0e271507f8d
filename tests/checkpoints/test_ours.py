"""Checkpoint files: written whole or not at all, and read without executing anything."""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from glagcn.checkpoints import ours as checkpoint
from glagcn.checkpoints.ours import Dropped, read
from glagcn.checkpoints.published import published_state
from glagcn.errors import UserError
from glagcn.files import WriteError
from tests.full_disk import files_limited_to

GOLDEN = Path(__file__).parents[1] / "golden" / "h36m_27f.bin"
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


@pytest.mark.parametrize("room", [0, 500, -1])
def test_a_write_that_fails_leaves_the_old_checkpoint_and_nothing_else(path, room):
    before = path.read_bytes()
    with (
        files_limited_to(room % len(before)),
        pytest.raises(WriteError, match=r"cannot write .*last\.pt: File too large"),
    ):
        checkpoint.save(path, CONTENT | REST)
    assert path.read_bytes() == before
    assert [other.name for other in path.parent.iterdir()] == ["last.pt"]


def test_published_files_and_other_files_are_not_ours(tmp_path):
    torch.save({"model_pos": {}}, tmp_path / "published.bin")
    (tmp_path / "text.pt").write_text("hello")
    assert checkpoint.as_glagcn(read(tmp_path / "published.bin"), tmp_path) is None
    for name in ("text.pt", "nothing.pt"):
        with pytest.raises(UserError, match=name):
            read(tmp_path / name)
    with pytest.raises(UserError, match=r"published\.bin is not a checkpoint of this program"):
        checkpoint.load(tmp_path / "published.bin")


def test_one_flipped_bit_is_noticed(path):
    checkpoint.save(path, {"config": {}, "model_config": {}, "model": {"weight": torch.ones(1000)}})
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(8).numpy().tobytes()) + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="the checksum of .* does not match"):
        checkpoint.load(path)


# ---- other files


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def weights(path: Path) -> dict:
    return published_state(read(path), path)


def replace_pickle(path: Path, content: bytes) -> Path:
    """A copy of the reference checkpoint that describes its tensors with another pickle."""
    with zipfile.ZipFile(GOLDEN) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, content if name.endswith("data.pkl") else source.read(name))
    return path


def test_it_reads_what_torch_reads(tmp_path):
    content = {
        "numbers": torch.arange(6).reshape(2, 3).t(),
        "half": torch.randn(3).half(),
        "part": torch.randn(10)[4:7],
        "empty": torch.zeros(0),
        "parameter": torch.nn.Parameter(torch.randn(2)),
        "nested": [OrderedDict(a=torch.tensor(True)), (1, 2.5, "text", None)],
    }
    found = read(save(tmp_path / "a.pth", content))
    for name in ("numbers", "half", "part", "empty", "parameter"):
        assert found[name].dtype == content[name].dtype
        assert torch.equal(found[name], content[name])
    assert found["nested"][0]["a"].item() is True
    assert found["nested"][1] == (1, 2.5, "text", None)


def test_a_published_checkpoint_gives_its_weights_without_prefix():
    state = weights(GOLDEN)
    assert state["data_bn.weight"].shape == (34,)
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert isinstance(read(GOLDEN)["random_state"], Dropped)


def test_old_names_of_numpy_are_known_too(tmp_path):
    with zipfile.ZipFile(GOLDEN) as archive:
        pickled = archive.read("h36m_27f/data.pkl")
    assert b"numpy._core.multiarray" in pickled
    old = pickled.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert isinstance(read(replace_pickle(tmp_path / "old.bin", old))["random_state"], Dropped)


@pytest.mark.parametrize("function", [eval, getattr, np.load, torch.load, pickle.loads])
def test_only_the_listed_names_are_known(tmp_path, function):
    with pytest.raises(UserError, match=f"it contains .*{function.__name__}"):
        read(save(tmp_path / "bad.bin", [Calls(function, "1")]))


def test_a_memo_that_would_fill_the_memory_is_refused(tmp_path):
    """LONG_BINPUT 2^32 - 1 makes the unpickler of the standard library reserve a table of that many entries."""
    bomb = b"\x80\x02]r\xff\xff\xff\xff."
    with pytest.raises(UserError, match=r"bomb\.bin: no weights found"):
        weights(replace_pickle(tmp_path / "bomb.bin", bomb))


@pytest.mark.parametrize(
    "tensor", [torch.zeros(2, 2).to_sparse(), torch.zeros(2, device="meta"), torch.zeros(2, dtype=torch.complex64)]
)
def test_weights_that_are_no_plain_tensors_are_refused(tmp_path, tensor):
    with pytest.raises(UserError, match=r"c\.bin.*(not a plain tensor|cannot be read)"):
        weights(save(tmp_path / "c.bin", {"model_pos": {"a": tensor}}))
