from types import SimpleNamespace

import numpy as np
import pytest
import torch

from glagcn.config.resolve import parse_command_line
from glagcn.data.windows.plan import EpochPlan
from glagcn.training.cadence import Cadence
from glagcn.training.progress import Progress, Sums
from glagcn.training.reporting.accounts import Accounts, Meter


def ranks_with(others):
    """Ranks that gather the given rows beside this rank's."""

    def gather(rows):
        return torch.stack([rows, *(other[gather.done : gather.done + len(rows)] for other in others)])

    gather.done = 0
    return SimpleNamespace(gather=gather, device=torch.device("cpu"))


def drained(cuts, mine, others):
    """All rows of a meter over 1 + len(others) ranks that is read after each of `cuts` steps."""
    ranks = ranks_with(others)
    meter = Meter(ranks, capacity=len(mine), names=("one", "two"))
    rows = []
    for step, row in enumerate(mine, 1):
        meter.add(row)
        if step in cuts or step == len(mine):
            rows += meter.drain()
            ranks.gather.done = step
    return rows


def test_rows_are_sums_over_ranks():
    mine, other = torch.arange(6.0).view(3, 2), torch.ones(3, 2, dtype=torch.float64)
    assert drained([], mine, [other, other]) == [{"one": 2, "two": 3}, {"one": 4, "two": 5}, {"one": 6, "two": 7}]


def test_reading_in_between_changes_no_bit():
    draw = torch.Generator().manual_seed(0)
    mine, *others = (torch.rand(50, 2, dtype=torch.float64, generator=draw) for _ in range(8))
    whole = drained([], mine, others)
    assert all(drained([cut], mine, others) == whole for cut in range(1, 50))


@pytest.mark.parametrize("cuts", [[], [2], [3], [1, 4]])
def test_the_sums_of_an_epoch_are_of_its_own_steps(cuts):
    """Seven windows in batches of three: three steps an epoch, the last of one window."""
    plan, progress = EpochPlan(np.arange(7), 3, "none", 0), Progress()
    config = parse_command_line(["--log_steps", "10", "--max_steps", "5"]).config
    ranks, loss = ranks_with([]), SimpleNamespace(names=("one",))
    accounts = Accounts(config, ranks, Cadence(config, plan), loss, progress, None, None, None, float)
    for step in range(1, 6):
        progress.step = step
        accounts.add(torch.tensor([10.0**step]))
        if step in cuts or step == 5:
            accounts.drain()
            assert progress.epoch.windows == (0, 3, 6, 7, 3, 6)[step]
    assert progress.epoch.terms == {"one": 110_000}
    assert progress.interval == Sums(13, {"one": 111_110})
