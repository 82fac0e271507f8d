"""The data of a run, as one value."""

from dataclasses import dataclass

from glagcn.data.cache.reader import Cache, Split
from glagcn.data.windows.plan import EpochPlan
from glagcn.data.windows.store import FrameStore
from glagcn.data.windows.streamed_store import StreamedStore
from glagcn.evaluation.evaluate import EvaluationSet


@dataclass(frozen=True)
class RunData:
    """What a run reads: the cache, what is chosen of it, the plan of training windows, and where frames come from."""

    cache: Cache
    plan: EpochPlan
    train: FrameStore
    train_split: Split  # the frames that `train` gives and `plan` numbers
    test: EvaluationSet
    validation: EvaluationSet | None  # the held-out training sequences, where they choose the best state

    @property
    def is_streamed(self) -> bool:
        """Whether training frames are read from the cache while training."""
        return isinstance(self.train, StreamedStore)
