"""Write a cache from published files; `glagcn prepare`."""

import logging
import time
from pathlib import Path

from glagcn.data.cache import open_cache, write_cache
from glagcn.data.dataset import DataSet, PrepareFlags, Source
from glagcn.data.datasets import get_dataset
from glagcn.errors import UserError
from glagcn.progress import Progress

logger = logging.getLogger(__name__)

# The flags of `glagcn prepare` in usage messages.
USAGE = {
    "raw": "--raw DIR", "npz": "--npz DIR", "keypoints": "[-k NAME]", "annotation": "[--annotation NAME]",
    "cameras": "[--cameras 0,1,...]", "mark_missing": "[--mark_missing]",
    "subjects": "[--subjects S1,S2,...]",
}  # fmt: skip


def prepare(name: str, flags: PrepareFlags, out: Path | None = None) -> tuple[Path, Source]:
    """Write the cache of a data set from the files that the flags of `glagcn prepare` describe.

    out  path of the cache.  None: beside the data, under the name that training looks for.  A variant of the data set,
         such as one with other cameras, gets a name that training does not look for.
    Returns the path of the cache and its source.  Raises UserError for invalid flags or files.
    """
    dataset = get_dataset(name)
    folder = _folder(dataset, flags)
    dataset.check(flags.keypoints or "gt", flags.annotation or "")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; pass the folder that contains the files")
    source = dataset.source_of(flags)
    usual = dataset.cache_name(source.keypoints, source.annotation)
    variant, note = dataset.variant(source) or (usual, "")
    path = out or folder / variant
    if path.is_dir():
        raise UserError(f"--out {path} is a folder; pass a file name, such as {path / usual}")
    write_and_report(path, source)
    if note and path.name == variant:
        logger.info(f"note: {note}")
    return path, source


def _folder(dataset: DataSet, flags: PrepareFlags) -> Path:
    """The folder given by --raw or --npz.  Raises UserError for flags that the data set does not accept."""
    if foreign := [flag for flag in flags.given if flag not in dataset.prepared_by]:
        usage = " ".join(USAGE[flag] for flag in dataset.prepared_by)
        expected = f"use glagcn prepare {dataset.name} {usage} [--out FILE]" if usage else "it has no files"
        flags_text = ", ".join(f"--{flag}" for flag in foreign)
        raise UserError(f"glagcn prepare {dataset.name} does not take {flags_text}; {expected}")
    folder = flags.raw or flags.npz
    if folder is None or (flags.raw and flags.npz):
        raise UserError("pass either --raw DIR (the official release) or --npz DIR (npz files), not both")
    return folder


def write_and_report(path: Path, source: Source) -> None:
    """Write the cache; log all notes, a table of the sequences, and the path."""
    known = list(source.notes)
    for note in known:
        logger.info(_labelled(note))
    begin = time.monotonic()
    with Progress("read") as progress:
        write_cache(path, source, progress)
    for note in source.notes[len(known) :]:
        logger.info(_labelled(note))
    cache = open_cache(path)
    for line in get_dataset(cache.dataset).summary(cache):
        logger.info(line)
    size = path.stat().st_size / 1e6
    logger.info(f"wrote {path}: {size:.0f} MB in {time.monotonic() - begin:.1f} s")


def _labelled(note: str) -> str:
    return note if note.startswith("warning") else f"note: {note}"
