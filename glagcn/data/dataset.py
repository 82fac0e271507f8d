"""What the program knows of a data set: a value that its folder in sources/ defines and datasets.py lists."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glagcn.errors import UserError

if TYPE_CHECKING:  # the command line reads the table: `--help` is immediate without NumPy, HDF5 and SciPy
    import numpy as np

    from glagcn.data.cache.reader import Cache
    from glagcn.data.sequence import SequenceInfo
    from glagcn.data.sources.source import Source

Options = Mapping[str, Any]
Curve = tuple[tuple[int, float], ...]  # training windows, and the share of the mean pose's error left after them


@dataclass(frozen=True)
class PrepareFlags:
    """What the flags of `glagcn prepare` say of the files of a data set; None where they are not given.

    raw  the folder of the official release;  npz  the folder of npz files.
    """

    raw: Path | None = None
    npz: Path | None = None
    keypoints: str | None = None
    annotation: str | None = None
    cameras: tuple[int, ...] | None = None

    @property
    def given(self) -> list[str]:
        """The names of those that are given."""
        return [flag.name for flag in fields(self) if getattr(self, flag.name) is not None]


@dataclass(frozen=True, kw_only=True)
class DataSet(ABC):
    """A data set: where its files are, what is in them, how it is scored, and the options it is trained with.

    Methods import what they read with, so that the command line knows the data sets without it.

    name         of --dataset, in caches, checkpoints and results.
    title        in text.
    skeletons    the names of the joint sets that it has with one 2D source or another.
    keypoints    its 2D sources; None: any, as the files are named.
    annotations  its kinds of 3D, if there are several; the first is the usual one.
    benchmark    which benchmark scores it: a name of evaluation.benchmarks.
    presets      options, whatever the recipe: all that have no default, but for those of `recipes`.
    recipes      {recipe: options}, over what the recipe is for every data set (config.presets).
    prepared_by  the flags of `glagcn prepare` that describe its files; none: it is not made from files.
    reference    {recipe: curve} of the test error of runs from scratch (docs/recipe.md), if there are any.
    """

    name: str
    title: str
    skeletons: tuple[str, ...]
    benchmark: str
    presets: Options
    recipes: Mapping[str, Options]
    keypoints: tuple[str, ...] | None = ("gt",)
    annotations: tuple[str, ...] = ()
    prepared_by: tuple[str, ...] = ()
    reference: Mapping[str, Curve] = field(default_factory=dict)

    @abstractmethod
    def find(self, root: Path, keypoints: str, annotation: str) -> "Source":
        """The files below `root`, to make a cache of when training needs one.

        Raises UserError that lists what was looked for, what is missing, and how to get the data.
        """

    def source_of(self, flags: PrepareFlags) -> "Source":
        """The files that `glagcn prepare` is pointed to.  Raises UserError where they are missing or a flag is bad."""
        raise NotImplementedError(f"{self.name} is not made from files: {flags}")

    def skeleton_name(self, keypoints: str) -> str | None:
        """The name of the joint set with this 2D source; None where only its file tells."""
        del keypoints
        return self.skeletons[0] if len(self.skeletons) == 1 else None

    def cache_name(self, keypoints: str, annotation: str) -> str:
        """The file name of the cache that training looks for; an annotation counts only where there are several."""
        from glagcn.data.cache.reader import cache_name

        return cache_name(self.name, keypoints, annotation if self.annotations else "")

    def variant(self, source: "Source") -> tuple[str, str] | None:
        """The file name and a note, for a source that training must not take for the whole data set; else None."""
        del source
        return None

    def summary(self, cache: "Cache") -> Iterable[str]:
        """Lines on what a cache holds: a table of each split, and warnings."""
        from glagcn.data.report import summary_lines

        cut = cache.provenance.get("cut_frames", {})
        return [*summary_lines(cache.train, cut), *summary_lines(cache.test, cut)]

    def warning(self, cache: "Cache") -> str | None:
        """Why results on a cache do not compare with published ones; None where they do."""
        del cache
        return None

    def camera_rotation(self, info: "SequenceInfo") -> "np.ndarray | None":
        """[3,3], from camera to world coordinates, z up; None where the orientation is not known."""
        del info
        return None

    def check(self, keypoints: str, annotation: str) -> None:
        """Raise UserError for a 2D source or an annotation that the data set does not have."""
        if annotation and annotation not in self.annotations:
            kinds = f"expected one of {', '.join(self.annotations)}" if self.annotations else "leave it out"
            several = f"has {len(self.annotations)} kinds of 3D" if self.annotations else "has one kind of 3D only"
            raise UserError(f"--annotation {annotation}: --dataset {self.name} {several}; {kinds}")
        if self.keypoints is not None and keypoints not in self.keypoints:
            known = ", ".join(self.keypoints)
            raise UserError(f"--keypoints {keypoints}: --dataset {self.name} has no such 2D; expected {known}")
