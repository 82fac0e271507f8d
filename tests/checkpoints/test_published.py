import io
import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from glagcn.checkpoints.published.reader import Dropped, published_state, read_checkpoint
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
    read = read_checkpoint(save(tmp_path / "a.pth", content))
    for name in ("numbers", "half", "part", "empty", "parameter"):
        assert read[name].dtype == content[name].dtype
        assert torch.equal(read[name], content[name])
    assert read["nested"][0]["a"].item() is True
    assert read["nested"][1] == (1, 2.5, "text", None)


def test_a_published_checkpoint_gives_its_weights_without_prefix():
    state = published_state(GOLDEN)
    assert state["data_bn.weight"].shape == (34,)
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert isinstance(read_checkpoint(GOLDEN)["random_state"], Dropped)


def test_old_names_of_numpy_are_known_too(tmp_path):
    with zipfile.ZipFile(GOLDEN) as archive:
        pickled = archive.read("h36m_27f/data.pkl")
    assert b"numpy._core.multiarray" in pickled
    old = pickled.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert isinstance(read_checkpoint(replace_pickle(tmp_path / "old.bin", old))["random_state"], Dropped)


def test_a_bare_state_dict_is_read(tmp_path):
    model = torch.nn.Linear(2, 3)
    state = published_state(save(tmp_path / "bare.pth", {f"module.{k}": v for k, v in model.state_dict().items()}))
    assert torch.equal(state["weight"], model.weight)


def test_code_in_the_file_is_named_and_not_run(tmp_path):
    witness = tmp_path / "witness"
    path = save(tmp_path / "bad.bin", {"model_pos": Calls(Path.touch, witness)})
    with pytest.raises(UserError, match=r"bad\.bin: it names .*; nothing of it was run"):
        read_checkpoint(path)
    assert not witness.exists()


@pytest.mark.parametrize("function", [eval, exec, getattr, print, np.load, torch.load, pickle.loads])
def test_only_the_listed_names_are_known(tmp_path, function):
    with pytest.raises(UserError, match=f"it names .*{function.__name__}"):
        read_checkpoint(save(tmp_path / "bad.bin", [Calls(function, "1")]))


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((11,), (1,), 0), ((5,), (1,), 6), ((2, 6), (6, 1), 0), ((1 << 40,), (0,), 0), ((-1,), (1,), 0)],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, size, stride, offset):
    tensor = torch.zeros(10)
    call = Calls(torch._utils._rebuild_tensor_v2, tensor.storage(), offset, size, stride, False, OrderedDict())
    with pytest.raises(UserError, match=r"beyond its storage of 10 values|impossible size"):
        read_checkpoint(save(tmp_path / "bad.bin", [call]))


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
        read_checkpoint(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_checkpoint(tmp_path / "nothing.bin")


def test_another_zip_file_is_refused(tmp_path):
    np.savez(tmp_path / "poses.npz", poses=np.zeros(3))
    with pytest.raises(UserError, match="not one that torch.save wrote"):
        read_checkpoint(tmp_path / "poses.npz")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, share):
    content = GOLDEN.read_bytes()
    path = tmp_path / "short.bin"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"short\.bin: .*truncated"):
        read_checkpoint(path)


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
            published_state(replace_pickle(tmp_path / "damaged.bin", bytes(damaged)))
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > 5
    assert all("damaged.bin" in message for message in messages)


def test_a_memo_that_would_fill_the_memory_is_refused(tmp_path):
    """LONG_BINPUT 2^32 - 1 makes the unpickler reserve a table of that many entries."""
    bomb = b"\x80\x02]r\xff\xff\xff\xff."
    with pytest.raises(UserError, match=r"memo"):
        read_checkpoint(replace_pickle(tmp_path / "bomb.bin", bomb))


@pytest.mark.parametrize("content", [[1, 2], {}, {"model_pos": {}}, {"epoch": 3}, {"model_pos": {"a": 1}}])
def test_a_checkpoint_without_weights_is_refused(tmp_path, content):
    with pytest.raises(UserError, match=r"c\.bin: (no weights found|not a state dict)"):
        published_state(save(tmp_path / "c.bin", content))


def test_the_format_before_pytorch_1_6_is_refused(tmp_path):
    stream = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, stream, _use_new_zipfile_serialization=False)
    (tmp_path / "old.pth").write_bytes(stream.getvalue())
    with pytest.raises(UserError, match="PyTorch before 1.6"):
        read_checkpoint(tmp_path / "old.pth")
