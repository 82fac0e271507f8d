"""The order of an epoch, and what is drawn for its windows."""

import numpy as np
import pytest

from glagcn.data.plan import EpochPlan


def order(count, seed, epoch=0, batch_size=None):
    """All windows of an epoch, one after the other."""
    plan = EpochPlan(np.arange(count), batch_size or count, "none", seed)
    return np.concatenate([plan.batch(epoch, index).frames for index in range(plan.steps_per_epoch)])


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 37, 1000, 1023, 10_007])
def test_every_number_comes_once(count):
    for epoch in range(3):
        assert sorted(order(count, 0, epoch)) == list(range(count))


def test_batches_are_pieces_of_one_list():
    plan = EpochPlan(np.arange(1000), 96, "none", 7)
    pieces = [plan.batch(2, index).frames for index in range(plan.steps_per_epoch)]
    assert [len(piece) for piece in pieces] == [96] * 10 + [40]
    np.testing.assert_array_equal(np.concatenate(pieces), order(1000, 7, 2))
    assert len(plan.batch(2, plan.steps_per_epoch).frames) == 0


def test_a_batch_is_the_same_whichever_came_before():
    """As where a run is resumed in the middle of an epoch."""

    def plan():
        return EpochPlan(np.arange(1000), 96, "random", 7, distort=True, camera_draws=2)

    running = plan()
    for epoch, index in ((0, 0), (3, 4), (3, 5), (0, 1), (3, 6)):
        for part, other in zip(running.batch(epoch, index)[:4], plan().batch(epoch, index)[:4], strict=True):
            np.testing.assert_array_equal(part, other)


def test_nothing_is_left_out_at_the_size_of_a_data_set():
    assert (np.bincount(order(2_105_472, 0, batch_size=100_000)) == 1).all()


def test_seeds_and_epochs_give_other_orders():
    orders = [order(500, *seed) for seed in ((0, 0), (0, 1), (1, 0), (1, 1))]
    for number, one in enumerate(orders):
        for other in orders[:number]:
            # Two random orders agree at one place on average, and at ten or more once in ten million times.
            assert (one == other).sum() < 10


def test_the_order_looks_drawn():
    """Over many seeds each of few numbers comes first equally often, and the place of one tells nothing of the next."""
    first = np.array([order(10, seed)[:2] for seed in range(4000)])
    pairs = np.bincount(first[:, 0] * 10 + first[:, 1], minlength=100).reshape(10, 10)
    assert np.diag(pairs).sum() == 0
    expected = 4000 / 90
    chi_squared = ((pairs[~np.eye(10, dtype=bool)] - expected) ** 2 / expected).sum()
    assert chi_squared < 89 + 4 * np.sqrt(2 * 89)


def test_neighbours_are_far_apart():
    drawn = order(1_000_000, 0)[:100_000].astype(float)
    assert abs(drawn.mean() / 1_000_000 - 0.5) < 0.005
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.02
    # The distance of two drawn numbers is a third of the range on average.
    assert np.abs(np.diff(drawn)).mean() / 1_000_000 == pytest.approx(1 / 3, abs=0.005)


def test_draws_are_fair_and_others_in_every_batch_and_epoch():
    plan = EpochPlan(np.arange(180_000), 90_000, "random", 3, distort=True, camera_draws=1)
    batches = [plan.batch(*place) for place in ((0, 0), (0, 1), (1, 0), (1, 1))]
    for number, batch in enumerate(batches):
        counts = np.bincount(batch.distortions)
        assert len(counts) == 9
        assert np.abs(counts - 10_000).max() < 500
        assert batch.flips.mean() == pytest.approx(1 / 2, abs=0.01)
        halves = batch.distortions[batch.flips], batch.distortions[~batch.flips]
        assert halves[0].mean() == pytest.approx(halves[1].mean(), abs=0.1)
        for other in batches[:number]:
            assert (batch.distortions == other.distortions).mean() == pytest.approx(1 / 9, abs=0.01)
            assert (batch.flips == other.flips).mean() == pytest.approx(1 / 2, abs=0.01)
            assert abs(np.corrcoef(batch.camera_draws[:, 0], other.camera_draws[:, 0])[0, 1]) < 0.02


def test_one_draw_does_not_change_another():
    alone = {"distort": EpochPlan(np.arange(90), 90, "none", 3, distort=True).batch(0, 0).distortions}
    alone["camera_draws"] = EpochPlan(np.arange(90), 90, "none", 3, camera_draws=2).batch(0, 0).camera_draws
    together = EpochPlan(np.arange(90), 90, "random", 3, distort=True, camera_draws=2).batch(0, 0)
    np.testing.assert_array_equal(together.distortions, alone["distort"])
    np.testing.assert_array_equal(together.camera_draws, alone["camera_draws"])
    np.testing.assert_array_equal(together.frames, order(90, 3))
    assert together.camera_draws.dtype == np.float32
    assert (np.abs(together.camera_draws) <= 1).all()
    assert together.part(3, 5).camera_draws.shape == (2, 2)
