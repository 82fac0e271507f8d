"""Find the files of MPI-INF-3DHP in a folder, with error messages for missing ones."""

from pathlib import Path

from glagcn.data.cache.reader import cache_name
from glagcn.data.sources.mpi_inf_3dhp.facts import ANNOTATION_VARIABLES, NUM_CAMERAS, SUBJECTS
from glagcn.data.sources.mpi_inf_3dhp.npz import FILE_NAMES, NpzPair
from glagcn.data.sources.mpi_inf_3dhp.release import RawRelease
from glagcn.data.sources.source import DEMO_HINT, Source
from glagcn.errors import UserError

HOW_TO_GET = f"""\
How to get the data (docs/data.md):
  the official release, annotations only: https://vcai.mpi-inf.mpg.de/3dhp-dataset/
  the npz pair: linked by https://github.com/paTRICK-swk/P-STMO
{DEMO_HINT}"""
PART_HINT = "To train on a part of it, say which subjects: glagcn prepare 3dhp --raw DIR --subjects S1,S2\n"


def find_3dhp(root: Path, annotation: str, cameras: tuple[int, ...]) -> Source:
    """The source for MPI-INF-3DHP below `root`: the official release, else the npz pair of the annotation.

    If both exist, the release is used, with a note.  Raises UserError that lists the files looked for, the missing
    files of an incomplete release, how to get the data, and the demo.
    """
    check_choices(annotation, cameras)
    raw = RawRelease(root, annotation, cameras)
    npz = NpzPair(root, annotation, None, cameras)
    if not raw.missing:
        if not npz.missing:
            raw.notes.append(f"{npz.paths['train'].name} is not used, because the official release exists too")
        return raw
    if not npz.missing:
        if raw.found_any:
            npz.notes.append(f"the official release is not used, because {len(raw.missing)} of its files are missing")
        return npz
    raise UserError(_nothing_found(root, annotation, raw, npz))


def release_in(
    root: Path, annotation: str, cameras: tuple[int, ...], subjects: tuple[str, ...] | None = None
) -> RawRelease:
    """The official release in `root`, or a part of its training subjects.

    Raises UserError for unknown subjects, or one that lists the missing files.
    """
    if unknown := sorted(set(subjects or ()) - set(SUBJECTS)):
        raise UserError(f"invalid --subjects {','.join(unknown)}: must be some of {','.join(SUBJECTS)}")
    source = RawRelease(root, annotation, cameras, subjects)
    if source.missing:
        whole = "" if subjects else PART_HINT
        raise UserError(
            f"the official release in {root} is incomplete; missing:\n{_listed(source.missing)}\n{whole}{HOW_TO_GET}"
        )
    return source


def pair_in(root: Path, annotation: str | None, cameras: tuple[int, ...]) -> NpzPair:
    """The npz pair in `root`: the one named after `annotation` (None: "univ"), else the other.

    A given annotation overrides the one that the file names imply.  Raises UserError if neither pair is complete.
    """
    order = sorted(FILE_NAMES, key=lambda named: named != (annotation or "univ"))
    pairs = [NpzPair(root, named, annotation, cameras) for named in order]
    complete = next((pair for pair in pairs if not pair.missing), None)
    if complete is None:
        raise UserError(f"no npz pair in {root}; missing:\n{_listed(pairs[0].missing)}\n{HOW_TO_GET}")
    return complete


def check_choices(annotation: str, cameras: tuple[int, ...]) -> None:
    """Raise UserError for an unknown annotation or unknown cameras of MPI-INF-3DHP."""
    if annotation not in ANNOTATION_VARIABLES:
        raise UserError(f"invalid --annotation {annotation}: must be one of {', '.join(ANNOTATION_VARIABLES)}")
    known = set(range(NUM_CAMERAS))
    if not cameras or len(set(cameras)) != len(cameras) or not set(cameras) <= known:
        given = ",".join(map(str, cameras))
        raise UserError(
            f"invalid --cameras {given}: must be different numbers from 0 to {NUM_CAMERAS - 1}, such as 0,2,4"
        )


def _nothing_found(root: Path, annotation: str, raw: RawRelease, npz: NpzPair) -> str:
    lines = [
        f"no MPI-INF-3DHP ({annotation}) found below {root}. Looked for:",
        f"  the cache {cache_name('3dhp', 'gt', annotation)}",
        "  the official release: S1..S8/Seq1..Seq2/annot.mat (also in mpi_inf_3dhp/) and "
        "mpi_inf_3dhp_test_set/TS1..TS6/annot_data.mat (also in TS1..TS6/)",
    ]
    if raw.found_any:
        lines += ["    It is incomplete; missing:", _listed(raw.missing), PART_HINT.rstrip()]
    lines.append(f"  the npz pair {' and '.join(path.name for path in npz.paths.values())}")
    for named, names in FILE_NAMES.items():
        if named != annotation and all((root / name).is_file() for name in names.values()):
            lines.append(
                f"    {names['train']} exists; its name implies the annotation {named}. Pass --annotation {named}, or, "
                f"if it contains {annotation}, run: glagcn prepare 3dhp --npz {root} --annotation {annotation}"
            )
    return "\n".join([*lines, HOW_TO_GET])


def _listed(paths: list[Path]) -> str:
    return "\n".join(f"    {path}" for path in paths)
