import io
import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from glagcn.checkpoints.ours import Dropped, read
from glagcn.checkpoints.published import published_state
from glagcn.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "h36m_27f.bin"


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


def test_a_bare_state_dict_is_read(tmp_path):
    model = torch.nn.Linear(2, 3)
    state = weights(save(tmp_path / "bare.pth", {f"module.{k}": v for k, v in model.state_dict().items()}))
    assert torch.equal(state["weight"], model.weight)


def test_code_in_the_file_is_named_and_not_run(tmp_path):
    witness = tmp_path / "witness"
    path = save(tmp_path / "bad.bin", {"model_pos": Calls(Path.touch, witness)})
    with pytest.raises(UserError, match=r"bad\.bin .*it contains .*; nothing was executed"):
        read(path)
    assert not witness.exists()


@pytest.mark.parametrize("function", [eval, exec, getattr, print, np.load, torch.load, pickle.loads])
def test_only_the_listed_names_are_known(tmp_path, function):
    with pytest.raises(UserError, match=f"it contains .*{function.__name__}"):
        read(save(tmp_path / "bad.bin", [Calls(function, "1")]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"MATLAB 5.0 MAT-file", "not a checkpoint"),
        (pickle.dumps({"a": 1}), "PyTorch before 1.6"),
    ],
)
def test_files_that_are_no_checkpoint_are_refused(tmp_path, content, message):
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"file\.bin: .*{message}"):
        read(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "nothing.bin")


def test_another_zip_file_is_refused(tmp_path):
    np.savez(tmp_path / "poses.npz", poses=np.zeros(3))
    with pytest.raises(UserError, match="not one written by torch.save"):
        read(tmp_path / "poses.npz")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, share):
    content = GOLDEN.read_bytes()
    path = tmp_path / "short.bin"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"short\.bin: .*truncated"):
        read(path)


def test_a_damaged_description_ends_in_an_error_that_names_the_file(tmp_path):
    """Bytes changed at random: what is left may still be a pickle, but most often is not."""
    with zipfile.ZipFile(GOLDEN) as archive:
        pickled = archive.read("h36m_27f/data.pkl")
    draw = random.Random(0)
    messages = []
    for _ in range(20):
        damaged = bytearray(pickled)
        for _ in range(5):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            weights(replace_pickle(tmp_path / "damaged.bin", bytes(damaged)))
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > 5
    assert all("damaged.bin" in message for message in messages)


def test_a_memo_that_would_fill_the_memory_is_refused(tmp_path):
    """LONG_BINPUT 2^32 - 1 makes the unpickler of the standard library reserve a table of that many entries."""
    bomb = b"\x80\x02]r\xff\xff\xff\xff."
    with pytest.raises(UserError, match=r"bomb\.bin: no weights found"):
        weights(replace_pickle(tmp_path / "bomb.bin", bomb))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(2, device="meta"),
        torch.zeros(2, dtype=torch.complex64),
    ],
)
def test_weights_that_are_no_plain_tensors_are_refused(tmp_path, tensor):
    with pytest.raises(UserError, match=r"c\.bin.*(not a plain tensor|cannot be read)"):
        weights(save(tmp_path / "c.bin", {"model_pos": {"a": tensor}}))


def test_a_record_shorter_than_it_claims_is_refused(tmp_path):
    path = save(tmp_path / "long.pth", {"a": torch.zeros(10)})
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w") as target:
        for name, content in members.items():
            target.writestr(name, content[:8] if name.endswith("data/0") else content)
    with pytest.raises(UserError, match=r"long\.pth"):
        read(path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"model_pos": {}}, {"epoch": 3}, {"model_pos": {"a": 1}}])
def test_a_checkpoint_without_weights_is_refused(tmp_path, content):
    with pytest.raises(UserError, match=r"c\.bin: (no weights found|not a state dict)"):
        weights(save(tmp_path / "c.bin", content))


def test_the_format_before_pytorch_1_6_is_refused(tmp_path):
    stream = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, stream, _use_new_zipfile_serialization=False)
    (tmp_path / "old.pth").write_bytes(stream.getvalue())
    with pytest.raises(UserError, match="PyTorch before 1.6"):
        read(tmp_path / "old.pth")
