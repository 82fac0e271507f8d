"""The interface of the readers of published files."""

from collections.abc import Iterator
from typing import Literal, Protocol

from glagcn.data.sequence import Sequence, SequenceInfo

DEMO_HINT = "To try the program without data: python main_sagcn_gpus.py --dataset demo"
SplitName = Literal["train", "test"]


class Source(Protocol):
    """A reader of a data set in one published format, one sequence at a time.

    dataset, keypoints, annotation, skeleton  as stored in the cache, e.g. "3dhp", "gt", "univ", "mpi3dhp17".
    notes  remarks for the user, which are logged and stored in the cache.  Reading can add notes.
    """

    dataset: str
    keypoints: str
    annotation: str
    notes: list[str]

    @property
    def skeleton(self) -> str:
        """The name of the joint set."""
        ...

    def infos(self, split: SplitName) -> list[SequenceInfo]:
        """The sequences of a split, in the order of `read`.  Raises UserError for an invalid file."""
        ...

    def read(self, split: SplitName) -> Iterator[Sequence]:
        """Yield the checked sequences of a split.  Raises UserError that names the file and the sequence."""
        ...

    def provenance(self) -> dict:
        """Kind, root, and files with sizes and sha256, JSON-serialisable.  Complete after both splits are read."""
        ...
