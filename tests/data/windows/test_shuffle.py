import numpy as np
import pytest

from glagcn.data.windows.shuffle import Shuffle, mix


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 37, 1000, 1023, 10_007])
def test_every_number_comes_once(count):
    for epoch in range(3):
        assert sorted(Shuffle(count, 0, epoch)[0:count]) == list(range(count))


def test_a_slice_is_what_a_list_would_give():
    shuffle = Shuffle(1000, 7, 2)
    whole = shuffle[0:1000]
    pieces = [shuffle[begin : begin + 96] for begin in range(0, 1000, 96)]
    assert [len(piece) for piece in pieces] == [96] * 10 + [40]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert len(shuffle[1000:1100]) == 0


def test_nothing_is_left_out_at_the_size_of_a_data_set():
    assert (np.bincount(Shuffle(2_105_472, 0, 0)[0:2_105_472]) == 1).all()


def test_seeds_and_epochs_give_other_orders():
    orders = [Shuffle(500, *seed)[0:500] for seed in ((0, 0), (0, 1), (1, 0), (1, 1))]
    for number, order in enumerate(orders):
        for other in orders[:number]:
            # Two random orders agree at one place on average, and at ten or more once in ten million times.
            assert (order == other).sum() < 10


def test_the_order_looks_drawn():
    """Over many seeds each of few numbers comes first equally often, and the place of one tells nothing of the next."""
    first = np.array([Shuffle(10, seed)[0:2] for seed in range(4000)])
    pairs = np.bincount(first[:, 0] * 10 + first[:, 1], minlength=100).reshape(10, 10)
    assert np.diag(pairs).sum() == 0
    expected = 4000 / 90
    chi_squared = ((pairs[~np.eye(10, dtype=bool)] - expected) ** 2 / expected).sum()
    assert chi_squared < 89 + 4 * np.sqrt(2 * 89)


def test_neighbours_are_far_apart():
    order = Shuffle(1_000_000, 0, 0)[0:100_000].astype(float)
    assert abs(order.mean() / 1_000_000 - 0.5) < 0.005
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02
    # The distance of two drawn numbers is a third of the range on average.
    assert np.abs(np.diff(order)).mean() / 1_000_000 == pytest.approx(1 / 3, abs=0.005)


def test_draws_are_fair_and_of_their_member_alone():
    shuffle = Shuffle(90_000, 3, 1)
    members = np.arange(90_000)
    draws = shuffle.draw(members, 9)
    counts = np.bincount(draws)
    assert len(counts) == 9
    assert np.abs(counts - 10_000).max() < 500
    np.testing.assert_array_equal(shuffle.draw(members[::-1], 9)[::-1], draws)
    agreeing = (draws == shuffle.draw(members, 9, purpose=1)).mean()
    assert agreeing == pytest.approx(1 / 9, abs=0.01)
    assert (draws == Shuffle(90_000, 3, 2).draw(members, 9)).mean() == pytest.approx(1 / 9, abs=0.01)


def test_mixing_loses_nothing():
    assert len(np.unique(mix(np.arange(100_000, dtype=np.uint64)))) == 100_000
