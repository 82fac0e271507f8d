"""The benchmark of MPI-INF-3DHP: which protocols and scenes it reports, its official tables, files and text."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from glagcn import metrics
from glagcn.data.mpi_inf_3dhp.facts import TEST_SEQUENCES
from glagcn.evaluate.benchmarks import benchmark_of, format_tables, official_csv, official_tables
from glagcn.evaluate.evaluate import scored_frames, summarise, write_results
from glagcn.evaluate.metrics import METRICS
from glagcn.evaluate.protocols import (
    GROUPS,
    PSTMO_WEIGHTS,
    official_3dhp,
    scenes,
    scores_by_protocol,
    sequence_errors,
    weighted,
)
from glagcn.skeletons import get_skeleton
from tests.splits import make_split, true_poses

GOLDEN = Path(__file__).parents[1] / "golden"
SKELETON = get_skeleton("mpi3dhp17")
BENCHMARK = benchmark_of("demo")
SEQUENCE_CSV, ACTIVITY_CSV = (f"mpii_3dhp_evaluation_{kind}.csv" for kind in ("sequencewise", "activitywise"))


def golden_poses():
    with np.load(GOLDEN / "official_eval_input.npz") as file:
        return tuple([file[f"{name}{number}"] for number in range(1, 7)] for name in ("pred", "gt", "act"))


def golden_tables(with_activities=True):
    predicted, target, activity = golden_poses()
    return official_3dhp(predicted, target, activity if with_activities else None)


def random_poses(frames=7):
    return np.random.default_rng(0).normal(scale=300, size=(frames, 17, 3))


def evaluate(lengths, move=lambda poses: poses, annotation="", **options):
    """The evaluation of the true poses of sequences, moved."""
    split = make_split(lengths, "mpi3dhp17", **options)
    frames = scored_frames(split)
    return summarise(BENCHMARK, split, SKELETON, annotation, frames, move(true_poses(split, frames, SKELETON.root)))


def test_a_known_error_gives_known_metrics():
    """50 mm in one of 17 joints."""
    metrics = evaluate({"TS1": 4, "TS2": 3}, lambda poses: poses + (np.arange(17) == 3)[:, None] * [30, 40, 0]).metrics
    assert metrics["mpjpe_mm"] == pytest.approx(50 / 17)
    assert metrics["pck"] == pytest.approx(100)
    assert metrics["frames"] == 7
    assert {name: row["frames"] for name, row in metrics["sequences"].items()} == {"TS1": 4, "TS2": 3}
    for name in ("mpjpe_mm", "p_mpjpe_mm", "pck", "auc"):
        weighted = sum(row["frames"] * row[name] for row in metrics["sequences"].values()) / 7
        assert weighted == pytest.approx(metrics[name])


def test_velocity_is_taken_between_neighbouring_valid_frames_of_one_sequence():
    """Predictions drift 3 mm a frame in TS1 and 12 mm in TS2; both jump where a frame is missing or a sequence ends."""
    offset = np.zeros((8, 17, 3))
    offset[..., 0] = np.array([0, 3, 1000, 1003, 1006, -500, -488, -476.0])[:, None]  # frames 0, 1, 3, 4, 5; 6, 7, 8
    offset[:, SKELETON.root] = 0
    evaluation = evaluate({"TS1": 6, "TS2": 4}, lambda poses: poses + offset, valid=[1, 1, 0, 1, 1, 1, 1, 1, 1, 0])
    pairs = [3, 3, 3, 12, 12]  # 0-1, 3-4, 4-5, 6-7, 7-8; not 1-3, not 5-6
    assert evaluation.metrics["velocity_mm"] == pytest.approx(np.mean(pairs) * 16 / 17)


def test_a_sequence_without_scored_frames_keeps_its_place(tmp_path):
    lengths = {"TS1": 3, "TS2": 3, "TS3": 3}
    evaluation = evaluate(lengths, valid=[1, 1, 1, 0, 0, 0, 1, 1, 1], activity=[1] * 9)
    assert [len(poses) for poses in evaluation.predicted] == [3, 0, 3]
    assert list(official_tables(evaluation)["sequencewise"]["MPJPE"]) == ["TestSeq1", "TestSeq2", "TestSeq3"]
    assert evaluation.scalars["mpjpe_mm"] == 0
    assert write_results(evaluation, tmp_path, {})["sequences"]["TS2"] == {
        "frames": 0, **dict.fromkeys(metric.name for metric in METRICS)
    }  # fmt: skip


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
        (D3DP, CURRENT, (98.3553, 79.8256, 27.1919)),
        (D3DP, [1] * 6, (98.0742, 79.1203, 28.2335)),
    ],
)
def test_published_numbers_follow_from_their_weights(sequences, weights, expected):
    scores = [dict(zip(sequences, values, strict=True)) for values in zip(*sequences.values(), strict=True)]
    found = weighted(scores, weights)
    assert tuple(round(found[name], 4) for name in ("pck", "auc", "mpjpe_mm")) == expected


def test_protocols_against_the_official_tables():
    predicted, target, activity = golden_poses()
    tables = metrics.official_3dhp(predicted, target, activity)
    named = scores_by_protocol(sequence_errors(predicted, target), "univ", TEST_SEQUENCES)
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
    named = scores_by_protocol(sequence_errors([predicted], [target]), "annot3", ["TS1"])
    assert list(named) == ["official-annot3", "mmpose17"]
    assert named["official-annot3"]["pck"] == 100
    assert named["mmpose17"]["pck"] == pytest.approx(1400 / 17)


@pytest.mark.parametrize(
    ("names", "annotation", "is_test_set"),
    [
        (TEST_SEQUENCES, "univ", True), (TEST_SEQUENCES[:5], "univ", False), (TEST_SEQUENCES, "", False),  # the demo
        (TEST_SEQUENCES[::-1], "univ", False), ([f"S8/Seq2/cam{camera}" for camera in range(6)], "univ", False),
    ],
)  # fmt: skip
def test_only_the_six_test_sequences_have_their_weights_and_scenes(names, annotation, is_test_set):
    metrics = evaluate(dict.fromkeys(names, 2), annotation=annotation).metrics
    assert ("pstmo-2929" in metrics["protocols"]) == is_test_set
    assert (len(metrics["protocols"]) > 1) == is_test_set
    assert bool(metrics["scenes"]) == is_test_set


@pytest.mark.parametrize(("annotation", "name"), [("", "official"), ("annot3", "official-annot3")])
def test_the_protocol_is_named_by_the_annotation(annotation, name):
    metrics = evaluate({"TS1": 2, "TS2": 2}, annotation=annotation).metrics
    assert metrics["protocol"] == name
    assert f"({name}, 4 frames: MPJPE over 17 joints, PCK and AUC over 14)" in BENCHMARK.headline(metrics)


def test_scenes_weight_frames():
    target = [random_poses(frames) for frames in (1, 3, 2, 2, 2, 2)]
    predicted = [poses + np.array([offset, 0, 0]) for poses, offset in zip(target, (100, 200, 1, 3, 0, 0), strict=True)]
    found = scenes(sequence_errors(predicted, target), "univ", TEST_SEQUENCES)
    assert found["studio green screen"]["mpjpe_mm"] == pytest.approx(175)
    assert found["studio green screen"]["pck"] == 25
    assert found["studio"]["mpjpe_mm"] == pytest.approx(2)
    assert found["outdoor"]["auc"] == pytest.approx(3000 / 31)


@pytest.mark.parametrize(("kind", "lines"), [("sequencewise", 22), ("activitywise", 28)])
def test_the_layout_of_matlab_with_the_official_cells(kind, lines):
    text = official_csv(golden_tables())[f"mpii_3dhp_evaluation_{kind}.csv"].csv()
    assert text.endswith("\n")
    rows = [line.split(",") for line in text.splitlines()]
    assert len(rows) == lines
    assert {len(row) for row in rows} == {19}
    variable = {"sequencewise": "seq_table", "activitywise": "activity_table"}[kind]
    assert rows[0] == [f"{variable}{number}" for number in range(1, 20)]
    # The reference was printed with 10 digits, a trailing comma and without the first line.
    expected = [line.split(",")[:19] for line in (GOLDEN / f"official_eval_{kind}.csv").read_text().splitlines()]
    assert [
        [cell if re.search("[a-zA-Z]|^$", cell) else f"{float(cell):.10g}" for cell in row] for row in rows[1:]
    ] == expected


def test_without_activities_the_activity_file_of_before_goes(tmp_path):
    lengths = {"TS1": 2, "TS2": 1}
    write_results(evaluate(lengths, activity=[1, 2, 3]), tmp_path, {})
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"result.json", "inference_data.mat", SEQUENCE_CSV, ACTIVITY_CSV}
    write_results(evaluate(lengths), tmp_path, {})
    assert {path.name for path in tmp_path.iterdir()} == files - {ACTIVITY_CSV}


def test_the_mat_that_the_official_evaluation_reads(tmp_path):
    evaluation = evaluate({"TS1": 2, "TS2": 1}, lambda poses: poses + 1)
    write_results(evaluation, tmp_path, {})
    loaded = loadmat(tmp_path / "inference_data.mat")
    assert (loaded["TS1"].shape, loaded["TS2"].shape) == ((3, 17, 1, 2), (3, 17, 1, 1))
    np.testing.assert_array_equal(loaded["TS1"][:, 13, 0, 1], evaluation.predicted[0][1, 13])


def test_the_screen_shows_totals_groups_and_joints():
    text = format_tables(golden_tables())
    lines = {line.split("  ")[0]: line.split() for line in text.splitlines() if line}
    assert lines["All"][1:4] == ["75.16", "87.36", lines["All"][3]]
    assert lines["TestSeq1"][1:4] == ["75.59", "86.07", "52.63"]
    assert max(map(len, text.splitlines())) <= 120
    assert text.count("left_ankle") == 1
    assert format_tables(golden_tables(with_activities=False)).endswith("so there is no activity table")
