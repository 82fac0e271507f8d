from types import SimpleNamespace

import numpy as np
import pytest
import torch

from glagcn import dist
from glagcn.config.resolve import parse_command_line
from glagcn.data.plan import EpochPlan
from glagcn.train.cadence import Cadence
from glagcn.train.progress import Progress, Sums
from glagcn.train.reports import Accounts, Meter


@pytest.fixture
def drained(monkeypatch):
    """drained(cuts, mine, others): all rows of a meter that is read after each of `cuts` steps, beside other ranks."""

    def drain(cuts, mine, others):
        meter, rows, done = Meter(capacity=len(mine), names=("one", "two")), [], 0

        def gather(rows):
            return torch.stack([rows, *(other[done : done + len(rows)] for other in others)])

        monkeypatch.setattr(dist, "gather", gather)
        for step, row in enumerate(mine, 1):
            meter.add(row)
            if step in cuts or step == len(mine):
                rows += meter.drain()
                done = step
        return rows

    return drain


def test_rows_are_sums_over_ranks(drained):
    mine, other = torch.arange(6.0).view(3, 2), torch.ones(3, 2, dtype=torch.float64)
    assert drained([], mine, [other, other]) == [{"one": 2, "two": 3}, {"one": 4, "two": 5}, {"one": 6, "two": 7}]


def test_reading_in_between_changes_no_bit(drained):
    draw = torch.Generator().manual_seed(0)
    mine, *others = (torch.rand(50, 2, dtype=torch.float64, generator=draw) for _ in range(8))
    whole = drained([], mine, others)
    assert all(drained([cut], mine, others) == whole for cut in range(1, 50))


@pytest.mark.parametrize("cuts", [[], [2], [3], [1, 4]])
def test_the_sums_of_an_epoch_are_of_its_own_steps(cuts):
    """Seven windows in batches of three: three steps an epoch, the last of one window."""
    plan, progress = EpochPlan(np.arange(7), 3, "none", 0), Progress()
    config = parse_command_line(["--log_steps", "10", "--max_steps", "5"]).config
    loss = SimpleNamespace(names=("one",))
    accounts = Accounts(config, Cadence(config, plan), loss, progress, None, None, None, float)
    for step in range(1, 6):
        progress.step = step
        accounts.add(torch.tensor([10.0**step]))
        if step in cuts or step == 5:
            accounts.drain()
            assert progress.epoch.windows == (0, 3, 6, 7, 3, 6)[step]
    assert progress.epoch.terms == {"one": 110_000}
    assert progress.interval == Sums(13, {"one": 111_110})
