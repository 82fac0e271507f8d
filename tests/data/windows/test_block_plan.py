"""The order of an epoch of streamed frames."""

import numpy as np
import pytest

from glagcn.data.windows.block_plan import BlockPlan
from glagcn.data.windows.plan import EpochPlan, share_bounds


class Tiny(BlockPlan):
    block_frames, group_blocks = 7, 3


CENTERS = {
    "all": np.arange(200),
    "strided": np.arange(5, 400, 3),
    "gaps": np.concatenate([np.arange(40), np.arange(90, 91), np.arange(300, 350)]),
    "one": np.array([13]),
}


def epoch_of(plan, epoch):
    batches = [plan.batch(epoch, index) for index in range(plan.steps_per_epoch)]
    return [np.concatenate([getattr(b, name) for b in batches]) for name in ("frames", "flips", "groups")]


@pytest.mark.parametrize("centers", CENTERS.values(), ids=CENTERS)
@pytest.mark.parametrize("flip", ["copy", "random", "none"])
@pytest.mark.parametrize("batch_size", [1, 8, 64, 1000])
def test_every_window_comes_once_an_epoch(centers, flip, batch_size):
    plan, whole = (kind(centers, batch_size, flip, seed=3) for kind in (Tiny, EpochPlan))
    assert (plan.num_windows, plan.steps_per_epoch) == (whole.num_windows, whole.steps_per_epoch)
    for epoch in (0, 5):
        frames, flips, _ = epoch_of(plan, epoch)
        expected = [whole.batch(epoch, index) for index in range(whole.steps_per_epoch)]
        if flip == "random":  # which of them are mirrored goes by their place
            flips, expected = flips & False, [batch._replace(flips=batch.flips & False) for batch in expected]
        assert sorted(zip(frames.tolist(), flips.tolist(), strict=True)) == sorted(
            (frame, flag) for batch in expected for frame, flag in zip(batch.frames.tolist(), batch.flips, strict=True)
        )


@pytest.mark.parametrize("centers", CENTERS.values(), ids=CENTERS)
def test_windows_come_from_the_blocks_of_their_group_in_turn(centers):
    plan = Tiny(centers, 8, "copy", seed=1)
    blocks = len(np.unique(centers // 7))
    assert plan.num_groups == -(-blocks // 3)
    for epoch in (0, 2):
        frames, _, groups = epoch_of(plan, epoch)
        assert (np.diff(groups) >= 0).all()
        assert set(groups) == set(range(epoch * plan.num_groups, (epoch + 1) * plan.num_groups))
        sizes = []
        for group in np.unique(groups):
            spans = plan.spans(int(group))
            sizes.append(len(spans))
            assert sorted(set(frames[groups == group] // 7)) == (spans[:, 0] // 7).tolist()
            assert (spans[:, 0] // 7 == spans[:, 1] // 7).all()
            assert set(spans.flatten()) <= set(frames[groups == group])
        assert max(sizes) <= plan.max_group_blocks <= 3
        assert max(sizes) - min(sizes) <= 1


def test_is_a_function_of_seed_epoch_and_index_alone():
    asked, fresh = Tiny(np.arange(200), 16, "random", 4, distort=True), None
    for epoch, index in [(3, 7), (0, 0), (3, 8), (9, 2), (0, 1)]:
        fresh = Tiny(np.arange(200), 16, "random", 4, distort=True)
        for part, other in zip(asked.batch(epoch, index), fresh.batch(epoch, index), strict=True):
            np.testing.assert_array_equal(part, other)
    assert (epoch_of(asked, 0)[0] != epoch_of(asked, 1)[0]).any()
    assert (epoch_of(asked, 0)[0] != epoch_of(Tiny(np.arange(200), 16, "random", 5), 0)[0]).any()


def test_blocks_and_the_windows_in_a_group_are_shuffled():
    class Wide(BlockPlan):
        block_frames, group_blocks = 100, 10

    plan = Wide(np.arange(10_000), 200, "none", seed=0)
    frames, _, groups = epoch_of(plan, 0)
    first = frames[groups == 0]
    assert len(np.unique(first[:200] // 100)) == 10  # a batch has windows of every block of its group
    assert abs(np.corrcoef(np.arange(len(first)), first)[0, 1]) < 0.1
    assert np.unique(first // 100).tolist() != list(range(10))
    again, _, groups = epoch_of(plan, 1)
    assert set(again[groups == 10] // 100) != set(first // 100)  # other blocks are together


def test_windows_are_shuffled_anew_in_every_group_and_epoch():
    class Single(BlockPlan):
        block_frames, group_blocks = 100, 1

    plan = Single(np.arange(300), 100, "none", seed=0)
    orders = [plan.batch(epoch, index).frames % 100 for epoch in (0, 1) for index in range(3)]
    assert len({tuple(order) for order in orders}) == 6


def test_draws_are_those_of_the_resident_order():
    """What is drawn for the windows of a batch does not depend on which windows they are."""
    streamed, resident = (
        kind(np.arange(150), 40, "random", 2, distort=True, camera_draws=3) for kind in (Tiny, EpochPlan)
    )
    for epoch, index in ((0, 0), (1, 0), (1, 3)):
        one, other = streamed.batch(epoch, index), resident.batch(epoch, index)
        for name in ("flips", "distortions", "camera_draws"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert (one.frames != other.frames).any()


@pytest.mark.parametrize("world_size", [1, 2, 3, 64])
def test_shares_are_the_batch_with_its_groups(world_size):
    whole = Tiny(np.arange(200), 50, "copy", 0).batch(0, 1)
    assert len(set(whole.groups)) > 1
    shares = [whole.part(*share_bounds(len(whole.frames), rank, world_size)) for rank in range(world_size)]
    for name in ("frames", "flips", "groups"):
        np.testing.assert_array_equal(np.concatenate([getattr(s, name) for s in shares]), getattr(whole, name))


def test_the_default_sizes_mix_many_blocks_in_little_memory():
    plan = BlockPlan(np.arange(10_527_360), 1200, "copy", 0)
    assert plan.num_windows == 21_054_720
    batch = plan.batch(0, 17)
    assert len(np.unique(batch.frames // plan.block_frames)) > 200
    assert (
        plan.max_group_blocks * (plan.block_frames + 242) * 340 < 111e6
    )  # a group with windows of 243 frames of 17 joints
