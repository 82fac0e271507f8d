import numpy as np
import pytest
import torch

from glagcn import dist
from glagcn.data.windows import FrameStore
from glagcn.evaluate.benchmarks import benchmark_of
from glagcn.evaluate.evaluate import EvaluationSet, evaluate, predict_frames, scored_frames
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.model.interface import Model, Prediction
from glagcn.skeletons import get_skeleton
from tests.splits import make_split

SKELETON = get_skeleton("mpi3dhp17")
ROOT = SKELETON.root


def split_of(*lengths, valid=None):
    return make_split({f"TS{number}": length for number, length in enumerate(lengths, start=1)}, "mpi3dhp17", valid)


def test_valid_frames_are_scored():
    np.testing.assert_array_equal(scored_frames(split_of(3, 4, valid=[0, 1, 1, 0, 0, 1, 0])), [1, 2, 5])


@pytest.mark.parametrize(("most", "expected"), [(None, 10), (100, 10), (9, 9), (3, 3), (1, 1)])
def test_thinning_is_even(most, expected):
    frames = scored_frames(split_of(12, valid=[1] * 10 + [0] * 2), most)
    assert len(set(frames)) == expected
    assert frames[0] == 0
    assert expected == 1 or frames[-1] == 9
    steps = np.diff(frames)
    assert len(steps) == 0 or np.ptp(steps) <= 1


class Echo(Model):
    """Says of every joint its own 2D position at the centre frame, and no depth."""

    map_size = 102
    skeleton, frames, device = SKELETON, 3, torch.device("cpu")

    def for_prediction(self):
        return self

    def forward(self, x):
        centre = x[:, x.shape[1] // 2]
        depth = torch.zeros_like(centre[..., :1])
        return Prediction(torch.cat([centre, depth], dim=-1)[:, None], None)


def store_of(split, frames=3):
    return FrameStore(split, SKELETON, frames, dist.device())


def test_every_frame_is_predicted_in_order_in_mm_with_the_root_at_zero():
    split = split_of(5, 4)
    frames = np.array([0, 2, 3, 7, 8])
    predicted = predict_frames(Echo(), store_of(split), frames, flip=False, zero_root=True, batch_size=2)
    expected = (split.pixels[frames].astype(np.float64) / 500 - 1) * 1000
    expected[:, ROOT] = 0
    np.testing.assert_allclose(predicted[..., :2], expected, atol=1e-2)
    assert predicted.dtype == np.float64


def test_a_batch_is_as_large_as_its_feature_maps_allow(monkeypatch):
    """Of 3 frames, 17 joints and 2 channels a window holds 102 numbers; mirrored neighbours come after the others,
    and those of single frames are in the same batch."""
    seen = []

    class Counting(Echo):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    monkeypatch.setattr("glagcn.model.cores.CPU_FLOATS", 24 * 102 + 1)
    split = split_of(60)
    model = Counting()
    for step, flip, sizes in (
        (1, False, [24, 6]), (1, True, [24, 24, 6, 6]), (2, False, [24, 6]), (2, True, [24, 24, 12]),
    ):  # fmt: skip
        predict_frames(model, store_of(split), np.arange(0, 30 * step, step), flip=flip, zero_root=True)
        assert seen == sizes
        seen.clear()


def test_threads_share_the_batches_and_not_the_result():
    torch.manual_seed(0)
    model = LiftingNetwork(SKELETON, (3,), 4, sequence_layers=1)
    split = split_of(20, 21)
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(predict_frames(model, store_of(split), np.arange(41), flip=True, zero_root=True, batch_size=4))
        assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(*found)


def test_the_benchmark_decides_whether_the_predicted_root_counts():
    for name, dataset, counts in (
        ("mpi3dhp17", "3dhp", False), ("h36m17", "h36m", True), ("humaneva15", "humaneva15", True),
    ):  # fmt: skip
        skeleton = get_skeleton(name)
        split = make_split({"S9/Posing/cam0": 4}, name)
        store = FrameStore(split, skeleton, 3, dist.device())
        data = EvaluationSet("test", split, store, np.arange(4), benchmark_of(dataset))
        evaluation = evaluate(Echo(), data, annotation="", flip=False)
        assert (evaluation.predicted[0][:, skeleton.root] != 0).any() == counts
        assert (evaluation.target[0][:, skeleton.root] == 0).all()
        assert evaluation.metrics["root"] == ("as predicted" if counts else "zero")


def test_flipping_averages_with_the_mirrored_back_mirror_image():
    """Echo mirrors exactly, so the average is the prediction; a model that shifts everything right is corrected."""

    class Shifted(Echo):
        def forward(self, x):
            target, _ = super().forward(x)
            return Prediction(target + torch.tensor([0.25, 0.5, 0.0]), None)

    split = split_of(6)
    frames = np.arange(6)
    store = store_of(split)
    plain = predict_frames(Echo(), store, frames, flip=False, zero_root=True)
    np.testing.assert_allclose(predict_frames(Echo(), store, frames, flip=True, zero_root=True), plain, atol=1e-3)
    shift = predict_frames(Shifted(), store, frames, flip=True, zero_root=True) - plain
    others = np.arange(17) != ROOT
    np.testing.assert_allclose(shift[:, others], np.broadcast_to([0, 500, 0], (6, 16, 3)), atol=1e-3)


@pytest.mark.parametrize("flip", [False, True])
def test_it_agrees_with_predict_on_the_same_pixels(flip):
    """The two ways to poses, a test set's and a user's array, are the same where every frame is scored."""
    from glagcn.poses.lift import predict

    torch.manual_seed(0)
    model = LiftingNetwork(SKELETON, (3,), 4, sequence_layers=1)
    split = split_of(7)
    ours = predict_frames(model, store_of(split), np.arange(7), flip=flip, zero_root=True)
    np.testing.assert_allclose(ours, predict(model, split.pixels, (1000, 1000), flip=flip), atol=1e-2)
