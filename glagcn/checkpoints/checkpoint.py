"""Checkpoint files: one dictionary of tensors and plain values, written whole or not at all.

format, version     what this is
config              every option of the run (config.resolve.to_dict)
model_config        what builds the network (model.network.model_config)
model               weights and buffers of rank 0, without prefixes of wrappers
optimizer           state of the optimiser; absent from exported weights
progress            step, best error, sums since the last log line (training.trainer.Progress)
num_windows         in an epoch, to notice other data
data_fingerprint    of the cache (data.cache.reader.Cache), to notice data that differ in what they hold
"""

import zipfile
from pathlib import Path
from typing import Any

import torch

from glagcn.errors import UserError
from glagcn.files import write_atomically

FORMAT = "glagcn-checkpoint"
VERSION = 1
WEIGHTS = ("config", "model_config", "model")
STATE = ("optimizer", "progress", "num_windows")  # what a run that goes on needs beside them


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically: `path` is the old file or the new one, never a part."""
    write_atomically(path, lambda file: torch.save({"format": FORMAT, "version": VERSION} | content, file))


def load_ours(path: Path) -> dict[str, Any] | None:
    """As `load`, but None where the file is not one of ours: a published file, or something else."""
    try:
        content = _read(path)
    except UserError:
        return None
    return _checked(content, path) if _is_ours(content) else None


def load(path: Path) -> dict[str, Any]:
    """Read one of our checkpoints onto the CPU, executing nothing that is pickled in it.

    Raises UserError where the file is missing, damaged, incomplete, of another kind or of a newer version.
    """
    content = _read(path)
    if not _is_ours(content):
        raise UserError(f"{path} is not a checkpoint of this program; expected a last.pt, best.pt or exported file")
    return _checked(content, path)


def _is_ours(content: Any) -> bool:
    return isinstance(content, dict) and content.get("format") == FORMAT


def _checked(content: dict[str, Any], path: Path) -> dict[str, Any]:
    version = content.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise UserError(f"{path} has checkpoint version {version}, this program reads up to {VERSION}; update it")
    lacking = [name for name in WEIGHTS if not isinstance(content.get(name), dict)]
    if lacking:
        raise UserError(f"{path} lacks the dictionary {', '.join(lacking)}; it is no whole checkpoint, use another")
    return content


def _read(path: Path) -> Any:
    check_is_zip(path)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not compare checksums
        if damaged:
            raise ValueError(f"the checksum of {damaged} does not fit")  # noqa: TRY301
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file makes it raise anything at all  # noqa: BLE001
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be read as a checkpoint ({reason}); is it complete? Copy it again or use another"
        ) from None


def lacking_state(content: dict[str, Any]) -> list[str]:
    """The parts of a whole state that a checkpoint lacks, as an exported file does; none where a run can go on."""
    return [name for name in STATE if name not in content]


def same_data(content: dict[str, Any], fingerprint: str) -> bool:
    """Whether a checkpoint, or a result, is of the data with this fingerprint; one that does not say, of an earlier
    version, counts as such."""
    return content.get("data_fingerprint", fingerprint) == fingerprint


def export(source: Path, target: Path) -> None:
    """Write the weights of a checkpoint without optimiser and progress, for sharing."""
    content = load(source)
    save(target, {name: content[name] for name in WEIGHTS})


def epochs_done(content: dict[str, Any]) -> int:
    """The whole epochs behind a checkpoint; 0 where it does not say, as an exported file."""
    if "progress" not in content or "num_windows" not in content:
        return 0
    per_epoch = -(-content["num_windows"] // content["config"]["batch_size"])
    return content["progress"]["step"] // per_epoch


def check_is_zip(path: Path) -> None:
    """Raise UserError unless `path` is a file in the zip format that PyTorch has written since version 1.6."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a checkpoint (.pt, .bin or .pth)")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; expected a checkpoint")
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
