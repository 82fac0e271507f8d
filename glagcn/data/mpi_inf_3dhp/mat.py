"""The files of the official release: annot.mat (training) and annot_data.mat (test).

MATLAB files are v5, as the release has for training, or 7.3 (HDF5), as it has for the test set.  Either kind may have
been saved again as the other, by MATLAB, Octave or SciPy.
"""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from glagcn.data.checks import as_frames
from glagcn.data.mpi_inf_3dhp.facts import NUM_ANNOTATED_JOINTS, NUM_CAMERAS, RELEVANT_JOINTS
from glagcn.errors import UserError

MOST_FRAMES = 1_000_000  # of a sequence: 11 hours
TEST_ARRAYS = ("annot2", "valid_frame", "activity_annotation")
TRAIN_DOWNLOAD = "expected the annot.mat of a training sequence (14 cameras)"
TEST_DOWNLOAD = (
    "expected the annot_data.mat of the test set (with valid_frame) from the separate download mpi_inf_3dhp_test_set"
)


def count_train_frames(path: Path, variable: str) -> int:
    """The number of frames of an annot.mat, from its headers.  Raises UserError for another kind of file."""
    shapes = _shapes_of(path, {"annot2", variable, "frames"}, TRAIN_DOWNLOAD)
    return _check_frames(path, math.prod(shapes["frames"]))


def read_train_joints(
    path: Path, variable: str, channels: int, cameras: tuple[int, ...], frames: int
) -> dict[int, np.ndarray]:
    """{camera: [rows,17,channels] float32} of one variable of an annot.mat.  Raises UserError.

    The file has one (rows, 28 * channels) matrix per camera, joint by joint, with at least `frames` rows.
    """
    cells = _read_variable(path, variable, TRAIN_DOWNLOAD)
    if cells.size != NUM_CAMERAS:
        raise UserError(
            f"{path}: {variable} has {cells.size} cells, shape {cells.shape}; expected one for each of the "
            f"{NUM_CAMERAS} cameras. Another layout would mix up cameras; get the file again."
        )
    joints = {}
    for camera in cameras:
        where = f"{path}: {variable} of camera {camera}"
        block = cells.flat[camera] if cells.dtype == object else None
        expected = (frames, NUM_ANNOTATED_JOINTS * channels)
        matrix = block if isinstance(block, np.ndarray) and block.ndim == 2 else np.empty((0, 0))
        if len(matrix) < frames or matrix.shape[1] != expected[1]:
            raise UserError(
                f"{where}: found {getattr(block, 'shape', ()) or 'no matrix'}, expected {expected}: one row per frame "
                f"with {NUM_ANNOTATED_JOINTS} joints. This is another joint set or a damaged file; get it again."
            )
        selected = matrix.reshape(-1, NUM_ANNOTATED_JOINTS, channels)[:, list(RELEVANT_JOINTS)]
        joints[camera] = as_frames(where, variable, selected, len(RELEVANT_JOINTS), channels)
    return joints


def count_test_frames(path: Path, variable: str) -> int:
    """The number of frames of an annot_data.mat, from its headers.  Raises UserError for another kind of file."""
    shapes = _shapes_of(path, {*TEST_ARRAYS, variable}, TEST_DOWNLOAD)
    for name, channels in (("annot2", 2), (variable, 3)):
        shape = _frames_first(shapes[name])
        if shape[1:] != (1, len(RELEVANT_JOINTS), channels):
            raise UserError(
                f"{path}: {name} has shape {shape}, frames first; expected (frames, 1, {len(RELEVANT_JOINTS)}, "
                f"{channels}). This is another joint set or another file; {TEST_DOWNLOAD}"
            )
    return _check_frames(f"{path}: annot2", _frames_first(shapes["annot2"])[0])


def read_test_arrays(path: Path, variable: str) -> dict[str, np.ndarray]:
    """annot2 [N,17,2], `variable` [N,17,3], valid_frame and activity_annotation [N,1] of a file that was counted."""
    arrays = {name: _read_variable(path, name, TEST_DOWNLOAD) for name in (*TEST_ARRAYS, variable)}
    # The person axis always has size 1.  A plain squeeze would also drop the frame axis of a file with one frame.
    return {
        name: array.T.reshape(_frames_first(array.shape))[:, 0] if name in ("annot2", variable) else array.T
        for name, array in arrays.items()
    }


def _check_frames(where: object, frames: int) -> int:
    if not 1 <= frames <= MOST_FRAMES:
        raise UserError(f"{where}: {frames} frames; expected 1 to {MOST_FRAMES}; the file is damaged, get it again")
    return frames


def _frames_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The reverse of MATLAB's shape (channels, joints, persons, frames), which ends with the last axis above 1."""
    return (1,) * (4 - len(shape)) + shape[::-1]


@contextlib.contextmanager
def _mat_errors(where: object, expected: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # h5py and SciPy's parser raise exceptions of any kind on damaged files
        raise UserError(
            f"{where} cannot be read ({type(error).__name__}: {error}); it is not a MATLAB file, or is truncated or "
            f"damaged; {expected}; get it again"
        ) from error


def _shapes_of(path: Path, needed: set[str], expected: str) -> dict[str, tuple[int, ...]]:
    """{variable: its shape, with MATLAB's order of axes}, from the headers.

    needed    variables that must be there.
    expected  what the file should be, for the message.
    Raises UserError for a file of another kind, or a damaged one.
    """
    with _mat_errors(path, expected):
        if h5py.is_hdf5(path):
            with h5py.File(path, "r", locking=False) as file:
                shapes = {name: file[name].shape[::-1] for name in file if not name.startswith("#")}  # "#refs#": cells
        else:
            shapes = {name: tuple(shape) for name, shape, _ in scipy.io.whosmat(path)}
    if missing := needed - shapes.keys():
        found = ", ".join(sorted(shapes)) or "nothing"
        raise UserError(
            f"{path}: no variable {', '.join(sorted(missing))}; found {found:.200}; {expected}; get it again"
        )
    return shapes


def _read_variable(path: Path, name: str, expected: str) -> np.ndarray:
    """One variable, with MATLAB's order of axes; a cell array is an array of objects.  Raises UserError."""
    with _mat_errors(f"{path}: {name}", expected):
        if not h5py.is_hdf5(path):
            return np.asarray(scipy.io.loadmat(path, variable_names=[name])[name])
        with h5py.File(path, "r", locking=False) as file:
            values = file[name][()].T
            if values.dtype != h5py.ref_dtype:
                return values
            cells = np.empty(values.shape, dtype=object)
            for place in np.ndindex(values.shape):
                cells[place] = file[values[place]][()].T
            return cells
