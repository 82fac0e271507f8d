import numpy as np
import pytest
import torch

from glagcn.config.resolve import parse_command_line
from glagcn.data.plan import EpochPlan
from glagcn.errors import UserError
from glagcn.train.cadence import Cadence
from glagcn.train.optim import bn_momentum, fitting_batch, learning_rate, planned_epochs, planned_steps, planned_windows
from glagcn.train.setup import Selection, settle

PLAN = EpochPlan(np.arange(1000), 100, "none", 0)  # 10 steps an epoch
UNEVEN = EpochPlan(np.arange(1010), 100, "none", 0)  # 11 steps, the last one of 10 windows


def config(line):
    return parse_command_line(line.split()).config.optim


def settled(line, centers=1000, scored=0, **earlier):
    selection = Selection(None, None, None, np.arange(centers), scored)
    config, origin, _ = parse_command_line(line.split())
    return settle(config, selection, "fp32", earlier, None, origin)


def test_published_decay_halves_every_fifth_epoch_instead():
    published = config("-d 3dhp --recipe published --lr 1")
    rates = [learning_rate(published, PLAN, 10 * epoch + 5) for epoch in range(7)]
    expected = [1, 0.95, 0.95**2, 0.95**3, 0.95**4, 0.95**4 * 0.5, 0.95**5 * 0.5]
    assert rates == pytest.approx(expected)


def test_published_cosine_is_that_of_pytorch_epoch_by_epoch():
    published = config("-d h36m --epochs 12")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12, eta_min=1e-5)
    for epoch in range(12):
        for index in (0, 7):
            expected = pytest.approx(reference.get_last_lr()[0])
            assert learning_rate(published, PLAN, 10 * epoch + index) == expected
        optimizer.step()
        reference.step()


def test_published_bn_momentum_falls_from_a_tenth_to_a_thousandth():
    published = config("-d humaneva15 --epochs 10")
    assert [bn_momentum(published, PLAN, epoch) for epoch in (0, 5, 10)] == pytest.approx([0.1, 0.01, 0.001])
    assert {bn_momentum(config("-d 3dhp"), PLAN, epoch) for epoch in range(49)} == {0.1}


@pytest.mark.parametrize("budget", ["--epochs 10", "--windows 10000"])
def test_tuned_rate_falls_from_lr_to_lr_final(budget):
    flags = f"-d demo --schedule exponential --lr 4e-3 --lr_final 2e-4 --warmup 0 {budget}"
    tuned = config(flags)
    rates = [learning_rate(tuned, PLAN, step) for step in (0, 50, 100, 120)]
    assert rates == pytest.approx([4e-3, (4e-3 * 2e-4) ** 0.5, 2e-4, 2e-4])
    line = config(f"{flags} --schedule linear")
    assert learning_rate(line, PLAN, 25) == pytest.approx(4e-3 - 0.25 * (4e-3 - 2e-4))


def test_warmup_rises_over_the_first_windows_of_any_batch_size():
    flat = config("-d demo --schedule exponential --lr 1 --lr_final 1 --warmup 400")
    assert [learning_rate(flat, PLAN, step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    halves = EpochPlan(np.arange(1000), 50, "none", 0)
    assert [learning_rate(flat, halves, step) for step in (1, 3, 7, 8)] == pytest.approx([0.25, 0.5, 1, 1])


def test_without_a_number_of_windows_the_rate_rises_over_sixteen_steps():
    for plan in (PLAN, EpochPlan(np.arange(1000), 50, "none", 0)):
        run = settled("-d 3dhp --schedule exponential --lr 1 --lr_final 1", batch_size=plan.batch_size)
        assert [learning_rate(run.optim, plan, step) for step in (0, 7, 15, 16)] == pytest.approx([1 / 16, 0.5, 1, 1])
    run = settled("-d 3dhp --warmup 5", batch_size=70, warmup=9)
    assert (run.optim.warmup, run.optim.batch_size, run.optim.precision) == (5, 70, "fp32")
    assert settled("-d 3dhp --windows 300000").optim.batch_size == 300


@pytest.mark.parametrize(("windows", "batch"), [
    (1, 64), (64_999, 64), (65_000, 65), (500_000, 500), (1_200_000, 1200), (103_000_000, 1200),
])  # fmt: skip
def test_a_long_run_takes_large_batches_and_a_short_one_as_many_steps_as_it_can(windows, batch):
    assert fitting_batch(windows) == batch


def test_the_plan_is_counted_in_windows():
    assert (planned_steps(config("-d demo --epochs 3"), UNEVEN), UNEVEN.windows_until(33)) == (33, 3030)
    part = config("-d demo --windows 2525")
    assert planned_windows(part, UNEVEN) == 2525
    assert planned_epochs(part, UNEVEN) == 2.5
    assert planned_steps(part, UNEVEN) == 22 + 6  # 505 windows into the third epoch
    for windows in range(1, 2200):
        step = UNEVEN.steps_for(windows)
        assert UNEVEN.windows_until(step) >= windows > UNEVEN.windows_until(step - 1)


@pytest.mark.parametrize(("flags", "scored", "every"), [
    ("--epochs 2", 400, 2800),                    # the demo: ten points, and 400 x 2 / 3 x 10 < 2,800 windows
    ("--epochs 2", 2000, None),                   # a tenth of the training pays for two, as many as epochs
    ("--epochs 2", 1000, 7000),                   # for four
    ("--epochs 2 --no-test_flip", 1000, 3500),    # for eight, of half the predictions
    ("--epochs 4", 400, 5600),
    ("--epochs 5", 400, None),                    # not short
    ("--windows 69999", 400, 7000),
    ("--windows 70000", 400, None),
    ("--epochs 2", 0, None),                      # --select_on last
    ("--epochs 2 --eval_epochs 1", 400, None),    # as given
    ("--epochs 2 --no-eval", 400, None),
    ("--epochs 2 --eval_windows 77", 400, 77),
    ("--epochs 2 --max_steps 20", 400, 2800),     # a longer run resumes with the same evaluations
])  # fmt: skip
def test_a_short_run_is_evaluated_ten_times_if_that_is_cheap(flags, scored, every):
    assert settled(f"-d demo {flags}", 14_000, scored).selection.eval_windows == every


@pytest.mark.parametrize("flags", ["--windows 5 --epochs 1", "--eval_windows 5 --eval_epochs 2"])
def test_two_budgets_are_one_too_many(flags):
    with pytest.raises(UserError, match="are alternatives"):
        config(f"-d demo {flags}")


@pytest.mark.parametrize(
    ("line", "scheduled"),
    [
        ("--epochs 3 --eval_epochs 2", [20, 30]),
        ("--epochs 3 --eval_epochs 1", [10, 20, 30]),
        ("--epochs 3 --eval_epochs 1 --select_on last", [30]),
        ("--windows 3000 --eval_windows 700", [7, 14, 21, 28, 30]),
    ],
)
def test_evaluations_come_at_their_interval_and_at_the_planned_end(line, scheduled):
    for flags, last in ((line, 30), (f"{line} --max_steps 25", 25)):
        cadence, steps = Cadence(parse_command_line(flags.split()).config, PLAN), range(1, last + 1)
        due = [step for step in scheduled if step <= last]
        assert [step for step in steps if cadence.is_scheduled(step)] == due
        assert [step for step in steps if cadence.evaluates(step)] == sorted({*due, last})
