"""Write a cache from published files; `glagcn prepare`."""

import logging
import time
from pathlib import Path

from glagcn.data.cache import open_cache, write_cache
from glagcn.data.dataset import PrepareFlags, Source
from glagcn.data.datasets import get_dataset
from glagcn.errors import UserError
from glagcn.progress import Progress

logger = logging.getLogger(__name__)


def prepare(name: str, flags: PrepareFlags, out: Path | None = None) -> tuple[Path, Source]:
    """Write the cache of a data set from the files that the flags of `glagcn prepare` describe.

    out  path of the cache.  None: beside the data, under the name that training looks for.  A variant of the data set,
         such as one with other cameras, gets a name that training does not look for.
    Returns the path of the cache and its source.  Raises UserError for invalid flags or files.
    """
    dataset = get_dataset(name)
    given = [flag for flag, value in vars(flags).items() if value is not None]
    if foreign := [flag for flag in given if flag not in dataset.prepared_by]:
        accepted = ", ".join(f"--{flag}" for flag in (*dataset.prepared_by, "out"))
        raise UserError(f"glagcn prepare {name} does not take --{', --'.join(foreign)}; it takes {accepted}")
    folder = flags.raw or flags.npz
    assert folder is not None  # the command line requires one
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


def write_and_report(path: Path, source: Source) -> None:
    """Write the cache; log all notes, a table of the sequences, and the path."""
    known = len(source.notes)
    for note in source.notes:
        logger.info(_labelled(note))
    begin = time.monotonic()
    with Progress("read") as progress:
        write_cache(path, source, progress)
    for note in source.notes[known:]:
        logger.info(_labelled(note))
    cache = open_cache(path)
    for line in get_dataset(cache.dataset).summary(cache):
        logger.info(line)
    size = path.stat().st_size / 1e6
    logger.info(f"wrote {path}: {size:.0f} MB in {time.monotonic() - begin:.1f} s")


def _labelled(note: str) -> str:
    return note if note.startswith("warning") else f"note: {note}"
