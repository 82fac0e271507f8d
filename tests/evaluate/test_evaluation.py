import json
from pathlib import Path

import numpy as np
import pytest
import torch

from glagcn import dist
from glagcn.data.cache import Cache, Split
from glagcn.data.dataset import SequenceInfo
from glagcn.data.mpi_inf_3dhp.dataset import TEST_SEQUENCES
from glagcn.data.windows import FrameStore
from glagcn.errors import UserError
from glagcn.evaluate.benchmarks import benchmark_of
from glagcn.evaluate.evaluate import EvaluationSet, evaluate, predict_frames, scored_frames, summarise, write_results
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.model.interface import Prediction
from glagcn.skeletons import get_skeleton
from tests.splits import make_split

SKELETON = get_skeleton("mpi3dhp17")
ROOT = SKELETON.root
BENCHMARK = benchmark_of("demo")


def make_cache(lengths, valid=None, activity=None, names=()):
    """Test sequences of these lengths with random poses; `valid` all true, and named TS1, ..., where not given."""
    rng = np.random.default_rng(0)
    total = sum(lengths)
    names = names or [f"TS{number}" for number in range(1, len(lengths) + 1)]
    infos = tuple(SequenceInfo(name, name, -1, n, 25.0, 1000, 1000) for name, n in zip(names, lengths, strict=True))
    split = Split(
        sequences=infos,
        starts=np.cumsum([0, *lengths[:-1]]),
        pixels=rng.uniform(0, 1000, (total, 17, 2)).astype(np.float32),
        millimetres=rng.normal(0, 500, (total, 17, 3)).astype(np.float32),
        valid=np.ones(total, bool) if valid is None else np.array(valid, bool),
        activity=None if activity is None else np.array(activity, np.uint8),
    )
    return Cache(Path("c.h5"), "demo", "gt", "", SKELETON.name, split, split, {}, (), "")


def true_poses(cache, frames):
    target = cache.test.millimetres[frames].astype(np.float64)
    return target - target[:, ROOT, None]


# ---------------------------------------------------------------- which frames


def test_valid_frames_are_scored():
    split = make_cache([3, 4], valid=[0, 1, 1, 0, 0, 1, 0]).test
    np.testing.assert_array_equal(scored_frames(split), [1, 2, 5])


@pytest.mark.parametrize(("most", "expected"), [(None, 10), (100, 10), (10, 10), (9, 9), (5, 5), (3, 3), (1, 1)])
def test_thinning_is_even(most, expected):
    frames = scored_frames(make_cache([12], valid=[1] * 10 + [0] * 2).test, most)
    assert len(set(frames)) == expected
    assert frames[0] == 0
    assert expected == 1 or frames[-1] == 9
    steps = np.diff(frames)
    assert len(steps) == 0 or np.ptp(steps) <= 1


def test_no_valid_frame_is_refused():
    with pytest.raises(UserError, match="no test frame is valid.*prepare"):
        scored_frames(make_cache([3], valid=[0, 0, 0]).test)


# ---------------------------------------------------------------- metrics


def test_a_known_error_gives_known_metrics():
    cache = make_cache([4, 3])
    frames = scored_frames(cache.test)
    predicted = true_poses(cache, frames)
    predicted[:, 3] += (30, 40, 0)  # 50 mm in one of 17 joints
    metrics = summarise(BENCHMARK, cache.test, SKELETON, cache.annotation, frames, predicted).metrics
    assert metrics["mpjpe_mm"] == pytest.approx(50 / 17)
    assert metrics["pck"] == pytest.approx(100)
    assert metrics["frames"] == 7
    assert metrics["sequences"] == {"TS1": {"frames": 4}, "TS2": {"frames": 3}}


def test_velocity_is_taken_between_neighbouring_valid_frames_of_one_sequence():
    """Predictions drift 3 mm a frame in TS1 and 12 mm in TS2; both jump where a frame is missing or a sequence ends."""
    cache = make_cache([6, 4], valid=[1, 1, 0, 1, 1, 1, 1, 1, 1, 0])
    frames = scored_frames(cache.test)
    np.testing.assert_array_equal(frames, [0, 1, 3, 4, 5, 6, 7, 8])
    offset = np.array([0, 3, 1000, 1003, 1006, -500, -488, -476.0])
    predicted = true_poses(cache, frames)
    moving = np.arange(17) != ROOT
    predicted[:, moving, 0] += offset[:, None]
    metrics = summarise(BENCHMARK, cache.test, SKELETON, cache.annotation, frames, predicted).metrics
    pairs = [3, 3, 3, 12, 12]  # 0-1, 3-4, 4-5, 6-7, 7-8; not 1-3, not 5-6
    assert metrics["velocity_mm"] == pytest.approx(np.mean(pairs) * 16 / 17)


def test_without_neighbours_there_is_no_velocity(tmp_path):
    cache = make_cache([6], valid=[1, 0, 1, 0, 1, 0])
    frames = scored_frames(cache.test)
    evaluation = summarise(BENCHMARK, cache.test, SKELETON, cache.annotation, frames, true_poses(cache, frames))
    assert np.isnan(evaluation.metrics["velocity_mm"])
    write_results(evaluation, tmp_path, {})
    text = (tmp_path / "result.json").read_text()
    result = json.loads(text, parse_constant=pytest.fail)
    assert result["velocity_mm"] is None


def test_a_sequence_without_scored_frames_keeps_its_place(tmp_path):
    cache = make_cache([3, 3, 3], valid=[1, 1, 1, 0, 0, 0, 1, 1, 1], activity=[1] * 9)
    frames = scored_frames(cache.test)
    evaluation = summarise(BENCHMARK, cache.test, SKELETON, cache.annotation, frames, true_poses(cache, frames))
    assert [len(poses) for poses in evaluation.predicted] == [3, 0, 3]
    assert list(evaluation.tables["sequencewise"]["MPJPE"]) == ["TestSeq1", "TestSeq2", "TestSeq3"]
    assert evaluation.scalars["mpjpe_mm"] == 0
    assert write_results(evaluation, tmp_path, {})["sequences"]["TS2"] == {"frames": 0}


def test_the_official_tables_name_the_sequences(tmp_path):
    cache = make_cache([2, 3, 2], names=["TS5", "TS6", "S8/Seq1/cam0"])
    frames = scored_frames(cache.test)
    evaluation = summarise(BENCHMARK, cache.test, SKELETON, "univ", frames, true_poses(cache, frames))
    for table in evaluation.tables["sequencewise"].values():
        assert list(table) == ["TestSeq5", "TestSeq6", "S8/Seq1/cam0"]
    write_results(evaluation, tmp_path, {})
    lines = (tmp_path / "mpii_3dhp_evaluation_sequencewise.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines[2:5]] == ["TestSeq5", "TestSeq6", "S8/Seq1/cam0"]


@pytest.mark.parametrize(
    ("names", "annotation", "is_test_set"),
    [
        (TEST_SEQUENCES, "univ", True),
        (TEST_SEQUENCES, "", False),  # the demo
        (TEST_SEQUENCES[::-1], "univ", False),
        ([f"S8/Seq2/cam{camera}" for camera in range(6)], "univ", False),
    ],
)
def test_only_the_six_test_sequences_have_their_weights_and_scenes(names, annotation, is_test_set):
    cache = make_cache([2] * 6, names=names)
    frames = scored_frames(cache.test)
    metrics = summarise(BENCHMARK, cache.test, SKELETON, annotation, frames, true_poses(cache, frames)).metrics
    assert ("pstmo-2929" in metrics["protocols"]) == is_test_set
    assert (len(metrics["protocols"]) > 1) == is_test_set
    assert bool(metrics["scenes"]) == is_test_set


def test_the_protocol_is_named_by_the_annotation():
    cache = make_cache([2, 2])
    frames = scored_frames(cache.test)
    for annotation, name in (("", "official"), ("univ", "official-univ"), ("annot3", "official-annot3")):
        metrics = summarise(BENCHMARK, cache.test, SKELETON, annotation, frames, true_poses(cache, frames)).metrics
        assert metrics["protocol"] == name
        assert f"({name}, 4 frames: MPJPE over 17 joints, PCK and AUC over 14)" in BENCHMARK.headline(metrics)


# ---------------------------------------------------------------- predictions


class Echo(torch.nn.Module):
    """Says of every joint its own 2D position at the centre frame, and no depth."""

    map_size = 102

    def for_prediction(self):
        return self

    def forward(self, x):
        centre = x[:, x.shape[1] // 2]
        depth = torch.zeros_like(centre[..., :1])
        return Prediction(torch.cat([centre, depth], dim=-1)[:, None], None)


def store_of(cache, frames=3):
    return FrameStore(cache.test, SKELETON, frames, dist.device())


def test_every_frame_is_predicted_in_order_in_mm_with_the_root_at_zero():
    cache = make_cache([5, 4])
    frames = np.array([0, 2, 3, 7, 8])
    predicted = predict_frames(Echo(), store_of(cache), frames, flip=False, zero_root=True, batch_size=2)
    expected = (cache.test.pixels[frames].astype(np.float64) / 500 - 1) * 1000
    expected[:, ROOT] = 0
    np.testing.assert_allclose(predicted[..., :2], expected, atol=1e-2)
    assert predicted.dtype == np.float64


def test_a_batch_is_as_large_as_its_feature_maps_allow(monkeypatch):
    """Of 3 frames, 17 joints and 2 channels a window holds 102 numbers; flipping takes two windows a frame."""
    seen = []

    class Counting(Echo):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    monkeypatch.setattr("glagcn.model.cores.CPU_FLOATS", 24 * 102 + 1)
    cache = make_cache([30])
    model = Counting()
    for flip, sizes in ((False, [24, 6]), (True, [24, 24, 12])):
        predict_frames(model, store_of(cache), np.arange(30), flip=flip, zero_root=True)
        assert seen == sizes
        seen.clear()
    model.map_size = 51_000
    for flip, sizes in ((False, [16, 1]), (True, [16, 16, 2])):
        predict_frames(model, store_of(cache), np.arange(17), flip=flip, zero_root=True)
        assert seen == sizes
        seen.clear()


def test_threads_share_the_batches_and_not_the_result():
    torch.manual_seed(0)
    model = LiftingNetwork(SKELETON, (3,), 4, sequence_layers=1)
    cache = make_cache([20, 21])
    store, frames = store_of(cache), np.arange(41)
    alone, shared = [], []
    for threads, found in ((1, alone), (3, shared)):
        torch.set_num_threads(threads)
        found.append(predict_frames(model, store, frames, flip=True, zero_root=True, batch_size=4))
        assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(shared[0], alone[0])


def test_the_root_stays_as_predicted_where_it_is_to_count():
    cache = make_cache([4])
    store, frames = store_of(cache), np.arange(4)
    kept = predict_frames(Echo(), store, frames, flip=True, zero_root=False)
    zeroed = predict_frames(Echo(), store, frames, flip=True, zero_root=True)
    others = np.arange(17) != ROOT
    np.testing.assert_array_equal(kept[:, others], zeroed[:, others])
    np.testing.assert_allclose(kept[:, ROOT, :2], (cache.test.pixels[:, ROOT] / 500 - 1) * 1000, atol=1e-2)
    assert (kept[:, ROOT, :2] != 0).all()


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

    cache = make_cache([6])
    frames = np.arange(6)
    store = store_of(cache)
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
    cache = make_cache([7])
    ours = predict_frames(model, store_of(cache), np.arange(7), flip=flip, zero_root=True)
    np.testing.assert_allclose(ours, predict(model, cache.test.pixels, (1000, 1000), flip=flip), atol=1e-2)


def test_evaluation_on_rank_0_has_poses_and_metrics():
    cache = make_cache([3, 3])
    data = EvaluationSet("test", cache.test, store_of(cache), np.arange(6), BENCHMARK)
    evaluation = evaluate(Echo(), data, annotation="", flip=True)
    assert [info.name for info in evaluation.sequences] == ["TS1", "TS2"]
    assert evaluation.activity is None
    assert set(evaluation.scalars) == {"mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "velocity_mm", "pck", "auc"}
    distances = np.linalg.norm(np.subtract(evaluation.predicted, evaluation.target), axis=-1)
    assert evaluation.scalars["mpjpe_mm"] == pytest.approx(distances.mean())
