"""From published files to a cache: what `glagcn prepare` does, and what training does when there is no cache yet."""

import time
from collections.abc import Callable
from pathlib import Path

from glagcn.data.cache.reader import cache_name, open_cache
from glagcn.data.cache.writer import write_cache
from glagcn.data.report import short_sequences_line, subject_lines, summary_lines, valid_frames_line
from glagcn.data.sequence import SequenceInfo
from glagcn.data.sources import Source
from glagcn.data.sources.find import check_choices, find_3dhp, find_videopose3d, pair_in, release_in
from glagcn.data.sources.mpi_inf_3dhp.facts import DEFAULT_CAMERAS
from glagcn.data.sources.videopose3d.facts import FACTS
from glagcn.errors import UserError
from glagcn.progress import Progress, Say

Check = Callable[[list[SequenceInfo], list[SequenceInfo]], None]
"""Called with the sequences of train and test before a cache of them is written; raises UserError to prevent it."""


def prepare_3dhp(
    raw: Path | None = None,
    npz: Path | None = None,
    annotation: str | None = None,
    cameras: tuple[int, ...] = DEFAULT_CAMERAS,
    out: Path | None = None,
    say: Say = print,
) -> Path:
    """Write the cache of the official release in `raw` or of the npz pair in `npz`; returns its path.

    annotation None: "univ" for a release, what the file names say for an npz.  out None: beside the data, under the
    name of `cache_name`, or with other cameras than the usual ones, under one that says so.  Says what was read, as a
    table.  Raises UserError for anything wrong with flags or files.
    """
    if (raw is None) == (npz is None):
        raise UserError("pass either --raw DIR (the official release) or --npz DIR (the npz pair), and not both")
    check_choices(annotation or "univ", cameras)
    folder = raw or npz
    assert folder is not None
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; pass the folder that holds the files")
    source: Source = release_in(raw, annotation or "univ", cameras) if raw else pair_in(folder, annotation, cameras)
    usual = cache_name(source.dataset, source.keypoints, source.annotation)
    path = out or folder / _name_with_cameras(usual, cameras)
    _check_out(path, cache_name("3dhp", "gt", "univ"))
    write_and_report(path, source, say)
    if path.name == _name_with_cameras(usual, cameras) != usual:
        given = ",".join(map(str, cameras))
        say(
            f"note: the cameras {given} are not the usual ones, so this is not named {usual} and training will not "
            "find it. To train on some of the usual cameras, prepare them all and pass --cameras to training; to "
            f"train on this file, rename it to {usual} in a folder of its own and pass that folder as --cache_dir"
        )
    return path


def prepare_videopose3d(
    dataset: str, npz: Path, keypoints: str = "gt", out: Path | None = None, say: Say = print
) -> Path:
    """Write the cache of Human3.6M ("h36m") or HumanEva-I ("humaneva15") from VideoPose3D's files; returns its path.

    npz  the folder with data_3d_<dataset>.npz and data_2d_<dataset>_<keypoints>.npz.
    out  None: beside the data, under the name of `cache_name`.
    Says what was read, as a table.  Raises UserError for anything wrong with flags or files.
    """
    if dataset not in FACTS:
        raise UserError(f"data set {dataset!r}: expected one of {', '.join(FACTS)}")
    if not npz.is_dir():
        raise UserError(f"{npz} is no folder; pass the folder that holds the files")
    source = find_videopose3d(npz, dataset, keypoints)
    name = cache_name(dataset, keypoints, "")
    path = out or npz / name
    _check_out(path, name)
    write_and_report(path, source, say)
    return path


def ensure_cache(
    dataset: str,
    root: Path,
    cache_dir: Path | None,
    annotation: str,
    keypoints: str = "gt",
    say: Say = print,
    check: Check | None = None,
) -> Path:
    """The cache that training needs, written from the files below `root` when it does not exist yet.

    Looks in `cache_dir`, when given, then in `root`; a new one goes to `cache_dir`, else `root`.  To be called by one
    process while the others wait.  `annotation` is for MPI-INF-3DHP alone.  `check` sees the sequences before a new
    cache is written.  Raises UserError when there is neither a cache nor files to make one of, or what `check` raises.
    """
    if existing := existing_cache(dataset, root, cache_dir, annotation, keypoints):
        return existing
    places = _places(dataset, root, cache_dir, annotation, keypoints)
    name, folders = places[0].name, [place.parent for place in places]
    source = _find(dataset, root, annotation, keypoints)
    if source is None:
        raise UserError(
            f"no cache {name} in {' or '.join(map(str, folders))}, and no way to make one for data set {dataset!r} "
            f"with 2D source {keypoints!r}; expected '3dhp' or 'demo' with 'gt', or {' or '.join(map(repr, FACTS))}"
        )
    if check:
        check(source.infos("train"), source.infos("test"))
    say(f"there is no {name} yet: preparing it once, in {folders[0]}")
    write_and_report(places[0], source, say)
    return places[0]


def existing_cache(
    dataset: str, root: Path, cache_dir: Path | None, annotation: str, keypoints: str = "gt"
) -> Path | None:
    """The cache that `ensure_cache` would find; None where it would have to write one."""
    places = _places(dataset, root, cache_dir, annotation, keypoints)
    return next((place for place in places if place.is_file()), None)


def _places(dataset: str, root: Path, cache_dir: Path | None, annotation: str, keypoints: str) -> list[Path]:
    name = cache_name(dataset, keypoints, annotation if dataset == "3dhp" else "")
    return [folder / name for folder in (cache_dir, root) if folder is not None]


def _find(dataset: str, root: Path, annotation: str, keypoints: str) -> Source | None:
    """What a cache can be made of; None for a data set or 2D source that nothing here reads."""
    if dataset in FACTS:
        return find_videopose3d(root, dataset, keypoints)
    if dataset == "3dhp" and keypoints == "gt":
        return find_3dhp(root, annotation, DEFAULT_CAMERAS)
    if dataset == "demo" and keypoints == "gt":
        # Imported only here: the demo makes its data itself, which nothing else needs.
        from glagcn.data.sources.demo.source import DemoSource

        return DemoSource(seed=0)
    return None


def _check_out(path: Path, name: str) -> None:
    if path.is_dir():
        raise UserError(f"--out {path} is a folder; pass a file name, such as {path / name}")


def write_and_report(path: Path, source: Source, say: Say) -> None:
    """Write the cache, then say every note, what was read, and where it is."""
    known = list(source.notes)
    for note in known:
        say(_labelled(note))
    begin = time.monotonic()
    with Progress("read", say) as progress:
        write_cache(path, source, progress)
    for note in source.notes[len(known) :]:
        say(_labelled(note))
    cache = open_cache(path)
    cut = cache.provenance.get("cut_frames", {})
    table = subject_lines if cache.dataset in FACTS else summary_lines
    for split in (cache.train, cache.test):
        for line in table(split, cut):
            say(line)
    if cache.dataset == "3dhp":
        for line in filter(None, (short_sequences_line(cache.train), valid_frames_line(cache.test))):
            say(line)
    size = path.stat().st_size / 1e6
    say(f"wrote {path}: {size:.0f} MB in {time.monotonic() - begin:.1f} s")


def _labelled(note: str) -> str:
    return note if note.startswith("warning") else f"note: {note}"


def _name_with_cameras(usual: str, cameras: tuple[int, ...]) -> str:
    """The name for a cache of these cameras, e.g. "3dhp_gt_univ_cam0-2.h5"; `usual` where they are the default ones.

    Training takes a file with the usual name as the whole data set, and a complete one must not be replaced by a part.
    """
    if set(cameras) == set(DEFAULT_CAMERAS):
        return usual
    return f"{usual.removesuffix('.h5')}_cam{'-'.join(map(str, cameras))}.h5"
