"""The writer of each file suffix.  A new format is a function and a line of WRITERS."""

from collections.abc import Callable, Sequence
from pathlib import Path

from glagcn.errors import UserError
from glagcn.lifting.person import LiftedPerson
from glagcn.lifting.writers.bvh import write_bvh
from glagcn.lifting.writers.csv_file import write_csv
from glagcn.lifting.writers.json_file import write_json
from glagcn.lifting.writers.npz import write_npz

# A writer takes the path and the people, and returns the paths of the files that it wrote.
WRITERS: dict[str, Callable[[Path, Sequence[LiftedPerson]], list[Path]]] = {
    ".npz": write_npz,
    ".json": write_json,
    ".csv": write_csv,
    ".bvh": write_bvh,
}


def write_people(path: Path, people: Sequence[LiftedPerson]) -> list[Path]:
    """Write the people of a video in the format of the suffix of `path`; returns the paths written.

    Each file is written atomically.  Raises UserError if there are no people or a file cannot be written, ValueError if
    the people differ in skeleton, fps, image size or axes.
    """
    if not people:
        raise UserError(f"nothing to write to {path}: no person was lifted")
    if len({(p.skeleton.name, p.fps, p.image_size, p.axes) for p in people}) > 1:
        raise ValueError("the people of one file must have the same skeleton, fps, image size and axes")
    return WRITERS[path.suffix.lower()](path, people)
