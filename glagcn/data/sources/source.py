"""What every reader of published files offers."""

from collections.abc import Iterator
from typing import Literal, Protocol

from glagcn.data.sequence import Sequence, SequenceInfo

DEMO_HINT = "To see everything work without any data: python main_sagcn_gpus.py --dataset demo"
SplitName = Literal["train", "test"]


class Source(Protocol):
    """A data set in some published form, read one sequence at a time.

    dataset, keypoints, annotation, skeleton: as stored in the cache, e.g. "3dhp", "gt", "univ", "mpi3dhp17".
    notes: what a user should know about this data, logged, and stored in the cache.  Reading may add to it.
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
        """The sequences of a split in the order of `read`.  Raises UserError when a file is not what it should be."""
        ...

    def read(self, split: SplitName) -> Iterator[Sequence]:
        """The checked sequences of a split, one in memory at a time.  Raises UserError naming file and sequence."""
        ...

    def provenance(self) -> dict:
        """JSON-serialisable: kind, root, files with sizes and sha256.  Complete once both splits are read."""
        ...
