"""The operators that a GPU is given, counted without one: their number, and that no product has to go unaligned.

Fake tensors have shapes, types and strides, and no numbers.
"""

from collections import Counter

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from glagcn.model.gla_gcn import blocks, prepared
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton

SKELETON = get_skeleton("mpi3dhp17")
WINDOWS, FRAMES, BLOCKS = 150, 81, 13  # of the model below
LARGE = 10**6  # multiplications of a product that counts
ROW = 8  # numbers of bfloat16 in 16 bytes
COORDINATES = 3  # channels of the sequence head, where nothing can be aligned
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward"}
COPIES = {"clone", "copy_", "cat", "constant_pad_nd", "_to_copy"}
NO_WORK = {"detach", "empty", "empty_like", "_unsafe_view", "_reshape_alias"}
MOST_IN_TRAINING, MOST_IN_EVALUATION = 118, 24  # operators a block


def network(input: str = "xy") -> LiftingNetwork:
    return LiftingNetwork(SKELETON, (3, 3, 3, 3), 256, sequence_layers=3, dropout=0.0, input=input, relative=True)


class Recorder(TorchDispatchMode):
    """Notes every operator that computes, with what it reads and gives."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        result = operator(*arguments, **(options or {}))
        name = operator.overloadpacket.__name__
        if operator.namespace == "aten" and not operator.is_view and name not in NO_WORK:
            self.calls.append((name, arguments, result))
        return result


def recorded_training(input: str = "xy") -> list:
    """Forward and backward of one micro-batch in bfloat16."""
    model = network(input).train()
    with FakeTensorMode(allow_non_fake_inputs=True), Recorder() as recorder:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(torch.empty(WINDOWS, *model.window_shape))
        (out.target.sum() + out.sequence.sum()).backward()
    return recorder.calls


def recorded_evaluation() -> list:
    """A forward pass in float32, in the form that a GPU computes."""
    model = network().for_prediction()
    with pytest.MonkeyPatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        for module in (blocks, prepared):
            patch.setattr(module, "is_plain", lambda x: False)
        with Recorder() as recorder:
            model(torch.empty(WINDOWS, FRAMES, 17, 2))
    return recorder.calls


RECORDED = {"training": recorded_training, "evaluation": recorded_evaluation}


@pytest.fixture(scope="module", params=list(RECORDED))
def calls(request):
    return RECORDED[request.param]()


def tensors(values) -> list[torch.Tensor]:
    values = values if isinstance(values, tuple | list) else [values]
    return [value for value in values if isinstance(value, torch.Tensor) and value.dim() > 1]


def multiplications(name: str, arguments, result) -> int:
    if name == "convolution":
        return result.numel() * arguments[1][0].numel()
    if name == "convolution_backward":
        gradient, _, weight = arguments[:3]
        return gradient.numel() * weight[0].numel()
    left = arguments[1] if name in ("addmm", "baddbmm") else arguments[0]
    return result.numel() * left.shape[-1]


def row(x: torch.Tensor, image: bool) -> int:
    """How many numbers lie together: in channels-last images the channels, in matrices a row or a column."""
    stride = {axis: x.stride(axis) for axis in range(x.dim())}
    axes = [1, *range(x.dim())] if image else range(x.dim() - 1, -1, -1)
    return next((x.shape[axis] for axis in axes if stride[axis] == 1 and x.shape[axis] > 1), 1)


def large_products(calls) -> list:
    found = [(name, arguments, result) for name, arguments, result in calls if name in PRODUCTS]
    return [call for call in found if multiplications(*call) > LARGE]


def test_no_convolution_is_dilated_or_split_into_groups(calls):
    for name, arguments, _ in calls:
        if name == "convolution":
            dilation, transposed, _, groups = arguments[5:9]
            assert (set(dilation), transposed, groups) == ({1}, False, 1)


def test_every_row_of_a_large_product_is_aligned(calls):
    unaligned = []
    for name, arguments, result in large_products(calls):
        image = name.startswith("convolution")
        parts = tensors(list(arguments)) + tensors(result)
        if image and any(COORDINATES in part.shape[:2] for part in parts):
            continue
        if bad := [(tuple(part.shape), part.stride()) for part in parts if row(part, image) % ROW]:
            unaligned.append((name, bad))
    assert unaligned == []


def test_large_products_are_there_and_are_bfloat16_in_training():
    found = large_products(recorded_training())
    assert len(found) > 10 * BLOCKS
    kinds = {part.dtype for name, arguments, _ in found for part in tensors(list(arguments))}
    assert kinds == {torch.bfloat16}


def test_few_operators_make_a_block(calls, request):
    most = MOST_IN_TRAINING if request.node.callspec.params["calls"] == "training" else MOST_IN_EVALUATION
    assert len(calls) <= most * BLOCKS, len(calls) / BLOCKS


def test_maps_are_only_copied_to_pad_their_joints_and_to_join_gradients(calls, request):
    """Each of the five full-length blocks of all channels, and the sequence head, copies a map that often."""
    training = request.node.callspec.params["calls"] == "training"
    size = WINDOWS * FRAMES * 17 * 256
    copies = [name for name, _, made in calls if name in COPIES for r in tensors(made) if r.numel() >= size]
    # In the backward pass: theta, phi and the rest side by side, and the gradient without the pad.
    expected = {"constant_pad_nd": 12, "cat": 6} if training else {"constant_pad_nd": 5}
    assert Counter(copies) == expected
