"""The files of the official release: annot.mat (training), camera.calibration beside it, and annot_data.mat (test).

MATLAB files are v5, as the release has for training, or 7.3 (HDF5), as it has for the test set.  Either kind may have
been saved again as the other, by MATLAB, Octave or SciPy.
"""

import math
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from glagcn.data.cache import hdf5_errors
from glagcn.data.checks import as_frames
from glagcn.data.mpi_inf_3dhp.facts import NUM_ANNOTATED_JOINTS, RELEVANT_JOINTS
from glagcn.errors import UserError

MOST_FRAMES = 1_000_000  # of a sequence: 11 hours
MOST_VALUES = MOST_FRAMES * NUM_ANNOTATED_JOINTS * 3  # of a camera
MOST_CELLS = 1000
MOST_PIXELS = 1_000_000  # of a side
TEST_ARRAYS = ("annot2", "valid_frame", "activity_annotation")
TRAIN_DOWNLOAD = "expected the annot.mat of a training sequence (14 cameras)"
TEST_DOWNLOAD = (
    "expected the annot_data.mat of the test set (with valid_frame) from the separate download mpi_inf_3dhp_test_set"
)


def count_train_frames(path: Path, variable: str) -> int:
    """The number of frames of an annot.mat, from its headers.  Raises UserError for another kind of file."""
    shapes = _shapes_of(path, TRAIN_DOWNLOAD)
    missing = {"annot2", variable, "cameras", "frames"} - shapes.keys()
    if missing:
        found = ", ".join(sorted(shapes)) or "nothing"
        kind = "the file is truncated or another file; get it again"
        if "valid_frame" in shapes:
            kind = "this seems to be a test file"
        raise UserError(f"{path}: no variable {', '.join(sorted(missing))}; found {found}; {TRAIN_DOWNLOAD}; {kind}")
    return _check_frames(path, math.prod(shapes["frames"]))


def read_train_joints(path: Path, variable: str, channels: int, cameras: tuple[int, ...]) -> dict[int, np.ndarray]:
    """{camera: [rows,17,channels] float32} of one variable of an annot.mat.  Raises UserError.

    The file has one (rows, 28 * channels) matrix per camera, joint by joint, with at least one row per frame.
    """
    found_cells = _read_variable(path, variable, TRAIN_DOWNLOAD)
    cells = found_cells.ravel()
    shapes = _shapes_of(path, TRAIN_DOWNLOAD)
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


def check_numbering(path: Path, cameras: tuple[int, ...]) -> None:
    """Raise UserError unless `cameras` and `frames` of an annot.mat count from 0 and include the given cameras."""
    for variable in ("cameras", "frames"):
        numbers = _read_variable(path, variable, TRAIN_DOWNLOAD).ravel()
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


def image_sizes(path: Path, cameras: tuple[int, ...]) -> dict[int, tuple[int, int]]:
    """{camera: (width, height)} in pixels of a camera.calibration.  Raises UserError if a camera or size is missing.

    Values are split at white space, because readers of fixed columns have read 2048 as 204.
    """
    sizes: dict[int, tuple[int, int]] = {}
    camera = None
    try:
        for line in path.read_text(encoding="utf-8-sig").splitlines():
            key, *values = line.split() or [""]
            if key == "name":
                camera = int(values[0])
            elif key == "size" and camera is not None:
                sizes[camera] = (_whole(values[0]), _whole(values[1]))
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{path} is not a valid camera calibration ({error}); get it again or remove it") from error
    for camera in cameras:
        if camera not in sizes or not all(0 < side <= MOST_PIXELS for side in sizes[camera]):
            raise UserError(
                f"{path}: the image size of camera {camera} is {sizes.get(camera, 'missing')}; expected the lines "
                f"`name {camera}` and `size WIDTH HEIGHT`. Get the file again, or remove it to assume 2048 x 2048."
            )
    return sizes


def count_test_frames(path: Path, variable: str) -> int:
    """The number of frames of an annot_data.mat, from its headers.  Raises UserError for another kind of file."""
    shapes = _shapes_of(path, TEST_DOWNLOAD)
    if missing := {*TEST_ARRAYS, variable} - shapes.keys():
        found = ", ".join(sorted(shapes)) or "nothing"
        raise UserError(f"{path}: no variable {', '.join(sorted(missing))}; found {found}; {TEST_DOWNLOAD}")
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


def _whole(text: str) -> int:
    """The whole number in text such as "2048" or "2048.0"; raises ValueError for anything else."""
    if not float(text).is_integer():
        raise ValueError(f"{text} is not a whole number of pixels")
    return int(float(text))


def _shapes_of(path: Path, expected: str) -> dict[str, tuple[int, ...]]:
    """{variable: its shape, with MATLAB's order of axes}, from the headers.

    expected  what the file should be, for the message.
    Raises UserError for a file of another kind, or a damaged one.
    """

    def damaged(reason: object) -> UserError:
        return UserError(
            f"{path} is not a MATLAB file, or is truncated or damaged ({reason}); {expected}; get it again"
        )

    if h5py.is_hdf5(path):
        with hdf5_errors(damaged), h5py.File(path, "r", locking=False) as file:
            # "#refs#" has the cells.
            return {name: _dataset(file, name).shape[::-1] for name in file if not name.startswith("#")}
    try:
        return {name: tuple(shape) for name, shape, _ in scipy.io.whosmat(path)}
    except Exception as error:  # SciPy's parser can raise any exception on damaged files
        raise damaged(error) from error


def _read_variable(path: Path, name: str, expected: str) -> np.ndarray:
    """One variable, with MATLAB's order of axes; a cell array is an array of objects.  Raises UserError."""

    def damaged(reason: str) -> UserError:
        return UserError(
            f"{path}: {name} cannot be read ({reason}); {expected}. The file is truncated or damaged; get it again."
        )

    if h5py.is_hdf5(path):
        with hdf5_errors(damaged), h5py.File(path, "r", locking=False) as file:
            found = _dataset(file, name)
            return _cells(file, found) if found.dtype == h5py.ref_dtype else _values(found)
    try:
        values = scipy.io.loadmat(path, variable_names=[name])[name]
    except Exception as error:  # SciPy's parser can raise any exception on damaged files
        raise damaged(f"{type(error).__name__}: {error}") from error
    if not isinstance(values, np.ndarray):
        raise damaged(f"it is a {type(values).__name__}")
    return values


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset whose values are in this file.  Raises ValueError for anything else."""
    found = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.shape is None or found.external or found.is_virtual:
        raise ValueError(f"{name} has no values in this file")
    return found


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
        cells[place] = _values(_dataset(file, name.decode()))
    return cells
