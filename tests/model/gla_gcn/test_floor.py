"""The floor's counts, against cases counted by hand."""

import pytest

from glagcn.model.cost import count_cost
from glagcn.model.floor import Cost, Peaks, evaluation_cost, input_cost, training_cost
from glagcn.model.gla_gcn.floor import SUBSETS, Block, blocks, forward_flops
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import get_skeleton


def network(**form):
    return LiftingNetwork(get_skeleton("mpi3dhp17"), (3,), 8, **form)


def test_operations_of_a_block_counted_by_hand():
    # 8 to 8 channels, 2 embedding channels, 3 frames of 2 joints.
    block = Block(8, 8, frames=3, joints=2)
    embedding = 2 * (3 * 2) * 8 * 12  # 6 places, 8 channels, 2 factors of 3 subsets of 2
    products = 2 * 3 * 4 * 2 * 3  # 3 subsets, 2 x 2 joints, 2 channels of 3 frames
    aggregation = 2 * 3 * 4 * 3 * 8
    mix = 2 * 3 * 6 * 8 * 8
    temporal = 2 * 9 * 6 * 8 * 8
    assert block.flops == embedding + products + aggregation + mix + temporal == 1152 + 144 + 576 + 2304 + 6912


def test_a_change_of_channels_costs_two_convolutions_and_aggregates_the_smaller_side():
    block = Block(4, 8, frames=3, joints=2)
    expected = 2 * 6 * 4 * 12 + 144 + 2 * 3 * 4 * 3 * 4 + 2 * 3 * 6 * 4 * 8 + 6912 + 2 * (2 * 6 * 4 * 8)
    assert block.flops == expected
    assert Block(8, 4, 3, 2).flops < Block(8, 8, 3, 2).flops


def test_a_stride_leaves_a_third_of_the_temporal_work():
    whole, third = Block(8, 8, 3, 2), Block(8, 8, 3, 2, stride=3, residual=False)
    assert whole.flops - third.flops == 6912 * 2 // 3


def test_numbers_of_a_block_counted_by_hand():
    assert Block(4, 8, frames=3, joints=2).numbers(training=True) == 3 * 24 + 2 * 48 + 3 * 48
    assert Block(8, 8, 3, 2, stride=3, residual=False).numbers(training=True) == 2 * 48 + 2 * 48 + 3 * 16
    assert Block(4, 8, frames=3, joints=2).numbers(training=False) == 24 + 48


@pytest.mark.parametrize("form", [{}, {"sequence_layers": 0, "head": "shared"}, {"head": "mixed"}], ids=str)
def test_it_is_no_more_than_the_model_does_and_not_much_less(form):
    """What PyTorch counts while the model runs bounds the fewest operations from above."""
    model = network(**form)
    counted = count_cost(model)[1]
    assert 0.9 * counted <= forward_flops(model) <= counted


def test_where_no_order_is_better_the_counts_are_equal():
    """Without a sequence head every block aggregates on the smaller side already.

    Beyond the floor the network computes what phi's biases add, as a row of its own; its outputs are no products.
    """
    model = network(sequence_layers=0, head="shared")
    rows = sum(2 * SUBSETS * block.before * block.frames * block.joints for block in blocks(model))
    outputs = 2 * 3 * model.channels * model.skeleton.num_joints
    assert forward_flops(model) + rows - outputs == count_cost(model)[1]


def test_blocks_follow_the_model():
    shapes = [(block.before, block.after, block.frames, block.stride) for block in blocks(network(sequence_layers=1))]
    assert shapes == [(2, 8, 3, 1), (8, 8, 3, 1), (8, 3, 3, 1), (8, 8, 3, 1), (8, 8, 3, 3)]


def test_costs_of_a_step_and_of_an_evaluation():
    model = network()
    weights = sum(weight.numel() for weight in model.parameters())
    one, two = training_cost(model, 1), training_cost(model, 2)
    assert one.flops == 3 * forward_flops(model)
    assert two.bytes - one.bytes == one.bytes - 40 * weights
    halved = training_cost(model, 1, number_bytes=2)
    assert halved.bytes - 40 * weights == (one.bytes - 40 * weights) // 2
    plain, flipped = (evaluation_cost(model, 5, flip) for flip in (False, True))
    assert (flipped.flops, flipped.bytes) == (2 * plain.flops, 2 * plain.bytes)
    assert model.sequence_head is not None
    model.sequence_head = None  # evaluation has no use for it
    assert plain.flops == 5 * forward_flops(model)
    assert input_cost(model, 2).bytes == 2 * 4 * 2 * 3 * 17 * 5


def test_the_floor_is_the_scarcer_of_both():
    peaks = Peaks(flops=100.0, bytes=10.0)
    assert Cost(flops=200, bytes=10).seconds(peaks) == 2
    assert Cost(flops=200, bytes=50).seconds(peaks) == 5
