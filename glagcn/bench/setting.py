"""What every part of the bench is given: the options, the data, the model, and the machine's peaks."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from glagcn.bench.data import make_cache
from glagcn.config import Config
from glagcn.data.plan import EpochPlan
from glagcn.engine import numerics
from glagcn.engine.peaks import measure_peaks
from glagcn.engine.ranks import Ranks
from glagcn.engine.run_data import RunData
from glagcn.engine.setup import build_model, load_data
from glagcn.model.floor import Peaks
from glagcn.model.network import LiftingNetwork


@dataclass(frozen=True)
class Setting:
    """One machine, one data set, one model.

    repeats  rounds that a median is taken of.
    config   of the trainer; its data set is the scale.
    """

    config: Config
    repeats: int
    ranks: Ranks
    data: RunData
    model: LiftingNetwork
    peaks: Peaks

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.ranks.device

    @property
    def plan(self) -> EpochPlan:
        """Of the training windows."""
        return self.data.plan


@contextmanager
def open_setting(config: Config, repeats: int) -> Iterator[Setting]:
    """Make the data in a temporary folder, build the model, measure the peaks."""
    ranks = Ranks(config)
    config = numerics.set_up(config, ranks.device)
    with tempfile.TemporaryDirectory(prefix="glagcn_bench_") as folder:
        cache = make_cache(config.dataset, Path(folder))
        data = load_data(config, ranks, cache)
        model = build_model(config, data).to(ranks.device)
        peaks = measure_peaks(ranks.device, config.precision)
        yield Setting(config, repeats, ranks, data, model, peaks)
