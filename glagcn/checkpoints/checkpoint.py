"""Checkpoint files: one dictionary of tensors and plain values, written whole or not at all.

format, version     of the file
config              every option of the run (config.resolve.to_dict)
model_config        what builds the network (model.registry.model_config)
model               weights and buffers of rank 0, without prefixes of wrappers
optimizer           state of the optimiser; absent from exported weights
progress            step, best error, sums since the last log line (training.progress.Progress)
num_windows         in an epoch, to notice other data
data_fingerprint    of the cache (data.cache.reader.Cache), to notice data that differ in what they hold
digest              SHA-256 of all of this
"""

import hashlib
from pathlib import Path
from typing import Any

import torch

from glagcn.checkpoints.reader import check_tensors, read
from glagcn.errors import UserError
from glagcn.files import write_atomically

FORMAT = "glagcn-checkpoint"
VERSION = 1
WEIGHTS = ("config", "model_config", "model")
STATE = ("optimizer", "progress", "num_windows")  # what resuming needs beside them


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically: `path` is the old file or the new one, never a part."""
    whole = {"format": FORMAT, "version": VERSION} | content
    whole["digest"] = digest(whole)
    write_atomically(path, lambda file: torch.save(whole, file))


def digest(content: dict[str, Any]) -> str:
    """SHA-256 of all that a checkpoint holds but its digest: names, plain values, and the bytes of every tensor."""
    sha = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
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

    add({name: part for name, part in content.items() if name != "digest"})
    return sha.hexdigest()


def load_ours(path: Path) -> dict[str, Any] | None:
    """As `load`, but None where the file is not one of ours, such as a published file."""
    return ours(read(path), path)


def load(path: Path) -> dict[str, Any]:
    """Read one of our checkpoints onto the CPU, executing nothing that is pickled in it.

    Raises UserError where the file is missing, damaged, incomplete, of another kind or of a newer version.
    """
    return must_be_ours(load_ours(path), path)


def must_be_ours(content: dict[str, Any] | None, path: Path) -> dict[str, Any]:
    """`content`, as load_ours gave it for `path`.  Raises UserError where that is None."""
    if content is None:
        raise UserError(f"{path} is not a checkpoint of this program; expected a last.pt, best.pt or exported file")
    return content


def ours(content: Any, path: Path) -> dict[str, Any] | None:
    """`content`, read from `path`, where it is a checkpoint of ours; None where it is something else.

    Raises UserError where it is incomplete or of a newer version.
    """
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    version = content.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise UserError(f"{path} has checkpoint version {version}, this program reads up to {VERSION}; update it")
    lacking = [name for name in WEIGHTS if not isinstance(content.get(name), dict)]
    if lacking:
        raise UserError(f"{path} lacks the dictionary {', '.join(lacking)}; it is no whole checkpoint, use another")
    check_tensors(path, content["model"])
    if content.get("digest", expected := digest(content)) != expected:
        raise UserError(f"{path} is damaged: its content does not have the digest that it was written with")
    return content


def lacking_state(content: dict[str, Any]) -> list[str]:
    """The parts of a whole state that a checkpoint lacks, as an exported file does; none where a run can go on."""
    return [name for name in STATE if name not in content]


def same_data(content: dict[str, Any], fingerprint: str) -> bool:
    """Whether a checkpoint, or a result, is of the data with this fingerprint; one that does not say, of an earlier
    version, counts as such."""
    return content.get("data_fingerprint", fingerprint) == fingerprint


def export(content: dict[str, Any], target: Path) -> None:
    """Write the weights in `content`, a checkpoint of ours, without optimiser and progress, for sharing."""
    save(target, {name: content[name] for name in WEIGHTS})


def epochs_done(content: dict[str, Any]) -> int:
    """The whole epochs behind a checkpoint; 0 where it does not say, as an exported file."""
    if "progress" not in content or "num_windows" not in content:
        return 0
    per_epoch = -(-content["num_windows"] // content["config"]["batch_size"])
    return content["progress"]["step"] // per_epoch
