"""The order of an epoch, and what is drawn for its windows."""

import numpy as np
import pytest

from glagcn.data.plan import EpochPlan, share_bounds


def order(count, seed, epoch=0):
    """All windows of an epoch."""
    return EpochPlan(np.arange(count), count, "none", seed).batch(epoch, 0).frames


@pytest.mark.parametrize("flip", ["copy", "random", "none"])
@pytest.mark.parametrize("count", [1, 2, 37, 1000, 10_007])
def test_every_window_comes_once_in_pieces_of_one_list(flip, count):
    plan = EpochPlan(np.arange(100, 100 + count), 96, flip, seed=3)
    batches = [plan.batch(2, index) for index in range(plan.steps_per_epoch)]
    frames, flips = (np.concatenate([getattr(batch, part) for batch in batches]) for part in ("frames", "flips"))
    copies = 2 if flip == "copy" else 1
    assert sorted(frames) == sorted(np.repeat(np.arange(100, 100 + count), copies))
    assert [len(batch.frames) for batch in batches[:-1]] == [96] * (plan.steps_per_epoch - 1)
    assert len(plan.batch(2, plan.steps_per_epoch).frames) == 0
    if flip == "copy":
        assert sorted(frames[flips]) == list(range(100, 100 + count))
    assert flips.any() == (flip != "none") or count < 9


@pytest.mark.parametrize("world_size", [1, 3, 64])
@pytest.mark.parametrize("count", [1, 7, 64, 65])
def test_shares_are_the_whole_whatever_the_world_size(world_size, count):
    bounds = [share_bounds(count, rank, world_size) for rank in range(world_size)]
    assert [number for begin, end in bounds for number in range(begin, end)] == list(range(count))
    sizes = [end - begin for begin, end in bounds]
    assert max(sizes) - min(sizes) <= 1
    assert sizes[0] == max(sizes)


def test_a_batch_is_the_same_whichever_came_before():
    """As where a run is resumed in the middle of an epoch."""

    def plan():
        return EpochPlan(np.arange(1000), 96, "random", 7, distort=True, camera_draws=2)

    running = plan()
    for epoch, index in ((0, 0), (3, 4), (3, 5), (0, 1), (3, 6)):
        for part, other in zip(running.batch(epoch, index)[:4], plan().batch(epoch, index)[:4], strict=True):
            np.testing.assert_array_equal(part, other)


def test_seeds_and_epochs_give_other_orders():
    orders = [order(500, *seed) for seed in ((0, 0), (0, 1), (1, 0), (1, 1))]
    for number, one in enumerate(orders):
        for other in orders[:number]:
            assert (one == other).sum() < 10  # one on average; ten once in ten million times


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
