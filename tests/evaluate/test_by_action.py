import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from glagcn.evaluate import benchmarks as by_action
from glagcn.evaluate import metrics
from glagcn.evaluate.benchmarks import ACTION_CSV, BENCHMARKS, benchmark_of
from glagcn.evaluate.evaluate import scored_frames, summarise, write_results
from glagcn.skeletons import get_skeleton
from tests.splits import make_split, true_poses

BY_ACTION, MPI_INF_3DHP = BENCHMARKS["by_action"], BENCHMARKS["mpi_inf_3dhp"]
GOLDEN = Path(__file__).parents[1] / "golden/metrics.npz"
NAMES = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "velocity_mm")

# Two subjects, two takes, up to three cameras, unequal lengths: nothing may be dropped or weighted otherwise unseen.
LENGTHS = {
    "S9/Walking/cam0": 5, "S9/Walking/cam1": 5, "S9/Walking 1/cam0": 7, "S9/Walking 1/cam1": 3, "S9/Walking 1/cam2": 4,
    "S9/WalkDog 1/cam0": 6, "S9/WalkTogether/cam2": 2,
    "S11/Walking 1/cam0": 8, "S11/WalkDog/cam0": 4, "S11/WalkDog/cam1": 2,
}  # fmt: skip


def score(split, predicted, frames=None, skeleton="h36m17"):
    frames = scored_frames(split) if frames is None else frames
    return summarise(BY_ACTION, split, get_skeleton(skeleton), "", frames, predicted).metrics


def by_hand(split, predicted, frames, chosen):
    """The four metrics of some sequences [S] bool, one metric after the other, of arrays put together anew."""
    target = true_poses(split, frames)
    owner = np.searchsorted(split.starts, frames, side="right") - 1
    of_group = np.isin(owner, np.flatnonzero(chosen))
    total = weight = 0.0
    for number in np.flatnonzero(chosen):
        mine = owner == number
        neighbours = np.diff(frames[mine]) == 1
        if neighbours.any():
            total += mine.sum() * metrics.velocity_error(predicted[mine], target[mine], neighbours)
            weight += mine.sum()
    pair = predicted[of_group], target[of_group]
    return [*(f(*pair) for f in (metrics.mpjpe, metrics.p_mpjpe, metrics.n_mpjpe)), total / weight]


def four(row):
    return [row[name] for name in NAMES]


def test_the_data_set_chooses_the_benchmark():
    assert benchmark_of("3dhp") is benchmark_of("demo") is MPI_INF_3DHP
    assert benchmark_of("h36m") is benchmark_of("humaneva15") is BY_ACTION
    assert (MPI_INF_3DHP.zero_root, BY_ACTION.zero_root) == (True, False)


@pytest.mark.parametrize(("skeleton", "joints"), [("h36m17", 17), ("humaneva15_coco17", 15)])
def test_the_root_counts_as_one_of_all_joints(skeleton, joints):
    """A root that is off by as many mm as there are joints, and nothing else, is an MPJPE of 1 mm."""
    split = make_split({"S9/Posing/cam0": 3}, skeleton)
    predicted = true_poses(split, np.arange(3))
    predicted[:, 0] += [0, joints, 0]
    metrics = score(split, predicted, skeleton=skeleton)
    assert metrics["mpjpe_mm"] == pytest.approx(1)
    assert metrics["root"] == "as predicted"
    assert metrics["protocol"] == f"mean-over-actions ({joints} joints, root as predicted)"


def test_chunks_of_humaneva_are_pooled_and_subjects_keep_their_names():
    names = [f"Validate/S{s}/{a}/cam{c}" for s in (1, 2) for a in ("Jog 1 chunk0", "Jog 1 chunk2") for c in range(3)]
    split = make_split(dict.fromkeys(names, 4), "humaneva15")
    off = np.repeat(np.arange(12.0), 4)[:, None, None] * [0.6, 0, 0.8]  # mm by sequence, in every joint
    metrics = score(split, true_poses(split, np.arange(48)) + off, skeleton="humaneva15")
    assert list(metrics["actions"]) == ["Jog"]
    assert list(metrics["subjects"]) == ["Validate/S1", "Validate/S2"]
    rows = {name: subject["actions"]["Jog"] for name, subject in metrics["subjects"].items()}
    assert [row["frames"] for row in rows.values()] == [24, 24]
    assert [row["mpjpe_mm"] for row in rows.values()] == pytest.approx([2.5, 8.5])


def test_every_metric_equals_that_of_the_metrics_on_each_group():
    split = make_split(LENGTHS)
    frames = scored_frames(split)
    rng = np.random.default_rng(1)
    predicted = true_poses(split, frames) * 1.2 + rng.normal(0, 50, (len(frames), 17, 3))
    metrics = score(split, predicted)
    subjects, kinds = (
        np.array([getattr(info, part) for info in split.sequences]) for part in ("subject", "kind_of_action")
    )
    everything = np.ones(len(kinds), bool)
    cells = []
    for subject, group in (("all", everything), ("S9", subjects == "S9"), ("S11", subjects == "S11")):
        found = metrics if subject == "all" else metrics["subjects"][subject]
        present = [kind for kind in ("WalkDog", "Walking", "WalkTogether") if (group & (kinds == kind)).any()]
        expected = [by_hand(split, predicted, frames, group & (kinds == kind)) for kind in present]
        assert list(found["actions"]) == present  # in the order of papers
        for kind, values in zip(present, expected, strict=True):
            np.testing.assert_allclose(four(found["actions"][kind]), values, rtol=1e-12)
        mean = found if subject == "all" else found["mean"]
        np.testing.assert_allclose(four(mean), np.mean(expected, axis=0), rtol=1e-12)
        np.testing.assert_allclose(four(found["frame_mean"]), by_hand(split, predicted, frames, group), rtol=1e-12)
        cells += expected if subject != "all" else []
    assert len(cells) == 5  # S11 has no WalkTogether
    np.testing.assert_allclose(four(metrics["cell_mean"]), np.mean(cells, axis=0), rtol=1e-12)
    assert metrics["notes"] == []
    assert {name: row["frames"] for name, row in metrics["sequences"].items()} == LENGTHS
    alone = [by_hand(split, predicted, frames, everything & (np.arange(len(kinds)) == n))[0] for n in range(len(kinds))]
    np.testing.assert_allclose([row["mpjpe_mm"] for row in metrics["sequences"].values()], alone, rtol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    with np.load(GOLDEN) as file:
        arguments = file["predicted"], file["target"], np.delete(np.arange(43), [7, 20, 21])
    whole = by_action.sequence_totals(*arguments)
    for block in (1, 7, 39):
        monkeypatch.setattr(by_action, "BLOCK", block)
        np.testing.assert_allclose(by_action.sequence_totals(*arguments), whole, rtol=1e-12)


def test_thinned_frames_have_a_velocity_where_two_are_neighbours():
    split = make_split({"S9/Posing/cam0": 6, "S9/Posing/cam1": 4, "S9/Eating/cam0": 5})
    frames = np.array([0, 1, 3, 6, 9, 10, 12])  # Posing: a pair and two, then none; Eating: none
    predicted = true_poses(split, frames)
    predicted[:, :, 0] += np.array([0, 4, 900, 0, 50, 0, 70.0])[:, None]
    metrics = score(split, predicted, frames)
    assert metrics["actions"]["Posing"]["frames"] == 5
    assert metrics["actions"]["Posing"]["velocity_mm"] == pytest.approx(4)
    assert np.isnan(metrics["actions"]["Eating"]["velocity_mm"])
    assert metrics["velocity_mm"] == metrics["frame_mean"]["velocity_mm"] == pytest.approx(4)
    assert metrics["notes"] == [
        "no two consecutive scored frames, left out of the mean velocity over actions: Eating",
        "no two consecutive scored frames, left out of the mean velocity over subject x action: S9 Eating",
    ]


def test_an_action_without_frames_is_left_out_and_said():
    split = make_split({"S9/Eating/cam0": 2, "S9/Posing/cam0": 2, "S11/Posing/cam0": 2}, valid=[1, 1, 0, 0, 0, 0])
    metrics = score(split, true_poses(split, np.arange(2)) + np.array([6, 0, 8]))
    assert metrics["mpjpe_mm"] == metrics["cell_mean"]["mpjpe_mm"] == pytest.approx(10)
    assert metrics["actions"]["Posing"]["frames"] == 0
    assert np.isnan(four(metrics["actions"]["Posing"])).all()
    assert np.isnan(four(metrics["subjects"]["S11"]["mean"])).all()
    assert metrics["notes"] == [
        "no scored frames, left out of the means over actions: Posing",
        "no scored frames, left out of the means over subject x action: S9 Posing, S11 Posing",
    ]
    assert metrics["sequences"]["S9/Posing/cam0"]["frames"] == 0


REPORTED = {"S9/Eating/cam0": 30, "S9/SittingDown 1/cam0": 10, "S11/Eating 1/cam3": 20}


def evaluate(valid=None):
    """Predictions with normal noise of 30 mm."""
    split = make_split(REPORTED, valid=valid)
    frames = scored_frames(split)
    predicted = true_poses(split, frames) + np.random.default_rng(5).normal(0, 30, (len(frames), 17, 3))
    return summarise(BY_ACTION, split, get_skeleton("h36m17"), "", frames, predicted)


def without_eating():
    """Eating has no scored frame, and SittingDown none that are neighbours."""
    return evaluate(valid=[0] * 30 + [1, 0] * 5 + [0] * 20)


def shown(row):
    return [f"{row['frames']:,}", *(f"{row[name]:.2f}" for name in NAMES)]


def rows_of(lines):
    """{first cell: other cells} of the lines of a table."""
    return {cells[0]: cells[1:] for cells in (re.split(r"\s{2,}", line) for line in lines)}


def test_the_csv_holds_every_row_with_fifteen_digits(tmp_path):
    evaluation = evaluate()
    write_results(evaluation, tmp_path, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [ACTION_CSV, "result.json"]
    rows = list(csv.reader((tmp_path / ACTION_CSV).read_text().splitlines()))
    assert rows[0] == ["subject", "action", "frames", *NAMES]
    metrics = evaluation.metrics
    expected = []
    for subject in ("all", "S9", "S11"):
        found = metrics if subject == "all" else metrics["subjects"][subject]
        expected += [(subject, action, row["frames"], row) for action, row in found["actions"].items()]
        count = sum(row["frames"] for row in found["actions"].values())
        expected.append((subject, "mean over actions", count, metrics if subject == "all" else found["mean"]))
        expected.append((subject, "all frames", count, found["frame_mean"]))
    assert [row[:3] for row in rows[1:]] == [[subject, name, str(count)] for subject, name, count, _ in expected]
    values = [[float(cell) for cell in row[3:]] for row in rows[1:]]
    np.testing.assert_allclose(values, [[row[name] for name in NAMES] for *_, row in expected], rtol=1e-14)


def test_what_there_is_nothing_of_is_said_and_is_nan_in_the_csv_and_null_in_json(tmp_path):
    evaluation = without_eating()
    lines = evaluation.benchmark.show(evaluation, False).splitlines()
    assert rows_of(lines)["Eating"] == ["0", *["n/a"] * 4]
    assert "note: no scored frames, left out of the means over actions: Eating" in lines
    result = write_results(evaluation, tmp_path, {"checkpoint": "best.pt"})
    rows = {tuple(row[:2]): row[2:] for row in csv.reader((tmp_path / ACTION_CSV).read_text().splitlines())}
    assert rows["all", "Eating"] == ["0", "NaN", "NaN", "NaN", "NaN"]
    loaded = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert loaded == result
    assert loaded["actions"]["Eating"] == {"frames": 0} | dict.fromkeys(NAMES)


def test_the_screen_shows_every_action_and_the_means_of_all_and_of_each_subject():
    evaluation = evaluate()
    metrics = evaluation.metrics
    text = evaluation.benchmark.show(evaluation, True)
    assert text.startswith("mean-over-actions (17 joints, root as predicted)\nprotocol 1: MPJPE")
    assert max(map(len, text.splitlines())) <= 100
    groups = {"all subjects": metrics | {"mean": metrics}} | metrics["subjects"]
    for block in text.split("\n\n")[1:]:
        title, *_ = re.split(r"\s{2,}", block)
        rows = rows_of(block.splitlines())
        if "mean over subject x action" in rows:
            assert rows["mean over subject x action"] == shown({"frames": 60} | metrics["cell_mean"])
            continue
        group = groups.pop(title)
        frames = {"frames": sum(row["frames"] for row in group["actions"].values())}
        assert all(rows[action] == shown(row) for action, row in group["actions"].items())
        assert rows["mean over actions"] == shown(group["mean"] | frames)
        assert rows["all frames"] == shown(group["frame_mean"] | frames)
    assert not groups


def test_the_headline_says_what_is_averaged_over_what(tmp_path):
    metrics = dict.fromkeys(NAMES, 12.345) | {
        "actions": {"Eating": {"frames": 3}, "Posing": {"frames": 1234}},
        "frames": 1237, "root": "as predicted", "frame_mean": {"mpjpe_mm": 9.87},
    }  # fmt: skip
    metrics["mpjpe_mm"] = 44.4
    assert BY_ACTION.headline(metrics) == (
        "MPJPE 44.40 mm, P-MPJPE 12.35 mm, N-MPJPE 12.35 mm, velocity 12.35 mm "
        "(mean over 2 actions of 1,237 frames, root as predicted; frame-weighted MPJPE 9.87 mm)"
    )
    evaluation = without_eating()
    text = evaluation.headline
    assert " mm (mean over 1 of 2 actions of 5 frames" in text
    assert "velocity" not in text
    assert BY_ACTION.headline(write_results(evaluation, tmp_path, {})) == text
