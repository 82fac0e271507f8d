"""From published files to a cache: what `glagcn prepare` does, and what training does when there is no cache yet."""

import time
from collections.abc import Callable
from pathlib import Path

from glagcn.data.cache.reader import open_cache
from glagcn.data.cache.writer import write_cache
from glagcn.data.dataset import DataSet, PrepareFlags
from glagcn.data.datasets import get_dataset
from glagcn.data.sequence import SequenceInfo
from glagcn.data.sources.source import Source
from glagcn.errors import UserError
from glagcn.progress import Progress, Say

Check = Callable[[list[SequenceInfo], list[SequenceInfo]], None]
"""Called with the sequences of train and test before a cache of them is written; raises UserError to prevent it."""


# How the usage of `glagcn prepare` shows its flags.
USAGE = {
    "raw": "--raw DIR", "npz": "--npz DIR", "keypoints": "[-k NAME]", "annotation": "[--annotation NAME]",
    "cameras": "[--cameras 0,1,...]",
}  # fmt: skip


def prepare(name: str, flags: PrepareFlags, out: Path | None = None, say: Say = print) -> tuple[Path, Source]:
    """Write the cache of a data set from the files that the flags of `glagcn prepare` describe.

    out  None: beside the data, under the name that training looks for; a part of the data set, such as other cameras
         than the usual ones, under one that training does not find.
    Returns the path, and what it was made of.  Calls `say` with notes and a table of what was read.
    Raises UserError for anything wrong with flags or files.
    """
    dataset = get_dataset(name)
    folder = _folder(dataset, flags)
    dataset.check(flags.keypoints or "gt", flags.annotation or "")
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; pass the folder that holds the files")
    source = dataset.source_of(flags)
    usual = dataset.cache_name(source.keypoints, source.annotation)
    variant, note = dataset.variant(source) or (usual, "")
    path = out or folder / variant
    if path.is_dir():
        raise UserError(f"--out {path} is a folder; pass a file name, such as {path / usual}")
    write_and_report(path, source, say)
    if note and path.name == variant:
        say(f"note: {note}")
    return path, source


def _folder(dataset: DataSet, flags: PrepareFlags) -> Path:
    """The folder that --raw or --npz names.  Raises UserError for flags that the data set does not have."""
    if foreign := [flag for flag in flags.given if flag not in dataset.prepared_by]:
        usage = " ".join(USAGE[flag] for flag in dataset.prepared_by)
        expected = f"expected glagcn prepare {dataset.name} {usage} [--out FILE]" if usage else "it has no files"
        raise UserError(f"{', '.join(f'--{flag}' for flag in foreign)}: not for {dataset.name}; {expected}")
    folder = flags.raw or flags.npz
    if folder is None or (flags.raw and flags.npz):
        raise UserError("pass either --raw DIR (the official release) or --npz DIR (npz files), and not both")
    return folder


def ensure_cache(
    name: str,
    root: Path,
    cache_dir: Path | None,
    annotation: str,
    keypoints: str = "gt",
    say: Say = print,
    check: Check | None = None,
) -> Path:
    """The cache that training on the data set `name` needs, written from the files below `root` if there is none yet.

    Looks in `cache_dir`, when given, then in `root`; a new one goes to `cache_dir`, else `root`.  To be called by one
    process while the others wait.  `check` gets the sequences before a new cache is written.
    Raises UserError where the data set does not have the 2D source or the annotation, where there is neither a cache
    nor files to make one of, or what `check` raises.
    """
    if existing := existing_cache(name, root, cache_dir, annotation, keypoints):
        return existing
    dataset = get_dataset(name)
    dataset.check(keypoints, annotation)
    path = _places(name, root, cache_dir, annotation, keypoints)[0]
    source = dataset.find(root, keypoints, annotation)
    if check:
        check(source.infos("train"), source.infos("test"))
    say(f"there is no {path.name} yet: preparing it once, in {path.parent}")
    write_and_report(path, source, say)
    return path


def existing_cache(
    name: str, root: Path, cache_dir: Path | None, annotation: str, keypoints: str = "gt"
) -> Path | None:
    """The cache that `ensure_cache` would find; None where it would have to write one."""
    places = _places(name, root, cache_dir, annotation, keypoints)
    return next((place for place in places if place.is_file()), None)


def _places(name: str, root: Path, cache_dir: Path | None, annotation: str, keypoints: str) -> list[Path]:
    file = get_dataset(name).cache_name(keypoints, annotation)
    return [folder / file for folder in (cache_dir, root) if folder is not None]


def write_and_report(path: Path, source: Source, say: Say) -> None:
    """Write the cache; report every note, what was read, and where it is."""
    known = list(source.notes)
    for note in known:
        say(_labelled(note))
    begin = time.monotonic()
    with Progress("read", say) as progress:
        write_cache(path, source, progress)
    for note in source.notes[len(known) :]:
        say(_labelled(note))
    cache = open_cache(path)
    for line in get_dataset(cache.dataset).summary(cache):
        say(line)
    size = path.stat().st_size / 1e6
    say(f"wrote {path}: {size:.0f} MB in {time.monotonic() - begin:.1f} s")


def _labelled(note: str) -> str:
    return note if note.startswith("warning") else f"note: {note}"
