"""The checkpoints of this program: one dictionary of tensors and plain values, written atomically.

format, version   identify the file format
config            all options of the run
model_config      what builds the network (model.registry.model_config)
model             weights and buffers of rank 0, without prefixes of wrappers; with --ema their average
trained_model     with --ema, the weights and buffers that training goes on from
optimizer         optimiser state; absent from exported weights
progress          step, best error, sums since the last log line
num_windows       windows per epoch, to detect other data
data_fingerprint  fingerprint of the cache, to detect other data
data_path         path of the cache, to find it again

`read` also reads published files and the safetensors that `glagcn export` writes.  No pickled code is executed.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from glagcn.checkpoints.find import OR_SHIPPED
from glagcn.errors import UserError, first_line
from glagcn.files import write_atomically

FORMAT = "glagcn-checkpoint"
VERSION = 1
WEIGHTS = ("config", "model_config", "model")
STATE = ("optimizer", "progress", "num_windows")  # needed for resuming, in addition to WEIGHTS


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically (see files.write_atomically), with format and version."""
    # In memory first: into a file, torch.save would raise a RuntimeError without a reason where the disk is full.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "version": VERSION} | content, buffer)
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this program onto the CPU.

    Raises UserError if the file is missing, damaged, incomplete, of another kind or of a newer version.
    """
    return require_glagcn(as_glagcn(read(path), path), path)


def require_glagcn(content: dict[str, Any] | None, path: Path) -> dict[str, Any]:
    """`content` from `as_glagcn`.  Raises UserError if it is None."""
    if content is None:
        raise UserError(f"{path} is not a checkpoint of this program; give a last.pt, best.pt or exported file")
    return content


def as_glagcn(content: Any, path: Path) -> dict[str, Any] | None:
    """`content`, read from `path`, if it is a checkpoint of this program, else None.

    Raises UserError if it is incomplete or of a newer version.
    """
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    version = content.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise UserError(
            f"{path} has checkpoint version {version}; this program reads versions up to {VERSION}. Update it"
        )
    missing = [name for name in WEIGHTS if not isinstance(content.get(name), dict)]
    if missing:
        raise UserError(f"{path} is incomplete: it has no dictionary {', '.join(missing)}; use another checkpoint")
    return content


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
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a checkpoint (.pt, .bin, .pth or .safetensors), {OR_SHIPPED}")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; expected a checkpoint")
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
                what = f"it contains {', '.join(foreign)}, which no checkpoint has"
                if own := sorted(name for name in foreign if name.startswith("glagcn.")):
                    what = f"it is a whole model, with {own[0]}: give best.pt of its run, or what glagcn export writes"
                raise ValueError(f"{what}; nothing was executed")  # noqa: TRY301
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
        advice = "if you trust its origin, load it with torch.load and write it again with torch.save"
        raise UserError(f"{path}: a checkpoint of PyTorch before 1.6, which cannot be read safely; {advice}")
    raise UserError(f"{path}: not a checkpoint (it begins with {start!r}); expected a file written by torch.save")


IN_JSON = ("version", "config", "model_config")  # entries of a checkpoint that are JSON in the metadata
PARTS = ("format", *IN_JSON, "digest")


def read_safetensors(path: Path) -> dict[str, Any]:
    """The content of such a file as that of a checkpoint of this program; half precision is converted to float32.

    Raises UserError that names the file if it is damaged or was not written by this program.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dictionary)
        missing = [name for name in PARTS if name not in metadata]
        content = {} if missing else assemble(metadata, weights)
        if content and digest(content) != metadata["digest"]:
            raise ValueError("its content does not match its digest")  # noqa: TRY301
    except Exception as error:  # what is damaged can be anything  # noqa: BLE001
        reason = first_line(error)
        raise UserError(
            f"{path} cannot be read as a safetensors file ({reason}); copy it again or use another"
        ) from None
    if missing:
        raise UserError(
            f"{path}: its metadata has no {', '.join(missing)}; expected a file that glagcn export has written"
        )
    return content


def assemble(metadata: Mapping[str, str], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The checkpoint content from metadata and weights; both sorted by name, because the file keeps no order."""
    return {
        "format": metadata["format"],
        **{name: json.loads(metadata[name]) for name in IN_JSON},
        "model": {
            name: weights[name].float() if weights[name].dtype == torch.float16 else weights[name]
            for name in sorted(weights)
        },
        "description": {name: metadata[name] for name in sorted(metadata) if name not in PARTS},
    }


def digest(content: dict[str, Any]) -> str:
    """SHA-256 of the content of such a file: names, plain values and the bytes of all tensors."""
    sha = hashlib.sha256()

    def add(value: Any) -> None:
        """Hash a value, with the names and values inside it."""
        if isinstance(value, Tensor):
            sha.update(f"{value.dtype}{tuple(value.shape)}".encode())
            sha.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
        elif isinstance(value, dict):
            for name, part in value.items():
                sha.update(f"{name!r}:".encode())
                add(part)
        elif isinstance(value, list | tuple):
            sha.update(f"[{len(value)}]".encode())
            for part in value:
                add(part)
        else:
            sha.update(repr(value).encode())

    add(content)
    return sha.hexdigest()
