"""The cache that training on a data set prepares."""

from pathlib import Path

from glagcn.config.open_data import prepare_cache
from glagcn.config.resolve import resolve


def prepared(dataset: str, root: Path, **options) -> Path:
    """The path of the cache for `--dataset DATASET --root_path ROOT` and other options, made if there is none."""
    config, _ = resolve({"dataset": dataset, "root_path": str(root), **options})
    return prepare_cache(config.data)
