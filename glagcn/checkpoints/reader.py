"""Read checkpoint files, ours and the published ones, without running what is pickled inside."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from glagcn.checkpoints.read_safetensors import read_safetensors
from glagcn.errors import UserError


class Dropped:
    """Stands in for the NumPy objects of a published file, which nothing here needs: takes anything, keeps none."""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass


# NumPy renamed its internal modules: files written before NumPy 2 say numpy.core, later ones numpy._core.
STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (Dropped, name)
    for name in (
        "numpy.ndarray", "numpy.dtype", "numpy.RandomState", "_codecs.encode",
        "numpy.random._pickle.__randomstate_ctor", "numpy.random._pickle.__bit_generator_ctor",
        "numpy.random.__RandomState_ctor", "numpy.random.mtrand.__randomstate_ctor",
        "numpy.random.mtrand.RandomState", "numpy.random._mt19937.MT19937",
        "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    )
]  # fmt: skip


def read(path: Path) -> Any:
    """What a file of torch.save holds: containers, numbers, text, tensors on the CPU, and Dropped for NumPy objects.

    A file called .safetensors is read as one of ours, to what a checkpoint holds.
    Raises UserError, naming the file, where it is missing, damaged, or names anything else; nothing in it is run.
    """
    _check_is_there(path)
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    _check_is_zip(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive)
        with safe_globals(STAND_INS):
            if foreign := get_unsafe_globals_in_checkpoint(path):
                raise ValueError(f"it names {', '.join(foreign)}, which no checkpoint contains; nothing of it was run")  # noqa: TRY301
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can make torch.load raise anything  # noqa: BLE001
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be read as a checkpoint ({reason}); is it complete? Copy it again or use another"
        ) from None


def check_tensors(path: Path, state: Mapping[Any, Any]) -> None:
    """Raise UserError, naming the file, unless `state` has names and plain dense tensors that hold their own values."""
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"{path}: not a state dict: the entry {name!r} is no tensor; expected names and tensors")
        plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
        if not plain or value.is_complex():
            raise UserError(f"{path}: the weights {name!r} are not a plain tensor of real numbers; use another file")
        held = value.untyped_storage().nbytes()
        if value.numel() * value.element_size() > held:
            raise UserError(
                f"{path}: the weights {name!r} claim the shape {list(value.shape)}, and the file has {held} bytes of "
                "them; use another file"
            )


def _check_is_zip(path: Path) -> None:
    """Raise UserError unless `path` is in the zip format that PyTorch has written since version 1.6."""
    if zipfile.is_zipfile(path):
        return
    with path.open("rb") as stream:
        start = stream.read(16)
    if start.startswith(b"PK"):
        raise UserError(f"{path}: the file is truncated; copy or download it again")
    if start.startswith(b"\x80"):
        raise UserError(
            f"{path}: a checkpoint in the format of PyTorch before 1.6, which cannot be read safely; where its origin "
            "is trusted, load it with torch.load and write it again with torch.save"
        )
    raise UserError(f"{path}: not a checkpoint (it begins with {start!r}); expected a file written by torch.save")


def _check_is_there(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a checkpoint (.pt, .bin, .pth or .safetensors)")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; expected a checkpoint")


def _check_archive(archive: zipfile.ZipFile) -> None:
    """What torch.load does not check: checksums, and that nothing is compressed, which could fill the memory."""
    if sum(name.endswith("/data.pkl") for name in archive.namelist()) != 1:
        raise ValueError("a zip archive, but not one that torch.save wrote")
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{info.filename} is compressed, and torch.save does not compress")
    if damaged := archive.testzip():
        raise ValueError(f"the checksum of {damaged} does not fit")
