"""Read checkpoints of torch.save and safetensors, ours and published ones, without executing pickled code."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from glagcn.checkpoints.find import OR_SHIPPED
from glagcn.checkpoints.read_safetensors import read_safetensors
from glagcn.errors import UserError, first_line


class Dropped:
    """Placeholder for the NumPy objects of a published file, which are not needed; ignores its arguments."""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass


# NumPy 2 renamed numpy.core to numpy._core; files contain either name.
PLACEHOLDERS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
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
    """The content of a file of torch.save: containers, numbers, text, tensors on the CPU; Dropped for NumPy objects.

    A .safetensors file must be an export of this program; its content is returned as that of a checkpoint.
    Raises UserError that names the file if it is missing, damaged or contains other objects.  Executes no pickled code.
    """
    _check_is_there(path)
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    _check_is_zip(path)
    try:
        content = io.BytesIO(path.read_bytes())
        with zipfile.ZipFile(content) as archive:
            if damaged := archive.testzip():  # torch.load compares no checksums
                raise ValueError(f"the checksum of {damaged} does not match")  # noqa: TRY301
            if not any(name.endswith("/data.pkl") for name in archive.namelist()):
                raise ValueError("a zip archive, but not one written by torch.save")  # noqa: TRY301
        content.seek(0)
        with safe_globals(PLACEHOLDERS):
            if foreign := get_unsafe_globals_in_checkpoint(content):
                raise ValueError(f"it contains {', '.join(foreign)}, which no checkpoint has; nothing was executed")  # noqa: TRY301
            content.seek(0)
            return torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can make torch.load raise any exception  # noqa: BLE001
        reason = first_line(error)
        raise UserError(f"{path} cannot be read as a checkpoint ({reason}); copy it again or use another one") from None


def _check_is_zip(path: Path) -> None:
    """Raise UserError unless `path` has the zip format of PyTorch 1.6 and later."""
    if zipfile.is_zipfile(path):
        return
    with path.open("rb") as stream:
        start = stream.read(16)
    if start.startswith(b"PK"):
        raise UserError(f"{path}: the file is truncated; copy or download it again")
    if start.startswith(b"\x80"):
        raise UserError(
            f"{path}: a checkpoint in the format of PyTorch before 1.6, which cannot be read safely; if you trust its "
            "origin, load it with torch.load and write it again with torch.save"
        )
    raise UserError(f"{path}: not a checkpoint (it begins with {start!r}); expected a file written by torch.save")


def _check_is_there(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a checkpoint (.pt, .bin, .pth or .safetensors), {OR_SHIPPED}")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; expected a checkpoint")
