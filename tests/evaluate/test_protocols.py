from pathlib import Path

import numpy as np
import pytest

from glagcn import metrics
from glagcn.data.mpi_inf_3dhp.dataset import TEST_SEQUENCES
from glagcn.evaluate.protocols import GROUPS, PSTMO_WEIGHTS, protocols, scenes, weighted

GOLDEN = Path(__file__).parents[1] / "golden"


def random_poses(frames=7):
    return np.random.default_rng(0).normal(scale=300, size=(frames, 17, 3))


@pytest.fixture(scope="module")
def golden_input():
    with np.load(GOLDEN / "official_eval_input.npz") as file:
        return tuple([file[f"{name}{number}"] for number in range(1, 7)] for name in ("pred", "gt", "act"))


PSTMO = {
    "pck": [99.680170575693, 96.865079365079, 98.969508752118, 97.849462365591, 96.894409937888, 96.446793002915],
    "auc": [82.818625765183, 73.670848267623, 77.427096045609, 74.113440034356, 72.015461163428, 71.223431769021],
    "mpjpe_mm": [21.861064212169, 35.833573499517, 29.370178408815, 34.567434477638, 36.759233166291, 38.968149595115],
}
D3DP = {
    "pck": [99.83416252, 99.21957672, 99.73178995, 99.16794675, 98.96480331, 91.52696793],
    "auc": [77.29898893, 81.69610855, 91.03613778, 82.33239185, 77.9210913, 64.43736481],
    "mpjpe_mm": [30.49958915, 24.41000431, 10.505283, 23.58499678, 29.21749754, 51.18334527],
}
CURRENT = (603, 540, 506, 558, 276, 392)


@pytest.mark.parametrize(
    ("sequences", "weights", "expected"),
    [
        (PSTMO, PSTMO_WEIGHTS, (97.9315, 75.7516, 32.1745)),
        (PSTMO, CURRENT, (97.9627, 75.8439, 32.0359)),
        (PSTMO, [1] * 6, (97.7842, 75.2115, 32.8933)),
        (D3DP, CURRENT, (98.3553, 79.8256, 27.1919)),
        (D3DP, [1] * 6, (98.0742, 79.1203, 28.2335)),
    ],
)
def test_published_numbers_follow_from_their_weights(sequences, weights, expected):
    scores = [dict(zip(sequences, values, strict=True)) for values in zip(*sequences.values(), strict=True)]
    found = weighted(scores, weights)
    assert tuple(round(found[name], 4) for name in ("pck", "auc", "mpjpe_mm")) == expected


def test_protocols_against_the_official_tables(golden_input):
    predicted, target, activity = golden_input
    tables = metrics.official_3dhp(predicted, target, activity)
    named = protocols(predicted, target, "univ", TEST_SEQUENCES)
    assert list(named) == ["official-univ", "pstmo-2929", "mean-of-6", "hdformer"]
    columns = {"mpjpe_mm": ("MPJPE", "Average"), "pck": ("PCK", "Total"), "auc": ("AUC", "Total")}
    for name, (metric, column) in columns.items():
        sequences = [row[column] for row in tables["sequencewise"][metric].values()]
        assert named["official-univ"][name] == pytest.approx(tables["activitywise"][metric]["All"][column], rel=1e-13)
        assert named["mean-of-6"][name] == pytest.approx(np.mean(sequences), rel=1e-13)
        assert named["pstmo-2929"][name] == pytest.approx(np.average(sequences, weights=PSTMO_WEIGHTS), rel=1e-13)
    groups = [[row[group] for group in GROUPS] for row in tables["sequencewise"]["PCK"].values()]
    assert named["hdformer"]["pck"] == pytest.approx(np.mean(groups), rel=1e-13)


def test_mmpose_scores_all_joints():
    target = random_poses()
    predicted = target.copy()
    predicted[:, [14, 15, 16]] += 1000
    named = protocols([predicted], [target], "annot3", ["TS1"])
    assert list(named) == ["official-annot3", "mmpose17"]
    assert named["official-annot3"]["pck"] == 100
    assert named["mmpose17"]["pck"] == pytest.approx(1400 / 17)


def test_what_needs_six_sequences_is_left_out():
    poses = [random_poses()] * 5
    assert list(protocols(poses, poses, "univ", TEST_SEQUENCES[:5])) == ["official-univ"]
    assert scenes(poses, poses, "univ", TEST_SEQUENCES[:5]) == {}


def test_scenes_weight_frames():
    target = [random_poses(frames) for frames in (1, 3, 2, 2, 2, 2)]
    predicted = [poses + np.array([offset, 0, 0]) for poses, offset in zip(target, (100, 200, 1, 3, 0, 0), strict=True)]
    found = scenes(predicted, target, "univ", TEST_SEQUENCES)
    assert found["studio green screen"]["mpjpe_mm"] == pytest.approx(175)
    assert found["studio green screen"]["pck"] == 25
    assert found["studio"]["mpjpe_mm"] == pytest.approx(2)
    assert found["outdoor"]["auc"] == pytest.approx(3000 / 31)
