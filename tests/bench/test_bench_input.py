"""The plain loader and the plain step make what ours make."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from glagcn.bench.launched.streaming import cut
from glagcn.bench.reference.loader import ReferenceLoader
from glagcn.bench.reference.steps import ReferenceStepper, reference_mpjpe
from glagcn.bench.reference.weights import reference_of
from glagcn.bench.synthetic_data import RepeatedMotion, make_cache
from glagcn.config.resolve import parse_command_line
from glagcn.data.cache.reader import open_cache
from glagcn.data.sources.mpi_inf_3dhp.facts import TRAIN_SEQUENCES
from glagcn.data.windows.plan import EpochPlan, WindowIds, share
from glagcn.data.windows.store import FrameStore
from glagcn.distributed.ranks import Ranks
from glagcn.evaluation.evaluate import scored_frames
from glagcn.evaluation.metrics import joint_errors
from glagcn.evaluation.predict import predict_frames
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import get_skeleton
from glagcn.training.step import Stepper

SKELETON = get_skeleton("mpi3dhp17")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cache(demo_root):
    return open_cache(demo_root / "demo_gt.h5")


def network():
    torch.manual_seed(0)
    return LiftingNetwork(SKELETON, (3, 3), 4, sequence_layers=1, dropout=0.0)


@pytest.mark.parametrize("frames", [9, 81, 243])
def test_windows_are_ours(cache, frames):
    centers = np.array([0, 1, 100, 249, 250, 251, 499, 3999])  # 243 frames reach beyond both ends of a sequence
    ids = WindowIds(np.tile(centers, 2), np.repeat([False, True], len(centers)))
    ours = FrameStore(cache.train, SKELETON, frames, CPU).windows(ids)
    plain = ReferenceLoader(cache.train, SKELETON, frames).batch(ids)
    torch.testing.assert_close(plain.inputs, ours.inputs, rtol=0, atol=1e-6)
    torch.testing.assert_close(plain.targets, ours.targets, rtol=0, atol=1e-6)
    assert plain.inputs.dtype == torch.float32


def test_windows_are_the_published_ones():
    arrays = dict(np.load(Path(__file__).parents[1] / "golden" / "windows_3dhp_27f.npz"))
    picks = json.loads(str(arrays["picks"]))
    from tests.data.windows.test_windows import golden_split

    split, first = golden_split(arrays, picks)
    loader = ReferenceLoader(split, SKELETON, 27)
    others = [joint for joint in range(17) if joint != SKELETON.root]
    for number, (key, center, flipped) in enumerate(picks):
        batch = loader.batch(WindowIds(np.array([first[tuple(key)] + center]), np.array([flipped])))
        expected = torch.from_numpy(arrays[f"window{number}_2d"]).float().view(27, 17, 2)
        torch.testing.assert_close(batch.inputs[0], expected, rtol=0, atol=1e-6)
        expected = torch.from_numpy(arrays[f"window{number}_3d"]).float().view(27, 17, 3)[:, others] / 1000
        torch.testing.assert_close(batch.targets[0][:, others], expected, rtol=0, atol=1e-6)


def test_a_sample_leaves_the_sequence_as_it_was(cache):
    loader = ReferenceLoader(cache.train, SKELETON, 9)
    before = loader.poses_2d[0].copy()
    loader.sample(0, 20, True)
    np.testing.assert_array_equal(loader.poses_2d[0], before)


def test_a_step_moves_the_weights_as_ours_does(cache):
    flags = "--dataset demo --frames 9 --dropout 0 --optimizer adam --workers 1"
    config, _, _ = parse_command_line(flags.split())
    batch = FrameStore(cache.train, SKELETON, 9, CPU).windows(EpochPlan(np.arange(400), 16, "copy", 0).batch(0, 0))
    model = network()
    plain = ReferenceStepper(reference_of(model), config.optim.lr, config.optim.sequence_weight, model.target_frame)
    stepper = Stepper(config.optim, Ranks(config.run.workers), copy.deepcopy(model))
    stepper.model.train()
    for _ in range(3):
        loss = plain.step(batch)
        sums = stepper.gradient(batch, share(16, 16, 0, 1))
        assert loss == pytest.approx(sum(value.item() for value in sums) / 16, rel=1e-3)
        stepper.apply(config.optim.lr)


def test_evaluation_gives_our_figure(cache):
    config, _, _ = parse_command_line(["--dataset", "demo", "--frames", "9", "--workers", "1"])
    model = network()
    frames = scored_frames(cache.test, 40)
    store = FrameStore(cache.test, SKELETON, 9, CPU)
    predicted = predict_frames(model, store, frames, Ranks(config.run.workers), flip=True, zero_root=True)
    target = cache.test.millimetres[frames].astype(np.float64)
    target -= target[:, SKELETON.root : SKELETON.root + 1]
    loader = ReferenceLoader(cache.test, SKELETON, 9)
    plain = reference_mpjpe(
        reference_of(model), loader, SKELETON, frames, frame=model.target_frame, batch_size=16
    )  # the last batch is smaller
    assert plain == pytest.approx(joint_errors(predicted, target).mean(), rel=1e-5)


def test_the_large_data_set_has_the_official_size():
    source = RepeatedMotion()
    infos = source.infos("train")
    assert len(infos) == 8 * len(TRAIN_SEQUENCES)
    assert sum(info.length for info in infos) == 1_052_736
    assert sum(info.length for info in source.infos("test")) == 24_888
    assert sum(int(sequence.valid.sum()) for sequence in source.read("test")) == 2_875
    many = RepeatedMotion(copies=3).infos("train")
    assert sum(info.length for info in many) == 3 * 1_052_736
    assert len({info.name for info in many}) == len(many)


def test_a_split_cut_into_pieces_has_the_same_frames(cache):
    split = cut(cache.train, 7)
    assert len(split.sequences) == 7 * len(cache.train.sequences)
    ends = split.starts + [info.length for info in split.sequences]
    assert split.starts[0] == 0
    np.testing.assert_array_equal(split.starts[1:], ends[:-1])
    assert ends[-1] == len(split.pixels) == len(cache.train.pixels)


def test_the_cache_opens_as_any_other(tmp_path):
    cache = make_cache("demo", tmp_path)
    assert open_cache(cache.path).train.pixels.shape == (16_000, 17, 2)
