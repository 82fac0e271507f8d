"""What a data set is: its sequences, the reader of its published files, its cache, and what else differs by data set.

The command line imports this module, and `--help` must not wait for NumPy, HDF5 and SciPy: nothing here imports them.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from glagcn.errors import UserError
from glagcn.tables import Table

if TYPE_CHECKING:
    import numpy as np

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "test")
DEMO_HINT = "To try the program without data: glagcn train --dataset demo"


@dataclass(frozen=True)
class SequenceInfo:
    """Metadata of a sequence, the frames of one person from one camera: a row of the cache's sequence table.

    name     unique within its split: subject/action/cam<camera>, such as "S1/Seq1/cam0" or "Train/S1/Jog 1/cam2"; only
             the subject if it has one sequence, such as "TS1".
    subject  such as "S1" or "Train/S1"; "TS1" is its own subject.
    camera   number of the camera in its data set; -1 if there is only one.
    length   T, frames.
    fps      frames per second.
    width, height  of the image, pixels.
    """

    name: str
    subject: str
    camera: int
    length: int
    fps: float
    width: int
    height: int

    @property
    def take(self) -> str:
        """The name without the camera: "S1/Walking 1"."""
        return self.name.partition("/cam")[0]

    @property
    def action(self) -> str:
        """The action with the number of the take: "Walking 1"; empty if the subject has one sequence."""
        return self.take.removeprefix(self.subject).removeprefix("/")

    @property
    def kind_of_action(self) -> str:
        """The action without the number of the take: "Walking".  Results are grouped by it."""
        return self.action.partition(" ")[0]


@dataclass(frozen=True)
class Sequence:
    """The frames of one sequence: raw values, not normalised, centred or flipped.

    pixels       [T,V,2] float32, image coordinates; V is the skeleton's number of input joints.
    millimetres  [T,V,3] float32, camera coordinates (x right, y down, z forward), absolute.
    valid        [T] bool: True for scored frames; the others are context only.
    activity     [T] uint8, 1..7; None if the source has no activities.
    confidence   [T,V] float32 of the 2D, 0 where a joint was missing; None if the source marks no missing joints.
    """

    info: SequenceInfo
    pixels: np.ndarray
    millimetres: np.ndarray
    valid: np.ndarray
    activity: np.ndarray | None = None
    confidence: np.ndarray | None = None


@dataclass(frozen=True)
class Split:
    """The sequences of "train" or "test", concatenated.

    pixels and millimetres of a cache are read-only memory maps: the processes of a node share their pages, and the
    system may drop pages at any time, so that a cache may be larger than the memory.
    """

    sequences: tuple[SequenceInfo, ...]  # the S rows of the sequence table
    starts: np.ndarray  # [S] int64, the first frame of each sequence in the arrays below
    pixels: np.ndarray  # [F,V,2] float32, image coordinates; V is the skeleton's number of input joints
    millimetres: np.ndarray  # [F,V,3] float32, camera coordinates, absolute
    valid: np.ndarray  # [F] bool: True for scored frames
    activity: np.ndarray | None  # [F] uint8, 1..7 (0: none); None if the source has no activities
    confidence: np.ndarray | None = None  # [F,V] float32 of the 2D, 0 where a place was filled in; None if all are 1

    def frames(self, row: int) -> slice:
        """Where the arrays have the frames of a sequence."""
        start = int(self.starts[row])
        return slice(start, start + self.sequences[row].length)


@dataclass(frozen=True)
class Cache:
    """An open cache; dataset, keypoints, annotation and skeleton are e.g. "3dhp", "gt", "univ", "mpi3dhp17"."""

    path: Path
    dataset: str
    keypoints: str
    annotation: str
    skeleton: str
    train: Split
    test: Split
    provenance: dict
    notes: tuple[str, ...]
    fingerprint: str  # of the sequences and frames of both splits: the same for the same data, whatever path and date


def cache_name(dataset: str, keypoints: str, annotation: str) -> str:
    """The file name of a cache, e.g. "3dhp_gt_univ.h5", or "demo_gt.h5" if the annotation is empty."""
    return "_".join(filter(None, (dataset, keypoints, annotation))) + ".h5"


class Source(ABC):
    """A reader of a data set in one published format, one sequence at a time.

    dataset, keypoints, annotation, skeleton  as stored in the cache, e.g. "3dhp", "gt", "univ", "mpi3dhp17".
    kind   of files, for the provenance.
    root   the folder of the files; `paths` are those that it reads, by a name.
    notes  remarks for the user, which are logged and stored in the cache.  Reading can add notes.
    cut_frames  how many frames of a take are left out, for the table that describes the cache.
    """

    dataset: str
    keypoints: str
    annotation: str = ""
    skeleton: str
    kind: str

    def __init__(self, root: Path, paths: dict[str, Path]) -> None:
        self.root, self.paths = root, paths
        self.notes: list[str] = []
        self.cut_frames: dict[str, int] = {}
        self._records: dict[str, dict] = {}

    @abstractmethod
    def infos(self, split: SplitName) -> list[SequenceInfo]:
        """The sequences of a split, in the order of `read`.  Raises UserError for an invalid file."""

    @abstractmethod
    def read(self, split: SplitName) -> Iterator[Sequence]:
        """Yield the checked sequences of a split.  Raises UserError that names the file and the sequence."""

    @property
    def missing(self) -> list[Path]:
        """The files that do not exist.  A source with missing files cannot be read."""
        return [path for path in self.paths.values() if not path.is_file()]

    def note(self, text: str | None) -> None:
        """Add a remark, if there is one and it is new."""
        if text and text not in self.notes:
            self.notes.append(text)

    def record(self, path: Path) -> None:
        """Add size and sha256 of a file to the provenance, just before the file is parsed from the page cache.

        Raises UserError if it cannot be read.
        """
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            name, size = path.relative_to(self.root).as_posix(), path.stat().st_size
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        self._records[name] = {"path": name, "bytes": size, "sha256": digest}

    def provenance(self) -> dict:
        """Kind, root, and files with sizes and sha256, JSON-serialisable.  Complete after both splits are read."""
        files = list(self._records.values())
        return {"kind": self.kind, "root": str(self.root.resolve()), "cut_frames": self.cut_frames, "files": files}


@dataclass(frozen=True)
class PrepareFlags:
    """The flags of `glagcn prepare` that describe the files of a data set; None where a flag is not given."""

    raw: Path | None = None  # folder of the official release
    npz: Path | None = None  # folder of npz files
    keypoints: str | None = None
    annotation: str | None = None
    cameras: tuple[int, ...] | None = None
    mark_missing: bool | None = None  # fill gaps of the 2D, and mark them with confidence 0, instead of refusing them
    subjects: tuple[str, ...] | None = None  # training subjects to read; None: all


@dataclass(frozen=True, kw_only=True)
class DataSet(ABC):
    """A data set: its files, joints and benchmark.  config.recipes has its training options.

    Methods import their readers when they are called, so that the command line starts without them.
    """

    name: str  # in --dataset, caches, checkpoints and results
    title: str  # in text
    skeletons: tuple[str, ...]  # names of its joint sets; which one applies depends on the 2D source
    benchmark: str  # name of its benchmark in evaluate.benchmarks
    keypoints: tuple[str, ...] | None = ("gt",)  # names of its 2D sources; None: any name, taken from the file name
    annotations: tuple[str, ...] = ()  # names of its kinds of 3D if there are several; the first is the default
    prepared_by: tuple[str, ...] = ()  # flags of `glagcn prepare` that it accepts; empty: the data set has no files
    many_takes: bool = False  # a cache is described by its subjects instead of its takes
    same_cameras: bool = False  # cameras of the same number film training and test sequences

    @property
    def default_annotation(self) -> str:
        """The kind of 3D without --annotation; empty if there is only one."""
        return self.annotations[0] if self.annotations else ""

    @abstractmethod
    def find(self, root: Path, keypoints: str, annotation: str) -> Source:
        """The source that reads the files below `root`, for a cache that training needs.

        Raises UserError that lists the files looked for, the missing ones, and how to get the data.
        """

    def source_of(self, flags: PrepareFlags) -> Source:
        """The source for these flags of `glagcn prepare`.  Raises UserError for missing files or an invalid flag."""
        raise NotImplementedError(f"{self.name} has no files: {flags}")

    def skeleton_name(self, keypoints: str) -> str | None:  # noqa: ARG002
        """The name of the joint set with this 2D source; None if only the file of the 2D source defines it."""
        return self.skeletons[0] if len(self.skeletons) == 1 else None

    def variant(self, source: Source) -> tuple[str, str] | None:  # noqa: ARG002
        """(file name, note) for a source that is not the default form of the data set (other cameras), else None.

        The file name differs from `cache_name`, so training does not use it by accident.
        """
        return None

    def summary(self, cache: Cache) -> Iterable[str]:
        """Lines that describe the content of a cache: a table for each split, and warnings."""
        key = "subject" if self.many_takes else "take"
        cut = cache.provenance.get("cut_frames", {})
        return [line for split in (cache.train, cache.test) for line in _table(split, cut, key).text().splitlines()]

    def warning(self, cache: Cache) -> str | None:  # noqa: ARG002
        """Why results on this cache are not comparable with published ones; None if they are."""
        return None

    def camera_rotation(self, info: SequenceInfo) -> np.ndarray | None:  # noqa: ARG002
        """The rotation [3,3] from camera to world coordinates (z up); None if the orientation is unknown."""
        return None

    def lens(self, info: SequenceInfo) -> np.ndarray | tuple[float, ...] | None:
        """The calibrated focal lengths and principal point (fx, fy, cx, cy) in pixels; None if they are unknown."""
        del info
        return None

    def check(self, keypoints: str, annotation: str) -> None:
        """Raise UserError for a 2D source or an annotation that the data set does not have."""
        if annotation and annotation not in self.annotations:
            if not self.annotations:
                raise UserError(f"--annotation {annotation} has no effect on --dataset {self.name}; leave it out")
            raise UserError(f"invalid --annotation {annotation}: must be one of {', '.join(self.annotations)}")
        if self.keypoints is not None and keypoints not in self.keypoints:
            known = ", ".join(self.keypoints)
            raise UserError(f"invalid --keypoints {keypoints}: must be one of {known} for --dataset {self.name}")


def _table(split: Split, cut_frames: dict[str, int], key: str) -> Table:
    """The subjects or takes (`key`) of a split, with a total.  Frames are counted for one camera."""
    table = Table(key, "actions", "takes", "frames", "cameras", "cut", "fps", "images", "valid")
    groups: dict[str, list[int]] = {}
    for row, info in enumerate(split.sequences):
        groups.setdefault(getattr(info, key), []).append(row)
    for name, rows in groups.items():
        infos = [split.sequences[row] for row in rows]
        takes = {info.take: info.length for info in infos}
        table.add(
            name,
            len({info.kind_of_action for info in infos}),
            len(takes),
            sum(takes.values()),
            len({info.camera for info in infos}),
            sum(cut_frames.get(take, 0) for take in takes),
            "/".join(dict.fromkeys(f"{info.fps:g}" for info in infos)),
            "/".join(dict.fromkeys(f"{info.width}x{info.height}" for info in infos)),
            sum(int(split.valid[split.frames(row)].sum()) for row in rows),
        )
    table.add("all views", "", "", len(split.valid), "", "", "", "", int(split.valid.sum()))
    return table
