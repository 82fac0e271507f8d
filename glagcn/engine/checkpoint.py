"""Checkpoint files: one dictionary of tensors and plain values, written whole or not at all.

format, version     what this is
config              every option of the run (config.to_dict)
model_config        what builds the network (model.network.model_config)
model               weights and buffers of rank 0, without prefixes of wrappers
optimizer           state of the optimiser; absent from exported weights
progress            step, best error, sums since the last log line (engine.training.Progress)
num_windows         in an epoch, to notice other data
"""

import pickle
from pathlib import Path
from typing import Any

import torch

from glagcn.engine.files import write_atomically
from glagcn.errors import UserError

FORMAT = "glagcn-checkpoint"
VERSION = 1


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically: `path` is the old file or the new one, never a part."""
    write_atomically(path, lambda file: torch.save({"format": FORMAT, "version": VERSION} | content, file))


def is_ours(path: Path) -> bool:
    """Whether this is one of our checkpoints, as opposed to a published file or something else."""
    try:
        return isinstance(content := _read(path), dict) and content.get("format") == FORMAT
    except UserError:
        return False


def load(path: Path) -> dict[str, Any]:
    """Read one of our checkpoints onto the CPU, executing nothing that is pickled in it.

    Raises UserError where the file is missing, damaged, of another kind or of a newer version.
    """
    content = _read(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this program; expected a last.pt, best.pt or exported file")
    if content["version"] > VERSION:
        raise UserError(
            f"{path} has checkpoint version {content['version']}, this program reads up to {VERSION}; update it"
        )
    return content


def _read(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, OSError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be read as a checkpoint ({reason}); is it complete? Copy it again or use another"
        ) from None


def export(source: Path, target: Path) -> None:
    """Write the weights of a checkpoint without optimiser and progress, for sharing."""
    content = load(source)
    keep = ("config", "model_config", "model")
    save(target, {name: content[name] for name in keep})
