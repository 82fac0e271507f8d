"""The plain reference computes what the published code does, and what ours does: windows, model, step, evaluation."""

import copy

import numpy as np
import pytest
import torch

from glagcn.config.resolve import parse_command_line
from glagcn.data.cache import open_cache
from glagcn.data.plan import BatchSpec, EpochPlan, share
from glagcn.data.windows import FrameStore
from glagcn.evaluate.evaluate import predict_frames, scored_frames
from glagcn.evaluate.metrics import joint_errors
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.skeletons import get_skeleton
from glagcn.train.loop import Stepper
from tests.reference_model import ReferenceLoader, ReferenceStepper, reference_mpjpe, reference_of

SKELETON = get_skeleton("mpi3dhp17")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cache(demo_root):
    return open_cache(demo_root / "demo_gt.h5")


def network():
    torch.manual_seed(0)
    return LiftingNetwork(SKELETON, (3, 3), 4, sequence_layers=1, dropout=0.0)


@pytest.mark.parametrize("frames", [9, 243])
def test_windows_are_ours(cache, frames):
    centers = np.array([0, 1, 100, 249, 250, 251, 499, 3999])  # 243 frames reach beyond both ends of a sequence
    ids = BatchSpec(np.tile(centers, 2), np.repeat([False, True], len(centers)))
    ours = FrameStore(cache.train, SKELETON, frames, CPU).windows(ids)
    plain = ReferenceLoader(cache.train, SKELETON, frames).batch(ids)
    torch.testing.assert_close(plain.inputs, ours.inputs, rtol=0, atol=1e-6)
    torch.testing.assert_close(plain.targets, ours.targets, rtol=0, atol=1e-6)
    assert plain.inputs.dtype == torch.float32


def test_a_step_moves_the_weights_as_ours_does(cache):
    flags = "--dataset demo --frames 9 --dropout 0 --optimizer adam --workers 1"
    config, _, _ = parse_command_line(flags.split())
    batch = FrameStore(cache.train, SKELETON, 9, CPU).windows(EpochPlan(np.arange(400), 16, "copy", 0).batch(0, 0))
    model = network()
    plain = ReferenceStepper(reference_of(model), config.optim.lr, config.optim.sequence_weight, model.target_frame)
    stepper = Stepper(config.optim, copy.deepcopy(model))
    stepper.model.train()
    for _ in range(3):
        loss = plain.step(batch)
        sums = stepper.gradient(batch, share(16, 16, 0, 1))
        assert loss == pytest.approx(sum(value.item() for value in sums) / 16, rel=1e-3)
        stepper.apply(config.optim.lr)


def test_evaluation_gives_our_figure(cache):
    model = network()
    frames = scored_frames(cache.test, 40)
    store = FrameStore(cache.test, SKELETON, 9, CPU)
    predicted = predict_frames(model, store, frames, flip=True, zero_root=True)
    target = cache.test.millimetres[frames].astype(np.float64)
    target -= target[:, SKELETON.root : SKELETON.root + 1]
    loader = ReferenceLoader(cache.test, SKELETON, 9)
    plain = reference_mpjpe(
        reference_of(model), loader, SKELETON, frames, frame=model.target_frame, batch_size=16
    )  # the last batch is smaller
    assert plain == pytest.approx(joint_errors(predicted, target).mean(), rel=1e-5)


def small(**form) -> LiftingNetwork:
    """A network whose every weight and running statistic differs from where it starts, with outputs about a metre."""
    torch.manual_seed(0)
    model = LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3), 8, **({"dropout": 0.0} | form))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and name != "adjacency":
                tensor.add_(torch.rand_like(tensor) * 0.1)
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum = 0.9
        model(windows(8))
    return model


def windows(count=3, frames=9, joints=17):
    return torch.rand(count, frames, joints, 2, generator=torch.Generator().manual_seed(1)) - 0.5


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"head": "shared"},
        {"sequence_layers": 0, "head": "shared"},
        {"causal": True},
        {"graph": get_skeleton("h36m17")},
        {"input_norm": False},
    ],
    ids=lambda form: "-".join(form) or "full",
)
def test_ours_and_the_plain_model_agree(form, training):
    ours = small(**form).train(training)
    plain = reference_of(ours)
    assert plain.training == training
    center, sequence = plain(windows())
    expected = ours(windows())
    torch.testing.assert_close(center, expected.target, rtol=0, atol=1e-5)
    assert (sequence is None) == (expected.sequence is None)
    if sequence is not None:
        torch.testing.assert_close(sequence, expected.sequence, rtol=0, atol=1e-5)
