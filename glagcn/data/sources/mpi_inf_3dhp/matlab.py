"""Read and check the MATLAB files of MPI-INF-3DHP: annot.mat (training) and annot_data.mat (test)."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from glagcn.data.hdf5 import member, reading
from glagcn.data.sources.checks import as_frames
from glagcn.data.sources.mpi_inf_3dhp.facts import NUM_ANNOTATED_JOINTS, RELEVANT_JOINTS
from glagcn.errors import UserError

MOST_FRAMES = 1_000_000  # of a sequence: 11 hours
TEST_ARRAYS = ("annot2", "valid_frame", "activity_annotation")
TRAIN_DOWNLOAD = "expected the annot.mat of a training sequence (MATLAB v5, 14 cameras)"
TEST_DOWNLOAD = (
    "expected the annot_data.mat of the test set (MATLAB 7.3, with valid_frame) from the separate download "
    "mpi_inf_3dhp_test_set"
)


def count_train_frames(path: Path, variable: str) -> int:
    """The number of frames of an annot.mat, from its headers.  Raises UserError for another kind of file."""
    shapes = _train_shapes(path)
    missing = {"annot2", variable, "cameras", "frames"} - shapes.keys()
    if missing:
        found = ", ".join(sorted(shapes)) or "nothing"
        kind = (
            "this seems to be a test file"
            if "valid_frame" in shapes
            else "the file is truncated or another file; get it again"
        )
        raise UserError(f"{path}: no variable {', '.join(sorted(missing))}; found {found}; {TRAIN_DOWNLOAD}; {kind}")
    frames = math.prod(shapes["frames"])
    if not 1 <= frames <= MOST_FRAMES:
        raise UserError(f"{path}: {frames} frames; expected 1 to {MOST_FRAMES}; the file is damaged, get it again")
    return frames


def check_numbering(path: Path, cameras: tuple[int, ...]) -> None:
    """Raise UserError unless `cameras` and `frames` of an annot.mat count from 0 and include the given cameras."""
    for variable in ("cameras", "frames"):
        numbers = _load(path, variable).ravel()
        if numbers.dtype.kind not in "iuf" or not np.array_equal(numbers, np.arange(len(numbers))):
            raise UserError(
                f"{path}: {variable} does not count 0, 1, 2, ...: found {numbers[:16].tolist()}; "
                "another numbering would mix up cameras or frames. Get the file again."
            )
        if variable == "cameras" and len(numbers) <= max(cameras):
            raise UserError(
                f"{path}: has {len(numbers)} cameras instead of 14, so camera {max(cameras)} is missing. "
                f"Get the file again, or select from 0..{len(numbers) - 1} with --cameras."
            )


def read_train_joints(path: Path, variable: str, channels: int, cameras: tuple[int, ...]) -> dict[int, np.ndarray]:
    """{camera: [rows,17,channels] float32} of one variable of an annot.mat.  Raises UserError.

    The file has one (rows, 28 * channels) matrix per camera, joint by joint, with at least one row per frame.
    """
    found_cells = _load(path, variable)
    cells = found_cells.ravel()
    shapes = _train_shapes(path)
    frames, expected_cells = (math.prod(shapes[name]) for name in ("frames", "cameras"))
    if len(cells) != expected_cells:
        raise UserError(
            f"{path}: {variable} has {len(cells)} cells, shape {found_cells.shape}; expected one for each of the "
            f"{expected_cells} cameras. Another layout would mix up cameras; get the file again."
        )
    joints = {}
    for camera in cameras:
        where = f"{path}: {variable} of camera {camera}"
        block = cells[camera] if cells.dtype == object else None
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
    with _open_test(path, variable) as file:
        return len(_test_array(path, file, "annot2", 2))


def read_test_arrays(path: Path, variable: str) -> dict[str, np.ndarray]:
    """annot2 [N,17,2], `variable` [N,17,3], valid_frame and activity_annotation [N] of an annot_data.mat, float64."""
    channels = {"annot2": 2, variable: 3, "valid_frame": None, "activity_annotation": None}
    with _open_test(path, variable) as file:
        arrays = {name: _test_array(path, file, name, count)[()] for name, count in channels.items()}
    # The person axis always has size 1.  A plain squeeze would also drop the frame axis of a file with one frame.
    return {name: array[:, 0] if name in ("annot2", variable) else array for name, array in arrays.items()}


def _train_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        return {name: shape for name, shape, _ in scipy.io.whosmat(path)}
    except NotImplementedError as error:
        raise UserError(
            f"{path} is a MATLAB 7.3 file, like the files of the test set; {TRAIN_DOWNLOAD}. Is this a test file?"
        ) from error
    except Exception as error:  # SciPy's parser can raise any exception on damaged files
        raise UserError(
            f"{path} is not a MATLAB file or is truncated ({error}); {TRAIN_DOWNLOAD}; get it again"
        ) from error


def _load(path: Path, variable: str) -> np.ndarray:
    try:
        found = scipy.io.loadmat(path, variable_names=[variable])[variable]
    except Exception as error:  # SciPy's parser can raise any exception on damaged files
        raise UserError(
            f"{path}: {variable} cannot be read ({type(error).__name__}: {error}); expected a complete annot.mat. "
            "The file is truncated or damaged; get it again."
        ) from error
    if not isinstance(found, np.ndarray):
        raise UserError(f"{path}: {variable} is a {type(found).__name__}; {TRAIN_DOWNLOAD}; get it again")
    return found


@contextlib.contextmanager
def _open_test(path: Path, variable: str) -> Iterator[h5py.File]:
    """An open annot_data.mat with all its variables.  Raises UserError for whatever goes wrong in the block."""

    def refusal(reason: str) -> UserError:
        kind = "is truncated or damaged" if h5py.is_hdf5(path) else "is not HDF5"
        if _is_matlab_5(path):
            kind = "is a MATLAB v5 file without valid_frame, like the files of the training set"
        return UserError(f"{path} {kind} ({reason}); {TEST_DOWNLOAD}; get it again")

    with reading(refusal), h5py.File(path, "r", locking=False) as file:
        missing = {*TEST_ARRAYS, variable} - file.keys()
        if missing:
            found = ", ".join(sorted(file)[:20])
            raise UserError(f"{path}: no variable {', '.join(sorted(missing))}; found {found}; {TEST_DOWNLOAD}")
        yield file


def _is_matlab_5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(10) == b"MATLAB 5.0"
    except OSError:
        return False


def _test_array(path: Path, file: h5py.File, variable: str, channels: int | None) -> h5py.Dataset:
    """The variable, not read yet, and small enough to be; channels None: one value for each frame."""
    found = member(file, variable, h5py.Dataset)
    tail = None if channels is None else (1, len(RELEVANT_JOINTS), channels)
    if tail is not None and found.shape[1:] != tail:
        raise UserError(
            f"{path}: {variable} has shape {found.shape} in HDF5; expected (frames, 1, {len(RELEVANT_JOINTS)}, "
            f"{channels}). This is another joint set or another file; {TEST_DOWNLOAD}"
        )
    if found.size > MOST_FRAMES * math.prod(tail or ()):
        raise UserError(f"{path}: {variable} has shape {found.shape}; expected at most {MOST_FRAMES} frames")
    return found
