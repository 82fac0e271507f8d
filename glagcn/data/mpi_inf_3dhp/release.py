"""Find the files of MPI-INF-3DHP in a folder, with error messages for missing ones."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from glagcn.data.cache import cache_name
from glagcn.data.checks import (
    as_activity,
    as_frames,
    as_valid,
    check_lengths,
    check_poses,
    checked_frames,
    unscored_note,
)
from glagcn.data.dataset import DEMO_HINT, Sequence, SequenceInfo, Source, SplitName, file_record
from glagcn.data.mpi_inf_3dhp import mat as matlab
from glagcn.data.mpi_inf_3dhp.dataset import (
    ANNOTATION_VARIABLES,
    NUM_CAMERAS,
    SUBJECTS,
    TEST_FPS,
    TEST_IMAGE_SIZES,
    TEST_SEQUENCES,
    TRAIN_IMAGE_SIZE,
    TRAIN_SEQUENCES,
)
from glagcn.data.mpi_inf_3dhp.mat import image_sizes
from glagcn.data.mpi_inf_3dhp.npz import FILE_NAMES, NpzPair, annotation_warning
from glagcn.errors import UserError
from glagcn.skeletons import get_skeleton

# ---- The Source of the official MPI-INF-3DHP release: S*/Seq*/annot.mat and TS*/annot_data.mat.


# Folders used by the official download scripts and by manual unpacking.
TRAIN_FOLDERS = (".", "mpi_inf_3dhp")
TEST_FOLDERS = ("mpi_inf_3dhp_test_set/mpi_inf_3dhp_test_set", "mpi_inf_3dhp_test_set", ".")


class RawRelease:
    """The Source of the official release below one folder.

    annotation  "univ" (univ_annot3) or "annot3".
    cameras     numbers of the training cameras to read.
    subjects    training subjects to read, such as ("S1", "S2"); None: all eight.
    A release with `missing` files cannot be read.
    """

    dataset, keypoints, skeleton = "3dhp", "gt", "mpi3dhp17"

    def __init__(
        self, root: Path, annotation: str, cameras: tuple[int, ...], subjects: tuple[str, ...] | None = None
    ) -> None:
        self.root, self.annotation, self.cameras = root, annotation, cameras
        self.notes = [f"the 3D is {ANNOTATION_VARIABLES[annotation]} of the official release"]
        self.cut_frames: dict[str, int] = {}
        self._records: dict[str, dict] = {}
        if subjects:
            self.notes.append(part_note(subjects))
        chosen = [name for name in TRAIN_SEQUENCES if not subjects or name.partition("/")[0] in subjects]
        self._train = {name: find_train_file(root, name) for name in chosen}
        self._test = {name: find_test_file(root, name) for name in TEST_SEQUENCES}

    @property
    def missing(self) -> list[Path]:
        """The files that a complete release has and the folder has not."""
        return [path for path in (*self._train.values(), *self._test.values()) if not path.is_file()]

    @property
    def found_any(self) -> bool:
        """Whether at least one file of the release exists."""
        return len(self.missing) < len(self._train) + len(self._test)

    def infos(self, split: SplitName) -> list[SequenceInfo]:
        """See Source.  Reads only the headers of the files.  Frames beyond the official length are cut."""
        if split == "train":
            return [info for name in self._train for info in self._train_infos(name)]
        return [self._test_info(name) for name in TEST_SEQUENCES]

    def read(self, split: SplitName) -> Iterator[Sequence]:
        """See Source.  One annot.mat at a time is in memory."""
        if split == "train":
            for name in self._train:
                yield from self._read_train(name)
        else:
            for name in TEST_SEQUENCES:
                yield self._read_test(name)

    def provenance(self) -> dict:
        """See Source."""
        return {
            "kind": "official release",
            "root": str(self.root.resolve()),
            "annotation": ANNOTATION_VARIABLES[self.annotation],
            "cameras": list(self.cameras),
            "cut_frames": self.cut_frames,
            "files": list(self._records.values()),
        }

    def _train_infos(self, name: str) -> list[SequenceInfo]:
        path = self._train[name]
        frames = matlab.count_train_frames(path, self._variable)
        official, fps = TRAIN_SEQUENCES[name]
        length = min(frames, official)
        if frames > length:
            self.cut_frames[name] = frames - length
        sizes = self._image_sizes(path.with_name("camera.calibration"))
        subject = name.partition("/")[0]
        return [
            SequenceInfo(f"{name}/cam{camera}", subject, camera, length, float(fps), *sizes[camera])
            for camera in self.cameras
        ]

    def _image_sizes(self, path: Path) -> dict[int, tuple[int, int]]:
        if path.is_file():
            return image_sizes(path, self.cameras)
        width, height = TRAIN_IMAGE_SIZE
        self._note(f"some annot.mat have no camera.calibration: training image size {width} x {height} assumed")
        return dict.fromkeys(self.cameras, TRAIN_IMAGE_SIZE)

    def _read_train(self, name: str) -> Iterator[Sequence]:
        path = self._train[name]
        self._record(path)
        infos = self._train_infos(name)
        matlab.check_numbering(path, self.cameras)
        frames = matlab.count_train_frames(path, self._variable)
        all_pixels = matlab.read_train_joints(path, "annot2", 2, self.cameras)
        all_millimetres = matlab.read_train_joints(path, self._variable, 3, self.cameras)
        for info in infos:
            pixels, millimetres = all_pixels.pop(info.camera), all_millimetres.pop(info.camera)
            check_lengths(f"{path}: {info.name}", pixels, millimetres)
            if len(pixels) != frames:
                self._note(
                    f"{name}: matrices of {len(pixels)} rows; only the first {frames}, listed in `frames`, are used"
                )
            valid = np.ones(info.length, dtype=bool)
            yield self._sequence(path, info, pixels[: info.length], millimetres[: info.length], valid)

    def _test_info(self, name: str) -> SequenceInfo:
        frames = matlab.count_test_frames(self._test[name], self._variable)
        return SequenceInfo(name, name, -1, frames, TEST_FPS, *TEST_IMAGE_SIZES[name])

    def _read_test(self, name: str) -> Sequence:
        path = self._test[name]
        self._record(path)
        arrays = matlab.read_test_arrays(path, self._variable)
        where = f"{path}: {name}"
        valid = as_valid(where, arrays["valid_frame"], len(arrays["annot2"]))
        activity = as_activity(where, arrays["activity_annotation"], valid)
        pixels = as_frames(where, "annot2", arrays["annot2"], 17, 2)
        millimetres = as_frames(where, self._variable, arrays[self._variable], 17, 3)
        sequence = self._sequence(path, self._test_info(name), pixels, millimetres, valid, activity)
        # Only TS5 and TS6 are checked: they are short, and their scale in univ_annot3 differs from 1.
        if name in ("TS5", "TS6"):
            checked = checked_frames(valid)
            self._note(annotation_warning(name, self.annotation, pixels[checked], millimetres[checked]))
        self._note(unscored_note(name, millimetres))
        return sequence

    def _sequence(self, path: Path, info: SequenceInfo, pixels, millimetres, valid, activity=None) -> Sequence:
        root, size = get_skeleton(self.skeleton).root, (info.width, info.height)
        check_poses(f"{path}: {info.name}", pixels, millimetres, root, valid, size)
        return Sequence(info, pixels, millimetres, valid, activity)

    @property
    def _variable(self) -> str:
        return ANNOTATION_VARIABLES[self.annotation]

    def _record(self, path: Path) -> None:
        record = file_record(path, self.root)
        self._records[record["path"]] = record

    def _note(self, note: str | None) -> None:
        if note and note not in self.notes:
            self.notes.append(note)


def part_note(subjects: Iterable[str]) -> str:
    """What to know of a cache with a part of the training subjects."""
    return (
        f"the training set is only {', '.join(subjects)} of the {len(SUBJECTS)} subjects; results are not comparable "
        "with published ones"
    )


def find_train_file(root: Path, name: str) -> Path:
    """The path of annot.mat of a sequence such as "S1/Seq1" below root; if missing, the expected path."""
    places = [root / folder / name / "annot.mat" for folder in TRAIN_FOLDERS]
    return next((path for path in places if path.is_file()), places[0])


def find_test_file(root: Path, name: str) -> Path:
    """The path of annot_data.mat of a sequence such as "TS1" below root; if missing, the expected path."""
    places = [root / base / folder / name / "annot_data.mat" for base in TRAIN_FOLDERS for folder in TEST_FOLDERS]
    return next((path for path in places if path.is_file()), places[1])


# ---- Find the files of MPI-INF-3DHP in a folder, with error messages for missing ones.


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
