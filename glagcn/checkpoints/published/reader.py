"""Read the published code's checkpoints (.bin, .pth) without running anything that is pickled inside.

A checkpoint is a zip archive: data.pkl describes the tensors, data/0, data/1, ... hold their bytes.  The description is
a pickle, a program that may call any function it names.  Here it may name only what is listed below: tensors, their
storages, plain containers, and a NumPy random state, in whose place stands an object that does nothing.
"""

import io
import pickle
import pickletools
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glagcn.checkpoints.checkpoint import check_is_zip
from glagcn.errors import UserError

STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class Dropped:
    """Stands where the file had a NumPy object, which nothing here needs.  Takes any arguments, keeps none."""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def _rebuild_tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """A tensor from its storage, as torch._utils._rebuild_tensor_v2 does it; it must lie within the storage."""
    whole = (offset, *size, *stride)
    if len(size) != len(stride) or not all(isinstance(number, int) and number >= 0 for number in whole):
        raise UserError(f"a tensor has the impossible size {size}, stride {stride} and offset {offset}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if prod(size) and max(last + 1, prod(size)) > storage.numel():
        raise UserError(f"a tensor of size {list(size)} reaches beyond its storage of {storage.numel()} values")
    return torch.as_strided(storage, size, stride, offset).clone()


def _rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    return data


# NumPy renamed its internal modules: files written before NumPy 2 say numpy.core, later ones numpy._core.
_NUMPY_NAMES = {
    ("numpy", "ndarray"), ("numpy", "dtype"), ("numpy", "RandomState"), ("_codecs", "encode"),
    ("numpy.random._pickle", "__randomstate_ctor"), ("numpy.random._pickle", "__bit_generator_ctor"),
    ("numpy.random", "__RandomState_ctor"), ("numpy.random.mtrand", "__randomstate_ctor"),
    ("numpy.random.mtrand", "RandomState"), ("numpy.random._mt19937", "MT19937"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"),
}  # fmt: skip
KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    **{("torch", name): dtype for name, dtype in STORAGES.items()},
    **dict.fromkeys(_NUMPY_NAMES, Dropped),
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: Any, load_storage: Callable[[str, torch.dtype, int], Tensor]):
        super().__init__(stream)
        self._load_storage = load_storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise UserError(
                f"it names {module}.{name}, which a published checkpoint does not contain; nothing of it was run. "
                "Expected tensors, plain containers and a NumPy random state"
            )
        return KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and pid[1] in STORAGES.values()):
            raise UserError(f"it refers to something that is not a tensor's storage: {pid!r:.100}")
        _, dtype, key, _, numel = pid
        return self._load_storage(str(key), dtype, numel)


def read_checkpoint(path: str | Path) -> Any:
    """What a PyTorch zip checkpoint holds: containers, numbers, text and CPU tensors.

    Raises UserError, naming the file, when it is missing, empty, truncated, not such a checkpoint, or names anything
    beyond KNOWN.  Nothing in the file is executed.
    """
    path = Path(path)
    check_is_zip(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: the file is damaged ({error}); copy or download it again") from error
    except Exception as error:
        # A hostile or broken pickle can fail in any way; all of them mean the same to the reader.
        raise UserError(f"{path}: not a readable checkpoint ({type(error).__name__}: {error})") from error


def published_state(path: str | Path) -> dict[str, Tensor]:
    """The weights in a published checkpoint: {"model_pos": state dict, ...} or a bare state dict, without "module.".

    Raises UserError as read_checkpoint does, and when the file holds no state dict.
    """
    content = read_checkpoint(path)
    state = content.get("model_pos", content) if isinstance(content, Mapping) else None
    if not state or not isinstance(state, Mapping):
        raise UserError(f"{path}: no weights found; expected a state dict, or one under the key 'model_pos'")
    others = [name for name, value in state.items() if not isinstance(name, str) or not isinstance(value, Tensor)]
    if others:
        raise UserError(
            f"{path}: not a state dict: the entry {others[0]!r} is no tensor; expected names and tensors, "
            "or a dict that holds them under the key 'model_pos'"
        )
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _read_archive(archive: zipfile.ZipFile) -> Any:
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise UserError("a zip archive, but not one that torch.save wrote (data.pkl is missing)")
    folder = names[0].removesuffix("data.pkl")
    byteorder = "little"
    if f"{folder}byteorder" in archive.namelist():
        byteorder = archive.read(f"{folder}byteorder").decode()
    if byteorder != sys.byteorder:
        raise UserError(f"written on a {byteorder}-endian machine, this one is {sys.byteorder}-endian")
    storages: dict[str, Tensor] = {}

    def load_storage(key: str, dtype: torch.dtype, numel: int) -> Tensor:
        if key not in storages:
            storages[key] = _read_storage(archive, f"{folder}data/{key}", dtype, numel)
        return storages[key]

    description = archive.read(names[0])
    _check_memo(description)
    return _Unpickler(io.BytesIO(description), load_storage).load()


def _check_memo(description: bytes) -> None:
    """Refuse a pickle whose memo numbers exceed its length: the unpickler would reserve memory for all below them."""
    for opcode, argument, _ in pickletools.genops(description):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > len(description):
            raise UserError(f"its description numbers a memo entry {argument}, which no checkpoint does")


def _read_storage(archive: zipfile.ZipFile, name: str, dtype: torch.dtype, numel: int) -> Tensor:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != numel * dtype.itemsize:
        raise UserError(f"{name} holds {info.file_size} bytes, expected {numel} values of {dtype}, uncompressed")
    content = bytearray(archive.read(info))
    return torch.frombuffer(content, dtype=dtype) if numel else torch.empty(0, dtype=dtype)
