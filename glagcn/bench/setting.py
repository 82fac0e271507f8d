"""The input of every part of the bench: options, data, model, and peak rates of the machine."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from glagcn.bench.synthetic_data import make_cache
from glagcn.config.config import Config
from glagcn.config.resolve import changed
from glagcn.data.windows.plan import EpochPlan
from glagcn.distributed import precision
from glagcn.distributed.ranks import Ranks
from glagcn.model.floor import Peaks
from glagcn.model.interface import Model
from glagcn.training.hardware.peaks import measure_peaks
from glagcn.training.setup import RunData, build_model, load_data


@dataclass(frozen=True)
class Setting:
    """One machine, one data set, one model.

    config   options of the trainer; the data set is the scale.
    repeats  rounds per median.
    """

    config: Config
    repeats: int
    ranks: Ranks
    data: RunData
    model: Model
    peaks: Peaks

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.ranks.device

    @property
    def plan(self) -> EpochPlan:
        """The epoch plan of the training windows."""
        return self.data.plan


@contextmanager
def open_setting(config: Config, repeats: int) -> Iterator[Setting]:
    """Make the data in a temporary folder, build the model and measure the peak rates."""
    ranks = Ranks(config.run.workers)
    config = changed(config, precision=precision.set_up(config.optim, ranks.device))
    with tempfile.TemporaryDirectory(prefix="glagcn_bench_") as folder:
        cache = make_cache(config.data.dataset, Path(folder))
        data = load_data(config, ranks, cache)
        model = build_model(config, data).to(ranks.device)
        peaks = measure_peaks(ranks.device, config.optim.precision)
        yield Setting(config, repeats, ranks, data, model, peaks)
