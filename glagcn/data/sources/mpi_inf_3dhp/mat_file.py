"""Variables of MATLAB files: v5, as the release has for training, and 7.3 (HDF5), as it has for the test set.

Either kind may have been saved again as the other, by MATLAB, Octave or SciPy.
"""

from pathlib import Path

import h5py
import numpy as np
import scipy.io

from glagcn.data.hdf5 import member, reading
from glagcn.errors import UserError

MOST_FRAMES = 1_000_000  # of a sequence: 11 hours
MOST_VALUES = MOST_FRAMES * 28 * 3  # of a camera
MOST_CELLS = 1000


def shapes_of(path: Path, expected: str) -> dict[str, tuple[int, ...]]:
    """{variable: its shape, with MATLAB's order of axes}, from the headers.

    expected  what the file should be, for the message.
    Raises UserError for a file of another kind, or a damaged one.
    """

    def refusal(reason: object) -> UserError:
        return UserError(
            f"{path} is not a MATLAB file, or is truncated or damaged ({reason}); {expected}; get it again"
        )

    if h5py.is_hdf5(path):
        with reading(refusal), h5py.File(path, "r", locking=False) as file:
            names = [name for name in file if not name.startswith("#")]  # #refs# holds the cells
            return {name: member(file, name, h5py.Dataset).shape[::-1] for name in names}
    try:
        return {name: tuple(shape) for name, shape, _ in scipy.io.whosmat(path)}
    except Exception as error:  # SciPy's parser can raise any exception on damaged files
        raise refusal(error) from error


def read_variable(path: Path, name: str, expected: str) -> np.ndarray:
    """One variable, with MATLAB's order of axes; a cell array is an array of objects.  Raises UserError."""

    def refusal(reason: str) -> UserError:
        return UserError(
            f"{path}: {name} cannot be read ({reason}); {expected}. The file is truncated or damaged; get it again."
        )

    if h5py.is_hdf5(path):
        with reading(refusal), h5py.File(path, "r", locking=False) as file:
            found = member(file, name, h5py.Dataset)
            return _cells(file, found) if found.dtype == h5py.ref_dtype else _values(found)
    try:
        values = scipy.io.loadmat(path, variable_names=[name])[name]
    except Exception as error:  # SciPy's parser can raise any exception on damaged files
        raise refusal(f"{type(error).__name__}: {error}") from error
    if not isinstance(values, np.ndarray):
        raise UserError(f"{path}: {name} is a {type(values).__name__}; {expected}; get it again")
    return values


def _values(found: h5py.Dataset) -> np.ndarray:
    if found.size > MOST_VALUES:
        raise ValueError(f"shape {found.shape} is too large")
    return found[()].T


def _cells(file: h5py.File, found: h5py.Dataset) -> np.ndarray:
    """What the references of a cell array point to."""
    if found.size > MOST_CELLS:
        raise ValueError(f"{found.size} cells are too many")
    references = found[()].T
    cells = np.empty(references.shape, dtype=object)
    for place in np.ndindex(references.shape):
        name = h5py.h5r.get_name(references[place], file.id)  # None for a reference to nothing
        cells[place] = _values(member(file, name.decode(), h5py.Dataset))
    return cells
