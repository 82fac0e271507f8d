"""Checkpoint files: one dictionary of tensors and plain values, written atomically.

format, version     identify the file format
config              all options of the run (config.resolve.to_dict)
model_config        the configuration that builds the network (model.registry.model_config)
model               weights and buffers of rank 0, without prefixes of wrappers
optimizer           optimiser state; absent from exported weights
progress            step, best error, sums since the last log line (training.progress.Progress)
num_windows         windows per epoch, to detect other data
data_fingerprint    fingerprint of the cache (data.cache.reader.Cache), to detect other data

The zip archive of torch.save has a checksum of every entry, which `reader.read` compares.
"""

import io
from pathlib import Path
from typing import Any

import torch

from glagcn.checkpoints.reader import read
from glagcn.errors import UserError
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


def load_ours(path: Path) -> dict[str, Any] | None:
    """As `load`, but returns None for a file that is not one of our checkpoints, such as a published file."""
    return ours(read(path), path)


def load(path: Path) -> dict[str, Any]:
    """Read one of our checkpoints onto the CPU, without executing pickled code.

    Raises UserError if the file is missing, damaged, incomplete, of another kind or of a newer version.
    """
    return must_be_ours(load_ours(path), path)


def must_be_ours(content: dict[str, Any] | None, path: Path) -> dict[str, Any]:
    """`content` from load_ours.  Raises UserError if it is None."""
    if content is None:
        raise UserError(f"{path} is not a checkpoint of this program; give a last.pt, best.pt or exported file")
    return content


def ours(content: Any, path: Path) -> dict[str, Any] | None:
    """`content`, read from `path`, if it is one of our checkpoints, else None.

    Raises UserError if it is incomplete or of a newer version.
    """
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    version = content.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise UserError(
            f"{path} has checkpoint version {version}; this program reads versions up to {VERSION}. Update the program."
        )
    lacking = [name for name in WEIGHTS if not isinstance(content.get(name), dict)]
    if lacking:
        raise UserError(f"{path} is incomplete: it has no dictionary {', '.join(lacking)}; use another checkpoint")
    return content


def lacking_state(content: dict[str, Any]) -> list[str]:
    """The entries for resuming that a checkpoint lacks, as exported files do; empty if a run can resume from it."""
    return [name for name in STATE if name not in content]


def same_data(content: dict[str, Any], fingerprint: str) -> bool:
    """Whether a checkpoint or result has this data fingerprint; True if it has none (earlier versions)."""
    return content.get("data_fingerprint", fingerprint) == fingerprint


def export(content: dict[str, Any], target: Path) -> None:
    """Write the weights of `content`, one of our checkpoints, without optimiser and progress, for sharing."""
    save(target, {name: content[name] for name in WEIGHTS})
