"""The sources of MPI-INF-3DHP: the official release, or an npz pair converted from it.

The npz pair is the one that P-STMO's converter writes (univ_annot3), or D3DP's `_ori` pair (annot3).
"""

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.data.checks import as_activity, as_frames, as_valid, check_sequence, checked_frames, checked_sequences, kind
from glagcn.data.dataset import DEMO_HINT, PrepareFlags, Sequence, SequenceInfo, Source, SplitName, cache_name
from glagcn.data.mpi_inf_3dhp import facts, mat
from glagcn.errors import UserError
from glagcn.safe_pickle import load_object
from glagcn.skeletons import get_skeleton

# ---- Find the files.

# Folders used by the official download scripts and by manual unpacking.
TRAIN_FOLDERS = (".", "mpi_inf_3dhp")
TEST_FOLDERS = ("mpi_inf_3dhp_test_set/mpi_inf_3dhp_test_set", "mpi_inf_3dhp_test_set", ".")
# Only the file name of an npz tells which annotation it contains.
FILE_NAMES = {
    "univ": {"train": "data_train_3dhp.npz", "test": "data_test_3dhp.npz"},
    "annot3": {"train": "data_train_3dhp_ori.npz", "test": "data_test_3dhp_ori.npz"},
}
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
    raw = RawRelease(root, annotation, cameras)
    npz = NpzPair(root, annotation, None, cameras)
    if not raw.missing:
        if not npz.missing:
            raw.note(f"{npz.paths['train'].name} is not used, because the official release exists too")
        return raw
    if npz.missing:
        raise UserError(_nothing_found(root, annotation, raw, npz))
    if len(raw.missing) < len(raw.paths):
        npz.note(f"the official release is not used, because {len(raw.missing)} of its files are missing")
    return npz


def source_of(flags: PrepareFlags) -> Source:
    """The source for these flags of `glagcn prepare`: the official release, or a part of its training subjects.

    Of npz files it is the pair named after the annotation (without one, "univ"), else the other; a given annotation
    overrides the one that the file names imply.
    Raises UserError for unknown cameras or subjects, or one that lists the missing files.
    """
    cameras = facts.DEFAULT_CAMERAS if flags.cameras is None else flags.cameras
    if not cameras or len(set(cameras)) != len(cameras) or not set(cameras) <= set(range(facts.NUM_CAMERAS)):
        raise UserError(
            f"invalid --cameras {','.join(map(str, cameras))}: must be different numbers from 0 to "
            f"{facts.NUM_CAMERAS - 1}, such as 0,2,4"
        )
    if unknown := sorted(set(flags.subjects or ()) - set(facts.SUBJECTS)):
        raise UserError(f"invalid --subjects {','.join(unknown)}: must be some of {','.join(facts.SUBJECTS)}")
    if flags.raw:
        release = RawRelease(flags.raw, flags.annotation or "univ", cameras, flags.subjects)
        if release.missing:
            listed = f"{_listed(release.missing)}\n{'' if flags.subjects else PART_HINT}{HOW_TO_GET}"
            raise UserError(f"the official release in {flags.raw} is incomplete; missing:\n{listed}")
        return release
    assert flags.npz is not None
    if flags.subjects:
        raise UserError(
            "glagcn prepare 3dhp takes --subjects only with --raw; of npz files, train on a part with --subjects_train"
        )
    order = sorted(FILE_NAMES, key=lambda named: named != (flags.annotation or "univ"))
    pairs = [NpzPair(flags.npz, named, flags.annotation, cameras) for named in order]
    for pair in pairs:
        if not pair.missing:
            return pair
    raise UserError(f"no npz pair in {flags.npz}; missing:\n{_listed(pairs[0].missing)}\n{HOW_TO_GET}")


def _nothing_found(root: Path, annotation: str, raw: "RawRelease", npz: "NpzPair") -> str:
    lines = [
        f"no MPI-INF-3DHP ({annotation}) found below {root}. Looked for:",
        f"  the cache {cache_name('3dhp', 'gt', annotation)}",
        "  the official release: S1..S8/Seq1..Seq2/annot.mat (also in mpi_inf_3dhp/) and "
        "mpi_inf_3dhp_test_set/TS1..TS6/annot_data.mat (also in TS1..TS6/)",
    ]
    if len(raw.missing) < len(raw.paths):
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


# ---- Read them.


class _Files(Source):
    """What both kinds of files have in common."""

    dataset, keypoints, skeleton = "3dhp", "gt", "mpi3dhp17"
    named_annotation: str  # in the provenance

    def __init__(self, root: Path, paths: dict[str, Path], annotation: str, cameras: tuple[int, ...]) -> None:
        super().__init__(root, paths)
        self.annotation, self.cameras = annotation, cameras

    def read(self, split: SplitName) -> Iterator[Sequence]:
        """See Source."""
        return checked_sequences(self, split, self._read(split))

    @abstractmethod
    def _read(self, split: SplitName) -> Iterator[Sequence]:
        """The sequences of a split, each checked alone."""

    def provenance(self) -> dict:
        """See Source."""
        return super().provenance() | {"annotation": self.named_annotation, "cameras": list(self.cameras)}

    def _info(self, name: str, frames: int) -> SequenceInfo:
        """Of a view such as "S1/Seq1/cam0", whose frames beyond the official length are cut, or of "TS1"."""
        take, _, camera = name.partition("/cam")
        if not camera:
            return SequenceInfo(name, name, -1, frames, facts.TEST_FPS, *facts.TEST_IMAGE_SIZES[name])
        (official, fps), subject = facts.TRAIN_SEQUENCES[take], take.partition("/")[0]
        if frames > official:
            self.cut_frames[take] = frames - official
        return SequenceInfo(name, subject, int(camera), min(frames, official), float(fps), *facts.TRAIN_IMAGE_SIZE)

    def _sequence(
        self,
        path: Path,
        info: SequenceInfo,
        pixels: np.ndarray,
        millimetres: np.ndarray,
        valid: np.ndarray | None = None,
        activity: np.ndarray | None = None,
    ) -> Sequence:
        """The checked sequence of arrays with at least as many frames as it has; without `valid`, all are scored."""
        where, valid = f"{path}: {info.name}", np.ones(len(pixels), dtype=bool) if valid is None else valid
        if len(pixels) != len(millimetres):
            raise UserError(
                f"{where}: {len(pixels)} frames of 2D but {len(millimetres)} frames of 3D; expected the same number. "
                "The file is damaged or mixes two versions; get it again."
            )
        sequence = Sequence(info, pixels[: info.length], millimetres[: info.length], valid[: info.length], activity)
        check_sequence(where, sequence, get_skeleton(self.skeleton).root)
        # Only TS5 and TS6 are checked: they are short, and their scale in univ_annot3 differs from 1.
        if info.name in ("TS5", "TS6"):
            checked = checked_frames(valid)
            self.note(annotation_warning(info.name, self.annotation, pixels[checked], millimetres[checked]))
        if bad := int((~np.isfinite(sequence.millimetres).all(axis=(1, 2))).sum()):
            self.note(f"{info.name}: the 3D is not finite in {bad} unscored frames; they are copied unchanged")
        return sequence


class RawRelease(_Files):
    """The official release below one folder: S*/Seq*/annot.mat and TS*/annot_data.mat.

    annotation  "univ" (univ_annot3) or "annot3".
    cameras     numbers of the training cameras to read.
    subjects    training subjects to read, such as ("S1", "S2"); None: all eight.
    """

    kind = "official release"

    def __init__(
        self, root: Path, annotation: str, cameras: tuple[int, ...], subjects: tuple[str, ...] | None = None
    ) -> None:
        self._train = [name for name in facts.TRAIN_SEQUENCES if not subjects or name.partition("/")[0] in subjects]
        paths = {}
        for name in self._train:
            places = [root / folder / name / "annot.mat" for folder in TRAIN_FOLDERS]
            paths[name] = next((path for path in places if path.is_file()), places[0])
        for name in facts.TEST_SEQUENCES:
            folders = [root / base / folder for base in TRAIN_FOLDERS for folder in TEST_FOLDERS]
            places = [folder / name / "annot_data.mat" for folder in folders]
            paths[name] = next((path for path in places if path.is_file()), places[1])
        super().__init__(root, paths, annotation, cameras)
        self.named_annotation = facts.ANNOTATION_VARIABLES[annotation]
        self.note(f"the 3D is {self.named_annotation} of the official release")
        self.note(facts.part_note(subjects) if subjects else None)

    def infos(self, split: SplitName) -> list[SequenceInfo]:
        """See Source.  Reads only the headers of the files."""
        if split == "train":
            return [info for name in self._train for info in self._views(name)]
        return [self._test_info(name) for name in facts.TEST_SEQUENCES]

    def _read(self, split: SplitName) -> Iterator[Sequence]:
        """One annot.mat at a time is in memory."""
        if split == "train":
            for name in self._train:
                yield from self._read_train(name)
        else:
            yield from map(self._read_test, facts.TEST_SEQUENCES)

    def _views(self, name: str) -> list[SequenceInfo]:
        """Those of a training sequence."""
        frames = mat.count_train_frames(self.paths[name], self.named_annotation)
        return [self._info(f"{name}/cam{camera}", frames) for camera in self.cameras]

    def _test_info(self, name: str) -> SequenceInfo:
        return self._info(name, mat.count_test_frames(self.paths[name], self.named_annotation))

    def _read_train(self, name: str) -> Iterator[Sequence]:
        path = self.paths[name]
        self.record(path)
        frames = mat.count_train_frames(path, self.named_annotation)
        pixels = mat.read_train_joints(path, "annot2", 2, self.cameras, frames)
        millimetres = mat.read_train_joints(path, self.named_annotation, 3, self.cameras, frames)
        for info in self._views(name):
            rows = len(pixels[info.camera])
            if rows != frames:
                self.note(f"{name}: matrices of {rows} rows; only the first {frames}, listed in `frames`, are used")
            yield self._sequence(path, info, pixels.pop(info.camera), millimetres.pop(info.camera))

    def _read_test(self, name: str) -> Sequence:
        path, variable = self.paths[name], self.named_annotation
        self.record(path)
        info, where = self._test_info(name), f"{path}: {name}"
        arrays = mat.read_test_arrays(path, variable)
        pixels = as_frames(where, "annot2", arrays["annot2"], 17, 2)
        millimetres = as_frames(where, variable, arrays[variable], 17, 3)
        valid = as_valid(where, arrays["valid_frame"], info.length)
        activity = as_activity(where, arrays["activity_annotation"], valid)
        return self._sequence(path, info, pixels, millimetres, valid, activity)


FILE_HINT = "expected an npz with the key 'data', as P-STMO's converter writes it"
KEYS = {"train": "'S1 Seq1' to 'S8 Seq2'", "test": "'TS1' to 'TS6'"}


class NpzPair(_Files):
    """A train and a test npz in one folder.

    named       which pair of FILE_NAMES to read.
    annotation  the annotation that the files contain; None: `named`.

    An npz is one pickled dict, so the whole split is loaded into memory (0.7 GB for train).
    """

    kind = "npz"

    def __init__(self, root: Path, named: str, annotation: str | None, cameras: tuple[int, ...]) -> None:
        paths = {split: root / name for split, name in FILE_NAMES[named].items()}
        super().__init__(root, paths, annotation or named, cameras)
        self.named_annotation, name = self.annotation, paths["train"].name
        self.note(
            f"the npz does not state its annotation: {name} is read as {self.annotation}"
            + (", from --annotation" if annotation else ", from its name; --annotation overrides this")
        )
        if self.annotation != named:
            self.note(f"warning: files named {name} usually contain {named}, not {annotation}")
        self.note("the npz has no activities, so there is no activity table")
        self.note("the npz has no image sizes: 2048 x 2048 assumed, 1920 x 1080 for TS5 and TS6")
        self._content: dict[str, dict[str, dict]] = {}

    def infos(self, split: SplitName) -> list[SequenceInfo]:
        """See Source.  Loads the whole file of the split."""
        if split not in self._content:
            self._content[split] = self._load(split)
        return [self._info(name, len(entry["data_2d"])) for name, entry in self._content[split].items()]

    def _read(self, split: SplitName) -> Iterator[Sequence]:
        """Frees the memory of each sequence after it is read."""
        infos, path = self.infos(split), self.paths[split]
        content = self._content.pop(split)
        for info in infos:
            entry, where = content.pop(info.name), f"{path}: {info.name}"
            pixels = as_frames(where, "data_2d", entry["data_2d"], 17, 2)
            millimetres = as_frames(where, "data_3d", entry["data_3d"], 17, 3)
            valid = as_valid(where, entry["valid"], len(pixels)) if split == "test" else None
            yield self._sequence(path, info, pixels, millimetres, valid)

    def _load(self, split: SplitName) -> dict[str, dict]:
        """{sequence name: its arrays}."""
        path = self.paths[split]
        self.record(path)
        content: Any = load_object(path, "data", FILE_HINT)
        if split == "test":
            _check_keys(path, split, content, list(facts.TEST_SEQUENCES))
            names = ("data_2d", "data_3d", "valid")
            return {name: _fields(f"{path}: {name}", content[name], names) for name in facts.TEST_SEQUENCES}
        _check_keys(path, split, content, [name.replace("/", " ") for name in facts.TRAIN_SEQUENCES])
        entries = {}
        for name in facts.TRAIN_SEQUENCES:
            key = name.replace("/", " ")
            views = self._views(f"{path}: {key}", content.pop(key))
            for camera in self.cameras:
                where = f"{path}: {key} camera {camera}"
                entries[f"{name}/cam{camera}"] = _fields(where, views.get(str(camera)), ("data_2d", "data_3d"))
        return entries

    def _views(self, where: str, value: object) -> dict:
        """The {"0": ..., "1": ...} of one sequence, from [cameras, fps]."""
        if not isinstance(value, list | tuple | np.ndarray) or len(value) != 2 or not isinstance(value[0], dict):
            raise UserError(
                f"{where}: expected the list [cameras, fps], found {kind(value)}; this is not a 3DHP npz of P-STMO"
            )
        views = {str(camera): view for camera, view in value[0].items()}  # the keys of some copies are numbers
        missing = [camera for camera in self.cameras if str(camera) not in views]
        if missing:
            raise UserError(
                f"{where}: no camera {', '.join(map(str, missing))}; found {', '.join(views):.200}. "
                "Select from these with --cameras."
            )
        return views


def _check_keys(path: Path, split: SplitName, content: object, expected: list[str]) -> None:
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a dict of sequences {KEYS[split]}, found {kind(content)}")
    missing = [key for key in expected if key not in content]
    unknown = [str(key) for key in content if key not in expected]
    if missing or unknown:
        hint = "Get a complete file."
        if not content:
            hint = "Converters with Windows paths write empty files on Linux. Get another copy, or use --raw."
        elif len(missing) == len(expected):
            hint = "Are the train and the test file exchanged?"
        raise UserError(
            f"{path}: expected the sequences {KEYS[split]}; missing: {', '.join(missing) or 'none'}; "
            f"unknown: {', '.join(unknown) or 'none':.200}. {hint}"
        )


def _fields(where: str, entry: object, names: tuple[str, ...]) -> dict:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: expected a dict with {', '.join(names)}, found {kind(entry)}")
    missing = [name for name in names if name not in entry]
    if missing:
        hint = " A test file must have valid frames." if "valid" in missing else ""
        found = ", ".join(map(str, entry)) or "nothing"
        raise UserError(f"{where}: no {', '.join(missing)}; found {found:.200}.{hint}")
    for name in names:
        if not isinstance(entry[name], np.ndarray) or entry[name].ndim == 0 or not len(entry[name]):
            raise UserError(f"{where}: {name} must be an array of frames; found {kind(entry[name])}")
    return entry


# ---- Recognise the 3D annotation, annot3 or univ_annot3, by its reprojection error.

# The 2D and 3D of hips and spine are not exactly the same points; the other joints of annot3 reproject within 0.01 px.
INEXACT_JOINTS = (8, 11, 15)
# Joints above the waist, where annot3 and univ_annot3 differ only in scale.
COMPARED_JOINTS = (0, 1, 2, 3, 4, 5, 6, 7, 16)
EXACT_PX, INEXACT_PX = 0.1, 0.5
MIN_DEPTH_MM = 100.0


def annotation_warning(name: str, annotation: str, pixels: np.ndarray, millimetres: np.ndarray) -> str | None:
    """A warning if the poses of sequence `name` look like the other annotation, else None."""
    error = projection_error(pixels, millimetres)
    if error is None or EXACT_PX <= error <= INEXACT_PX:
        return None
    guess = "annot3" if error < EXACT_PX else "univ"
    if guess == annotation:
        return None
    return (
        f"warning: {name} was read as {annotation}, but its reprojection error of {error:.3g} px is typical of "
        f"{guess}; if the files contain {guess}, pass --annotation {guess}"
    )


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
