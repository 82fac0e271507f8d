"""Small files in the published formats of MPI-INF-3DHP, for tests: the official layout and the npz pair.

One seed gives the same poses in both, so that either way of reading them must give the same arrays.
"""

from pathlib import Path

import h5py
import numpy as np
from scipy.io import savemat

TRAIN_NAMES = [f"S{s}/Seq{q}" for s in range(1, 9) for q in (1, 2)]
TEST_NAMES = [f"TS{t}" for t in range(1, 7)]
FPS = dict.fromkeys(TRAIN_NAMES, 25) | dict.fromkeys(("S1/Seq2", "S3/Seq1", "S3/Seq2", "S5/Seq1", "S5/Seq2"), 50)
SELECTED = [7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6]
PELVIS = 4
SCALE = 1.1


def view(rng: np.random.Generator, frames: int, size: tuple[int, int] = (2048, 2048)) -> dict[str, np.ndarray]:
    """annot2 [T,28,2], annot3 and univ_annot3 [T,28,3] of one camera: a stiff body that wanders and turns."""
    pelvis = np.array([0, 0, 3500]) + rng.normal(0, 20, (frames, 1, 3)).cumsum(axis=0)
    body = rng.uniform(-600, 600, (1, 28, 3)) + rng.normal(0, 15, (frames, 28, 3))
    body[:, PELVIS] = 0
    annot3 = pelvis + body
    focal, centre = np.array([1500.0, 1490.0]) * size[0] / 2048, np.array(size) / 2
    annot2 = annot3[..., :2] / annot3[..., 2:] * focal + centre
    return {"annot2": annot2, "annot3": annot3, "univ_annot3": pelvis + body / SCALE}


def take(name: str, frames: int, seed: int) -> list[dict[str, np.ndarray]]:
    """The 14 views of a training sequence."""
    rng = np.random.default_rng([seed, TRAIN_NAMES.index(name)])
    return [view(rng, frames) for _ in range(14)]


def scene(name: str, frames: int, seed: int) -> dict[str, np.ndarray]:
    """The arrays of a test sequence: [T,17,2|3], valid_frame and activity_annotation [T]."""
    rng = np.random.default_rng([seed, 100 + TEST_NAMES.index(name)])
    poses = view(rng, frames, (1920, 1080) if name in ("TS5", "TS6") else (2048, 2048))
    arrays = {key: values[:, SELECTED] for key, values in poses.items()}
    valid = (rng.random(frames) < 0.6).astype(float)
    valid[0] = 1
    return arrays | {"valid_frame": valid, "activity_annotation": rng.integers(1, 8, frames).astype(float)}


def write_train_mat(path: Path, views: list[dict[str, np.ndarray]], **changes: object) -> None:
    """An annot.mat; `changes` replace variables, or leave them out where None."""
    variables: dict[str, object] = {}
    for key in ("annot2", "annot3", "univ_annot3"):
        cells = np.empty((len(views), 1), dtype=object)
        for camera, arrays in enumerate(views):
            cells[camera, 0] = arrays[key].reshape(len(arrays[key]), -1)
        variables[key] = cells
    variables["cameras"] = np.arange(len(views), dtype=np.uint8)[None]
    variables["frames"] = np.arange(len(views[0]["annot2"]), dtype=np.int32)[:, None]
    variables = {key: value for key, value in (variables | changes).items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, variables, do_compression=True)


def write_test_mat(path: Path, arrays: dict[str, np.ndarray], **changes: object) -> None:
    """An annot_data.mat, in the reversed dimensions that HDF5 shows; `changes` as in write_train_mat."""
    variables = {key: value for key, value in (arrays | changes).items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, values in variables.items():
            file[key] = np.asarray(values, np.float64)[:, None]


def write_release(folder: Path, frames: int = 40, seed: int = 0) -> Path:
    """The official release with `frames` frames in every sequence; returns `folder`."""
    for name in TRAIN_NAMES:
        write_train_mat(folder / name / "annot.mat", take(name, frames, seed))
    for name in TEST_NAMES:
        write_test_mat(folder / "mpi_inf_3dhp_test_set" / name / "annot_data.mat", scene(name, frames, seed))
    return folder


def npz_content(frames: int = 40, seed: int = 0, annotation: str = "univ_annot3") -> tuple[dict, dict]:
    """What the train and the test npz hold, with the poses of `write_release`."""
    train = {}
    for name in TRAIN_NAMES:
        views = {
            str(camera): {"data_2d": arrays["annot2"][:, SELECTED], "data_3d": arrays[annotation][:, SELECTED]}
            for camera, arrays in enumerate(take(name, frames, seed))
            if camera in (0, 1, 2, 4, 5, 6, 7, 8)
        }
        train[name.replace("/", " ")] = [views, FPS[name]]
    test = {}
    for name in TEST_NAMES:
        arrays = scene(name, frames, seed)
        test[name] = {"data_2d": arrays["annot2"], "data_3d": arrays[annotation], "valid": arrays["valid_frame"]}
    return train, test


def save_npz(path: Path, content: object) -> None:
    """One npz with the key `data`, as numpy pickles it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, data=np.array(content, dtype=object))


def write_npz(folder: Path, frames: int = 40, seed: int = 0, annotation: str = "univ_annot3", suffix: str = "") -> Path:
    """The pair data_{train,test}_3dhp{suffix}.npz (D3DP: annotation "annot3", suffix "_ori"); returns `folder`."""
    train, test = npz_content(frames, seed, annotation)
    save_npz(folder / f"data_train_3dhp{suffix}.npz", train)
    save_npz(folder / f"data_test_3dhp{suffix}.npz", test)
    return folder
