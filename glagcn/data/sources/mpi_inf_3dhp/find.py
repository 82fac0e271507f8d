"""Which files of MPI-INF-3DHP are in a folder, and what to say where they are not."""

from pathlib import Path

from glagcn.data.cache.reader import cache_name
from glagcn.data.sources.mpi_inf_3dhp.facts import ANNOTATION_VARIABLES, NUM_CAMERAS
from glagcn.data.sources.mpi_inf_3dhp.npz import FILE_NAMES, NpzPair
from glagcn.data.sources.mpi_inf_3dhp.release import RawRelease
from glagcn.data.sources.source import DEMO_HINT, Source
from glagcn.errors import UserError

HOW_TO_GET = f"""\
How to get one of them (docs/data.md):
  the official release, annotations only: https://vcai.mpi-inf.mpg.de/3dhp-dataset/
  the npz pair: linked by https://github.com/paTRICK-swk/P-STMO
{DEMO_HINT}"""


def find_3dhp(root: Path, annotation: str, cameras: tuple[int, ...]) -> Source:
    """MPI-INF-3DHP below `root`: the official release, else the npz pair of the annotation.

    Where both are there, the release wins and a note says so.  Raises UserError that lists what was looked for,
    what is missing from an incomplete release, how to get the data, and the demo.
    """
    check_choices(annotation, cameras)
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


def release_in(root: Path, annotation: str, cameras: tuple[int, ...]) -> RawRelease:
    """The official release in `root`.  Raises UserError that lists the missing files."""
    source = RawRelease(root, annotation, cameras)
    if source.missing:
        raise UserError(
            f"the official release in {root} is incomplete; missing:\n{_listed(source.missing)}\n{HOW_TO_GET}"
        )
    return source


def pair_in(root: Path, annotation: str | None, cameras: tuple[int, ...]) -> NpzPair:
    """The pair whose names fit the annotation, else the other pair; the flag decides what it is taken to hold.

    Raises UserError where neither is complete.
    """
    order = sorted(FILE_NAMES, key=lambda named: named != (annotation or "univ"))
    pairs = [NpzPair(root, named, annotation, cameras) for named in order]
    complete = next((pair for pair in pairs if not pair.missing), None)
    if complete is None:
        raise UserError(f"no npz pair in {root}; missing:\n{_listed(pairs[0].missing)}\n{HOW_TO_GET}")
    return complete


def check_choices(annotation: str, cameras: tuple[int, ...]) -> None:
    """Raise UserError for an annotation or cameras of MPI-INF-3DHP that do not exist."""
    if annotation not in ANNOTATION_VARIABLES:
        raise UserError(f"--annotation {annotation}: expected one of {', '.join(ANNOTATION_VARIABLES)}")
    known = set(range(NUM_CAMERAS))
    if not cameras or len(set(cameras)) != len(cameras) or not set(cameras) <= known:
        given = ",".join(map(str, cameras))
        raise UserError(f"--cameras {given}: expected different numbers from 0 to {NUM_CAMERAS - 1}, such as 0,2,4")


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
