"""Read and check the MATLAB files of MPI-INF-3DHP: annot.mat (training) and annot_data.mat (test)."""

from pathlib import Path

import h5py
import numpy as np
import scipy.io

from glagcn.data.sources.checks import as_frames
from glagcn.data.sources.mpi_inf_3dhp.facts import NUM_ANNOTATED_JOINTS, RELEVANT_JOINTS
from glagcn.errors import UserError

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
    return int(np.prod(shapes["frames"]))


def check_numbering(path: Path, cameras: tuple[int, ...]) -> None:
    """Raise UserError unless `cameras` and `frames` of an annot.mat count from 0 and include the given cameras."""
    for variable in ("cameras", "frames"):
        numbers = _load(path, variable).ravel()
        if not np.array_equal(numbers, np.arange(len(numbers))):
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
    frames, expected_cells = (int(np.prod(shapes[name])) for name in ("frames", "cameras"))
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
        return _test_shape(path, file, "annot2", 2)[0]


def read_test_arrays(path: Path, variable: str) -> dict[str, np.ndarray]:
    """annot2 [N,17,2], `variable` [N,17,3], valid_frame and activity_annotation [N] of an annot_data.mat, float64."""
    with _open_test(path, variable) as file:
        _test_shape(path, file, "annot2", 2)
        _test_shape(path, file, variable, 3)
        try:
            arrays = {name: file[name][()] for name in (*TEST_ARRAYS, variable)}
        except (OSError, TypeError) as error:
            raise UserError(f"{path} is damaged: {error}; get it again") from error
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
        return scipy.io.loadmat(path, variable_names=[variable])[variable]
    except Exception as error:  # SciPy's parser can raise any exception on damaged files
        raise UserError(
            f"{path}: {variable} cannot be read ({type(error).__name__}: {error}); expected a complete annot.mat. "
            "The file is truncated or damaged; get it again."
        ) from error


def _open_test(path: Path, variable: str) -> h5py.File:
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        kind = "is truncated or damaged" if h5py.is_hdf5(path) else "is not HDF5"
        if _is_matlab_5(path):
            kind = "is a MATLAB v5 file without valid_frame, like the files of the training set"
        raise UserError(f"{path} {kind} ({error}); {TEST_DOWNLOAD}; get it again") from error
    missing = {*TEST_ARRAYS, variable} - file.keys()
    if missing:
        found = ", ".join(sorted(file))
        file.close()
        raise UserError(f"{path}: no variable {', '.join(sorted(missing))}; found {found}; {TEST_DOWNLOAD}")
    return file


def _is_matlab_5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(10) == b"MATLAB 5.0"
    except OSError:
        return False


def _test_shape(path: Path, file: h5py.File, variable: str, channels: int) -> tuple[int, ...]:
    shape = getattr(file[variable], "shape", ())
    if len(shape) != 4 or shape[1:] != (1, len(RELEVANT_JOINTS), channels):
        raise UserError(
            f"{path}: {variable} has shape {shape} in HDF5; expected (frames, 1, {len(RELEVANT_JOINTS)}, {channels}). "
            f"This is another joint set or another file; {TEST_DOWNLOAD}"
        )
    return shape
