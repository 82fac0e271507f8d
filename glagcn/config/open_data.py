"""Find or prepare, open and check the cache of a run."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glagcn import dist
from glagcn.config.options import DataConfig
from glagcn.data.cache import open_cache, write_cache
from glagcn.data.dataset import SPLITS, Cache, Source, cache_name
from glagcn.data.datasets import get_dataset
from glagcn.data.selection import check_selection
from glagcn.errors import UserError
from glagcn.progress import Progress

logger = logging.getLogger(__name__)


def cache_of_run(content: Mapping[str, Any] | None, origin: Mapping[str, str]) -> Path | None:
    """The cache that the run of a checkpoint had; None where flags say where the data is.

    content  of the checkpoint, None for a published file;  origin  the source of each option (config.resolve).
    """
    named = any(origin[key] != "default" for key in ("root_path", "cache_dir"))
    path = content and content.get("data_path")  # an export has none
    return Path(path) if path and not named else None


def open_data(data: DataConfig, known: Path | None = None) -> Cache:
    """Open the cache of the data set; rank 0 prepares it if missing, and one rank of each node verifies it.

    known  a cache to look for first (see `cache_of_run`).
    Raises UserError on all ranks if it cannot be prepared or opened.
    """
    path = None
    with dist.agree(), dist.waiting_for_main():
        if dist.is_main():
            path = prepare_cache(data, known)
    path = dist.from_main(path)
    with dist.agree():
        if not path.exists():
            raise UserError(f"rank {dist.rank()} cannot find {path}; put --cache_dir on a file system of all nodes")
        cache = open_cache(path, verify=dist.local_rank() == 0)
        found = cache_name(cache.dataset, cache.keypoints, cache.annotation)
        wanted = cache_name(data.dataset, data.keypoints, data.annotation)
        if found != wanted:
            raise UserError(
                f"{path} contains the data of {found}, but {wanted} is needed; rename the file to {found}, and the "
                "next training prepares the right cache"
            )
    if warning := get_dataset(cache.dataset).warning(cache):
        logger.warning(warning)
    return cache


def prepare_cache(data: DataConfig, known: Path | None = None) -> Path:
    """The path of the cache for the options; written from the published files if missing.

    Takes `known` if it is there; else searches --cache_dir if given, then --root_path, and writes to the first of them.
    Call it on one process while the others wait.
    Raises UserError if neither a cache nor its files exist, or if the selection of subjects and actions is empty.
    """
    dataset, places = get_dataset(data.dataset), _cache_places(data)
    path, moved = places[0], ""
    if known and known.name == path.name and known.parent.resolve() not in [place.parent.resolve() for place in places]:
        if known.is_file():
            logger.info(f"Data where the run had it: {known}")
            return known
        moved = (
            f"the run had its data in {known.parent}, where {known.name} is not any more; --root_path says where it is"
        )
        logger.info(f"note: {moved}")
    if existing := _existing_cache(data):
        return existing
    try:
        source = dataset.find(Path(data.root_path), data.keypoints, data.annotation)
    except UserError as error:
        raise UserError(f"{error}\n{moved}" if moved else str(error)) from None
    infos = {split: tuple(source.infos(split)) for split in SPLITS}
    check_selection(infos, data.subjects_train, data.subjects_test, data.actions)
    logger.info(f"{path.name} does not exist yet: writing it to {path.parent}, once")
    write_and_report(path, source)
    return path


def write_and_report(path: Path, source: Source) -> None:
    """Write the cache; log all notes, a table of the sequences, and the path."""

    def log(notes: list[str]) -> None:
        for note in notes:
            logger.info(note if note.startswith("warning") else f"note: {note}")

    known, begin = len(source.notes), time.monotonic()
    log(source.notes)
    with Progress("read") as progress:
        write_cache(path, source, progress)
    log(source.notes[known:])
    cache = open_cache(path)
    for line in get_dataset(cache.dataset).summary(cache):
        logger.info(line)
    logger.info(f"wrote {path}: {path.stat().st_size / 1e6:.0f} MB in {time.monotonic() - begin:.1f} s")


def fingerprint_now(data: DataConfig) -> str | None:
    """The fingerprint of the cache for the options; None if there is no cache yet."""
    path = _existing_cache(data)
    return open_cache(path, verify=False).fingerprint if path else None


def _existing_cache(data: DataConfig) -> Path | None:
    return next((place for place in _cache_places(data) if place.is_file()), None)


def _cache_places(data: DataConfig) -> list[Path]:
    """Where the cache may be, the preferred place first."""
    file = cache_name(data.dataset, data.keypoints, data.annotation)
    return [Path(folder) / file for folder in (data.cache_dir, data.root_path) if folder]
