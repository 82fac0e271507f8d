"""The cache that a run reads: found or prepared, opened, and checked."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from glagcn.config.config import DataConfig
from glagcn.data.cache.reader import Cache, cache_name, open_cache
from glagcn.data.datasets import get_dataset
from glagcn.data.prepare import ensure_cache, existing_cache
from glagcn.data.selection import check_selection
from glagcn.distributed.ranks import Ranks
from glagcn.errors import UserError


def open_data(data: DataConfig, ranks: Ranks, say: Callable[[str], None]) -> Cache:
    """The cache of the data set, prepared by rank 0 if it is not there yet; one rank of each node verifies it."""
    path = None
    with ranks.agree(), ranks.waiting_for_main():
        if ranks.is_main:
            path = prepare_cache(data, say)
    path = ranks.from_main(path)
    with ranks.agree():
        if not path.exists():
            raise UserError(f"rank {ranks.rank} does not see {path}; put --cache_dir on a file system of all nodes")
        cache = open_cache(path, verify=ranks.local_rank == 0)
        check_identity(cache, data)
    warning = get_dataset(cache.dataset).warning(cache)
    if warning:
        say(f"WARNING: {warning}")
    return cache


def prepare_cache(data: DataConfig, say: Callable[[str], None]) -> Path:
    """The path of the cache that the options need, made if it is not there.  Raises UserError where it cannot be."""
    return ensure_cache(
        **_cache_options(data),
        say=say,
        check=partial(
            check_selection,
            subjects_train=data.subjects_train,
            subjects_test=data.subjects_test,
            actions=data.actions,
        ),
    )


def fingerprint_now(data: DataConfig) -> str | None:
    """The fingerprint of the data that the options choose; None where there is no cache of them yet."""
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
    """Refuse a cache whose name promises other data than it holds.  Raises UserError with both."""
    held = cache_name(cache.dataset, cache.keypoints, cache.annotation)
    wanted = cache_name(data.dataset, data.keypoints, data.annotation)
    if held != wanted:
        raise UserError(
            f"{cache.path} holds what belongs into {held}, and {wanted} is needed; "
            "give the file its own name back, and the next training prepares the right one"
        )
