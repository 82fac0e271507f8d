"""MPI-INF-3DHP as the npz pair that P-STMO's converter writes (univ_annot3), or D3DP's `_ori` pair (annot3)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.data.checks import as_frames, as_valid, check_poses, checked_frames, unscored_note
from glagcn.data.dataset import Sequence, SequenceInfo, SplitName, file_record
from glagcn.data.mpi_inf_3dhp.dataset import (
    TEST_FPS,
    TEST_IMAGE_SIZES,
    TEST_SEQUENCES,
    TRAIN_IMAGE_SIZE,
    TRAIN_SEQUENCES,
)
from glagcn.errors import UserError
from glagcn.safe_pickle import load_object
from glagcn.skeletons import get_skeleton

# ---- Recognise the 3D annotation of MPI-INF-3DHP, annot3 or univ_annot3, by its reprojection error.


# The 2D and 3D of hips and spine are not exactly the same points; the other joints of annot3 reproject within 0.01 px.
INEXACT_JOINTS = (8, 11, 15)
# Joints above the waist, where annot3 and univ_annot3 differ only in scale.
COMPARED_JOINTS = (0, 1, 2, 3, 4, 5, 6, 7, 16)
EXACT_PX, INEXACT_PX = 0.1, 0.5
MIN_DEPTH_MM = 100.0


def projection_error(pixels: np.ndarray, millimetres: np.ndarray) -> float | None:
    """Mean reprojection error in pixels of the best pinhole, for pixels [T,17,2] and camera-space millimetres [T,17,3].

    The pinhole is the least-squares solution over all frames of u Z = fx X + cx Z and v Z = fy Y + cy Z, as in mmpose,
    margipose and HDFormer.  None if a joint has a depth below 10 cm: such poses are root-relative and do not project.
    """
    if millimetres[:, :, 2].min() < MIN_DEPTH_MM:
        return None
    fitted = np.setdiff1d(np.arange(17), INEXACT_JOINTS)
    depth = millimetres[..., 2].astype(np.float64)
    residuals = []
    for axis in (0, 1):
        design = np.stack([millimetres[:, fitted, axis], depth[:, fitted]], axis=-1).reshape(-1, 2)
        target = (pixels[:, fitted, axis] * depth[:, fitted]).ravel()
        focal, centre = np.linalg.lstsq(design, target, rcond=None)[0]
        projected = focal * millimetres[:, COMPARED_JOINTS, axis] / depth[:, COMPARED_JOINTS] + centre
        residuals.append(projected - pixels[:, COMPARED_JOINTS, axis])
    return float(np.hypot(*residuals).mean())


def guess_annotation(pixels: np.ndarray, millimetres: np.ndarray) -> tuple[str | None, float | None]:
    """("annot3" | "univ" | None if unclear, reprojection error in pixels) of one sequence."""
    error = projection_error(pixels, millimetres)
    if error is None or EXACT_PX <= error <= INEXACT_PX:
        return None, error
    return ("annot3" if error < EXACT_PX else "univ"), error


def annotation_warning(name: str, annotation: str, pixels: np.ndarray, millimetres: np.ndarray) -> str | None:
    """A warning if the poses of sequence `name` look like the other annotation, else None."""
    guess, error = guess_annotation(pixels, millimetres)
    if guess is None or guess == annotation:
        return None
    return (
        f"warning: {name} was read as {annotation}, but its reprojection error of {error:.3g} px is typical of "
        f"{guess}; if the files contain {guess}, pass --annotation {guess}"
    )


# ---- MPI-INF-3DHP as the npz pair that P-STMO's converter writes (univ_annot3), or D3DP's `_ori` pair (annot3).


# Only the file name of an npz tells which annotation it contains.
FILE_NAMES = {
    "univ": {"train": "data_train_3dhp.npz", "test": "data_test_3dhp.npz"},
    "annot3": {"train": "data_train_3dhp_ori.npz", "test": "data_test_3dhp_ori.npz"},
}
FILE_HINT = "expected an npz with the key 'data', as P-STMO's converter writes it"
KEYS = {"train": "'S1 Seq1' to 'S8 Seq2'", "test": "'TS1' to 'TS6'"}


class NpzPair:
    """The Source of a train and a test npz in one folder.

    named       which pair of FILE_NAMES to read.
    annotation  the annotation that the files contain; None: `named`.

    An npz is one pickled dict, so the whole split is loaded into memory (0.7 GB for train).
    """

    dataset, keypoints, skeleton = "3dhp", "gt", "mpi3dhp17"

    def __init__(self, root: Path, named: str, annotation: str | None, cameras: tuple[int, ...]) -> None:
        self.root, self.annotation, self.cameras = root, annotation or named, cameras
        self.paths: dict[str, Path] = {split: root / name for split, name in FILE_NAMES[named].items()}
        name = self.paths["train"].name
        self.notes = [
            f"the npz does not state its annotation: {name} is read as {self.annotation}"
            + (", from --annotation" if annotation else ", from its name; --annotation overrides this"),
            "the npz has no activities, so there is no activity table",
            "the npz has no image sizes: 2048 x 2048 assumed, 1920 x 1080 for TS5 and TS6",
        ]
        if annotation and annotation != named:
            self.notes.insert(1, f"warning: files named {name} usually contain {named}, not {annotation}")
        self.cut_frames: dict[str, int] = {}
        self._records: dict[str, dict] = {}
        self._content: dict[str, dict[str, dict]] = {}

    @property
    def missing(self) -> list[Path]:
        """The files of the pair that do not exist."""
        return [path for path in self.paths.values() if not path.is_file()]

    def infos(self, split: SplitName) -> list[SequenceInfo]:
        """See Source.  Loads the whole file of the split."""
        if split not in self._content:
            self._content[split] = self._load(split)
        return [self._info(split, name, entry) for name, entry in self._content[split].items()]

    def read(self, split: SplitName) -> Iterator[Sequence]:
        """See Source.  Frees the memory of each sequence after it is read."""
        infos = self.infos(split)
        content = self._content.pop(split)
        for info in infos:
            yield self._sequence(split, info, content.pop(info.name))

    def provenance(self) -> dict:
        """See Source."""
        return {
            "kind": "npz",
            "root": str(self.root.resolve()),
            "annotation": self.annotation,
            "cameras": list(self.cameras),
            "cut_frames": self.cut_frames,
            "files": list(self._records.values()),
        }

    def _load(self, split: SplitName) -> dict[str, dict]:
        path = self.paths[split]
        self._records[split] = file_record(path, self.root)
        content: Any = load_object(path, "data", FILE_HINT)
        expected = [name.replace("/", " ") for name in TRAIN_SEQUENCES] if split == "train" else list(TEST_SEQUENCES)
        _check_keys(path, split, content, expected)
        if split == "test":
            return {
                name: _fields(f"{path}: {name}", content[name], ("data_2d", "data_3d", "valid")) for name in expected
            }
        entries = {}
        for key in expected:
            name = key.replace(" ", "/")
            views = self._views(f"{path}: {key}", content.pop(key), TRAIN_SEQUENCES[name][1])
            for camera in self.cameras:
                where = f"{path}: {key} camera {camera}"
                entries[f"{name}/cam{camera}"] = _fields(where, views.get(str(camera)), ("data_2d", "data_3d"))
        return entries

    def _views(self, where: str, value: object, official_fps: int) -> dict:
        """The {"0": ..., "1": ...} of one sequence, from [cameras, fps]."""
        if not isinstance(value, list | tuple | np.ndarray) or len(value) != 2 or not isinstance(value[0], dict):
            raise UserError(
                f"{where}: expected the list [cameras, fps], found {_kind(value)}; this is not a 3DHP npz of P-STMO"
            )
        if not np.array_equal(value[1], official_fps):
            self.notes.append(f"warning: {where}: {value[1]} fps in the file; using the official {official_fps} fps")
        views = {str(camera): view for camera, view in value[0].items()}  # the keys of some copies are numbers
        missing = [camera for camera in self.cameras if str(camera) not in views]
        if missing:
            raise UserError(
                f"{where}: no camera {', '.join(map(str, missing))}; found {', '.join(views)}. "
                "Select from these with --cameras."
            )
        return views

    def _info(self, split: SplitName, name: str, entry: dict) -> SequenceInfo:
        frames = len(entry["data_2d"])
        if split == "test":
            return SequenceInfo(name, name, -1, frames, TEST_FPS, *TEST_IMAGE_SIZES[name])
        sequence, _, camera = name.rpartition("/cam")
        official, fps = TRAIN_SEQUENCES[sequence]
        if frames > official:
            self.cut_frames[sequence] = frames - official
        subject = sequence.partition("/")[0]
        return SequenceInfo(name, subject, int(camera), min(frames, official), float(fps), *TRAIN_IMAGE_SIZE)

    def _sequence(self, split: SplitName, info: SequenceInfo, entry: dict) -> Sequence:
        where = f"{self.paths[split]}: {info.name}"
        pixels = as_frames(where, "data_2d", entry["data_2d"], 17, 2)
        millimetres = as_frames(where, "data_3d", entry["data_3d"], 17, 3)
        test = split == "test"
        valid = as_valid(where, entry["valid"], len(pixels)) if test else np.ones(len(pixels), dtype=bool)
        root, size = get_skeleton(self.skeleton).root, (info.width, info.height)
        check_poses(where, pixels, millimetres, root, valid, size)
        if info.name in ("TS5", "TS6"):
            checked = checked_frames(valid)
            self._note(annotation_warning(info.name, self.annotation, pixels[checked], millimetres[checked]))
        self._note(unscored_note(info.name, millimetres))
        return Sequence(info, pixels[: info.length], millimetres[: info.length], valid[: info.length])

    def _note(self, note: str | None) -> None:
        if note and note not in self.notes:
            self.notes.append(note)


def _check_keys(path: Path, split: SplitName, content: object, expected: list[str]) -> None:
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a dict of sequences {KEYS[split]}, found {_kind(content)}")
    found = [str(key) for key in content]
    if not found:
        raise UserError(
            f"{path} has no sequences; expected {KEYS[split]}. On Linux, converters with Windows paths write such "
            "files. Get another copy, or use the official release with --raw."
        )
    other, pattern = ("test", r"TS\d+") if split == "train" else ("train", r"S\d+ Seq\d+")
    if all(re.fullmatch(pattern, key) for key in found):
        raise UserError(
            f"{path} has {other} sequences ({', '.join(found[:3])}, ...) instead of {KEYS[split]}; "
            "the train and the test file are swapped"
        )
    missing = [key for key in expected if key not in content]
    unknown = [key for key in found if key not in expected]
    if missing or unknown:
        raise UserError(
            f"{path}: expected the sequences {KEYS[split]}; missing: {', '.join(missing) or 'none'}; "
            f"unknown: {', '.join(unknown[:8]) or 'none'}. Get a complete file."
        )


def _fields(where: str, entry: object, names: tuple[str, ...]) -> dict:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: expected a dict with {', '.join(names)}, found {_kind(entry)}")
    missing = [name for name in names if name not in entry]
    if missing:
        hint = " A test file must have valid frames." if "valid" in missing else ""
        raise UserError(f"{where}: no {', '.join(missing)}; found {', '.join(map(str, entry)) or 'nothing'}.{hint}")
    for name in names:
        if not isinstance(entry[name], np.ndarray) or entry[name].ndim == 0 or not len(entry[name]):
            raise UserError(f"{where}: {name} must be an array of frames; found {_kind(entry[name])}")
    return entry


def _kind(value: object) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" of shape {shape}" if shape is not None else "")
