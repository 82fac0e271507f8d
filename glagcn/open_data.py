"""Find or prepare, open and check the cache of a run."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from glagcn.config.options import DataConfig
from glagcn.data.cache.reader import Cache, cache_name, open_cache
from glagcn.data.datasets import get_dataset
from glagcn.data.prepare import ensure_cache, existing_cache
from glagcn.data.selection import check_selection
from glagcn.distributed.ranks import Ranks
from glagcn.errors import UserError

logger = logging.getLogger(__name__)


def open_data(data: DataConfig, ranks: Ranks) -> Cache:
    """Open the cache of the data set; rank 0 prepares it if missing, and one rank of each node verifies it.

    Raises UserError on all ranks if it cannot be prepared or opened.
    """
    path = None
    with ranks.agree(), ranks.waiting_for_main():
        if ranks.is_main:
            path = prepare_cache(data)
    path = ranks.from_main(path)
    with ranks.agree():
        if not path.exists():
            raise UserError(f"rank {ranks.rank} cannot find {path}; put --cache_dir on a file system of all nodes")
        cache = open_cache(path, verify=ranks.local_rank == 0)
        check_identity(cache, data)
    warning = get_dataset(cache.dataset).warning(cache)
    if warning:
        logger.warning(warning)
    return cache


def prepare_cache(data: DataConfig) -> Path:
    """The path of the cache for the options; prepared if missing.  Raises UserError if that fails."""
    return ensure_cache(
        **_cache_options(data),
        check=partial(
            check_selection,
            subjects_train=data.subjects_train,
            subjects_test=data.subjects_test,
            actions=data.actions,
        ),
    )


def fingerprint_now(data: DataConfig) -> str | None:
    """The fingerprint of the cache for the options; None if there is no cache yet."""
    path = existing_cache(**_cache_options(data))
    return open_cache(path, verify=False).fingerprint if path else None


def _cache_options(data: DataConfig) -> dict[str, Any]:
    return {
        "name": data.dataset,
        "root": Path(data.root_path),
        "cache_dir": Path(data.cache_dir) if data.cache_dir else None,
        "annotation": data.annotation,
        "keypoints": data.keypoints,
    }


def check_identity(cache: Cache, data: DataConfig) -> None:
    """Raise UserError if the cache contains other data than its file name says."""
    found = cache_name(cache.dataset, cache.keypoints, cache.annotation)
    wanted = cache_name(data.dataset, data.keypoints, data.annotation)
    if found != wanted:
        raise UserError(
            f"{cache.path} contains the data of {found}, but {wanted} is needed; rename the file to {found}, and the "
            "next training prepares the right cache"
        )
