"""From published files to a cache: what `glagcn prepare` does, and what training does when there is no cache yet."""

import time
from pathlib import Path

from glagcn.data.cache import cache_name, open_cache
from glagcn.data.cache_writer import write_cache
from glagcn.data.report import ProgressReport, Say, short_sequences_line, summary_lines, valid_frames_line
from glagcn.data.sources import Source
from glagcn.data.sources.facts_3dhp import ANNOTATION_VARIABLES, DEFAULT_CAMERAS, NUM_CAMERAS
from glagcn.data.sources.mpi_inf_3dhp import RawRelease
from glagcn.data.sources.npz_3dhp import FILE_NAMES, NpzPair
from glagcn.errors import UserError

HOW_TO_GET = """\
How to get one of them (docs/data.md):
  the official release, annotations only: https://vcai.mpi-inf.mpg.de/3dhp-dataset/
  the npz pair: linked by https://github.com/paTRICK-swk/P-STMO
To see everything work without any data: python main_sagcn_gpus.py --dataset demo"""


def find_3dhp(root: Path, annotation: str, cameras: tuple[int, ...]) -> Source:
    """MPI-INF-3DHP below `root`: the official release, else the npz pair of the annotation.

    Where both are there, the release wins and a note says so.  Raises UserError that lists what was looked for,
    what is missing from an incomplete release, how to get the data, and the demo.
    """
    _check_choices(annotation, cameras)
    raw = RawRelease(root, annotation, cameras)
    npz = NpzPair(root, annotation, None, cameras)
    if not raw.missing:
        if not npz.missing:
            raw.notes.append(f"{npz.paths['train'].name} lies there too and is not used: the official release wins")
        return raw
    if not npz.missing:
        if raw.found_any:
            npz.notes.append(f"the official release is incomplete ({len(raw.missing)} files missing) and is not used")
        return npz
    raise UserError(_nothing_found(root, annotation, raw, npz))


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
    _check_choices(annotation or "univ", cameras)
    folder = raw or npz
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; pass the folder that holds the files")
    source = _raw_source(raw, annotation or "univ", cameras) if raw else _npz_source(npz, annotation, cameras)
    usual = cache_name(source.dataset, source.keypoints, source.annotation)
    path = out or folder / _name_with_cameras(usual, cameras)
    if path.is_dir():
        raise UserError(
            f"--out {path} is a folder; pass a file name, such as {path / cache_name('3dhp', 'gt', 'univ')}"
        )
    write_and_report(path, source, say)
    if path.name == _name_with_cameras(usual, cameras) != usual:
        given = ",".join(map(str, cameras))
        say(
            f"note: the cameras {given} are not the usual ones, so this is not named {usual} and training will not "
            "find it. To train on some of the usual cameras, prepare them all and pass --cameras to training; to "
            f"train on this file, rename it to {usual} in a folder of its own and pass that folder as --cache_dir"
        )
    return path


def ensure_cache(
    dataset: str, root: Path, cache_dir: Path | None, annotation: str, keypoints: str = "gt", say: Say = print
) -> Path:
    """The cache that training needs, written from the files below `root` when it does not exist yet.

    Looks in `cache_dir`, when given, then in `root`; a new one goes to `cache_dir`, else `root`.  To be called by one
    process while the others wait.  Raises UserError when there is neither a cache nor files to make one of.
    """
    name = cache_name(dataset, keypoints, "" if dataset == "demo" else annotation)
    folders = [folder for folder in (cache_dir, root) if folder is not None]
    existing = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if existing:
        return existing
    if dataset == "demo":
        # Imported only here: the demo makes its data itself, which nothing else needs.
        from glagcn.data.demo import DemoSource

        source = DemoSource(seed=0)
    elif dataset == "3dhp" and keypoints == "gt":
        source = find_3dhp(root, annotation, DEFAULT_CAMERAS)
    else:
        raise UserError(
            f"no cache {name} in {' or '.join(map(str, folders))}, and no way to make one for "
            f"data set {dataset!r} with 2D source {keypoints!r}; expected '3dhp' or 'demo' with 'gt'"
        )
    say(f"there is no {name} yet: preparing it once, in {folders[0]}")
    write_and_report(folders[0] / name, source, say)
    return folders[0] / name


def write_and_report(path: Path, source: Source, say: Say) -> None:
    """Write the cache, then say every note, what was read, and where it is."""
    known = list(source.notes)
    for note in known:
        say(_labelled(note))
    begin = time.monotonic()
    with ProgressReport(say) as progress:
        write_cache(path, source, progress)
    for note in source.notes[len(known) :]:
        say(_labelled(note))
    cache = open_cache(path)
    cut = cache.provenance.get("cut_frames", {})
    for name in ("train", "test"):
        for line in summary_lines(getattr(cache, name), cut):
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


def _check_choices(annotation: str, cameras: tuple[int, ...]) -> None:
    if annotation not in ANNOTATION_VARIABLES:
        raise UserError(f"--annotation {annotation}: expected one of {', '.join(ANNOTATION_VARIABLES)}")
    known = set(range(NUM_CAMERAS))
    if not cameras or len(set(cameras)) != len(cameras) or not set(cameras) <= known:
        given = ",".join(map(str, cameras))
        raise UserError(f"--cameras {given}: expected different numbers from 0 to {NUM_CAMERAS - 1}, such as 0,2,4")


def _raw_source(root: Path, annotation: str, cameras: tuple[int, ...]) -> RawRelease:
    source = RawRelease(root, annotation, cameras)
    if source.missing:
        raise UserError(
            f"the official release in {root} is incomplete; missing:\n{_listed(source.missing)}\n{HOW_TO_GET}"
        )
    return source


def _npz_source(root: Path, annotation: str | None, cameras: tuple[int, ...]) -> NpzPair:
    """The pair whose names fit the annotation, else the other pair; the flag decides what it is taken to hold."""
    order = sorted(FILE_NAMES, key=lambda named: named != (annotation or "univ"))
    pairs = [NpzPair(root, named, annotation, cameras) for named in order]
    complete = next((pair for pair in pairs if not pair.missing), None)
    if complete is None:
        raise UserError(f"no npz pair in {root}; missing:\n{_listed(pairs[0].missing)}\n{HOW_TO_GET}")
    return complete


def _nothing_found(root: Path, annotation: str, raw: RawRelease, npz: NpzPair) -> str:
    lines = [
        f"no MPI-INF-3DHP ({annotation}) found below {root}. Looked for:",
        f"  the cache {cache_name('3dhp', 'gt', annotation)}",
        "  the official release: S1..S8/Seq1..Seq2/annot.mat (also in mpi_inf_3dhp/) and "
        "mpi_inf_3dhp_test_set/TS1..TS6/annot_data.mat (also in TS1..TS6/)",
    ]
    if raw.found_any:
        lines += ["    which is incomplete; missing:", _listed(raw.missing)]
    lines.append(f"  the npz pair {' and '.join(path.name for path in npz.paths.values())}")
    for named, names in FILE_NAMES.items():
        if named != annotation and all((root / name).is_file() for name in names.values()):
            lines.append(
                f"    There is {names['train']}, which holds {named} by its name: pass --annotation {named}, or if it "
                f"holds {annotation}: glagcn prepare 3dhp --npz {root} --annotation {annotation}"
            )
    return "\n".join([*lines, HOW_TO_GET])


def _listed(paths: list[Path]) -> str:
    return "\n".join(f"    {path}" for path in paths)
