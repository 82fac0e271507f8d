"""Read the files of `glagcn export --layout safetensors`: weights, and the rest of a checkpoint as metadata."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from glagcn.errors import UserError, first_line

IN_JSON = ("version", "config", "model_config")  # entries of a checkpoint that are JSON in the metadata
PARTS = ("format", *IN_JSON, "digest")


def read_safetensors(path: Path) -> dict[str, Any]:
    """The content of such a file as that of one of our checkpoints; half precision is converted to float32.

    Raises UserError that names the file if it is damaged or was not written by this program.
    """
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dictionary)
        lacking = [name for name in PARTS if name not in told]
        content = {} if lacking else assemble(told, weights)
        if content and digest(content) != told["digest"]:
            raise ValueError("its content does not match its digest")  # noqa: TRY301
    except Exception as error:  # what is damaged can be anything  # noqa: BLE001
        reason = first_line(error)
        raise UserError(
            f"{path} cannot be read as a safetensors file ({reason}); is it complete? Copy it again or use another"
        ) from None
    if lacking:
        raise UserError(
            f"{path}: its metadata lack {', '.join(lacking)}; expected a file that glagcn export --layout safetensors "
            "has written"
        )
    return content


def assemble(told: Mapping[str, str], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The checkpoint content from metadata and weights; both sorted by name, because the file keeps no order."""
    return {
        "format": told["format"],
        **{name: json.loads(told[name]) for name in IN_JSON},
        "model": {
            name: weights[name].float() if weights[name].dtype == torch.float16 else weights[name]
            for name in sorted(weights)
        },
        "description": {name: told[name] for name in sorted(told) if name not in PARTS},
    }


def digest(content: dict[str, Any]) -> str:
    """SHA-256 of the content of such a file: names, plain values and the bytes of all tensors."""
    sha = hashlib.sha256()

    def add(value: Any) -> None:
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
