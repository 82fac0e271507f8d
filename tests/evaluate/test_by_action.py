import json
from pathlib import Path

import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.evaluate import benchmarks as by_action
from glagcn.evaluate import metrics
from glagcn.evaluate.benchmarks import BENCHMARKS, benchmark_of
from glagcn.evaluate.evaluate import scored_frames, summarise
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
WALKING = 5 + 5 + 7 + 3 + 4 + 8


def score(split, predicted, frames=None, skeleton="h36m17"):
    frames = scored_frames(split) if frames is None else frames
    return summarise(BY_ACTION, split, get_skeleton(skeleton), "", frames, predicted).metrics


def offset(split, distances, frames=None):
    """Predictions that are off by distances[number of the sequence] mm in every joint, the root too."""
    frames = scored_frames(split) if frames is None else frames
    owner = np.searchsorted(split.starts, frames, side="right") - 1
    return true_poses(split, frames) + np.array([0.6, 0, 0.8]) * np.asarray(distances, float)[owner, None, None]


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


# ---------------------------------------------------------------- the benchmark


def test_the_data_set_chooses_the_benchmark():
    assert benchmark_of("3dhp") is benchmark_of("demo") is MPI_INF_3DHP
    assert benchmark_of("h36m") is benchmark_of("humaneva15") is BY_ACTION
    assert (MPI_INF_3DHP.zero_root, BY_ACTION.zero_root) == (True, False)


def test_the_root_counts_as_one_of_all_joints():
    """A root that is off by 17 mm, and nothing else, is an MPJPE of 1 mm."""
    split = make_split({"S9/Posing/cam0": 3})
    predicted = true_poses(split, np.arange(3))
    predicted[:, 0] += [0, 17, 0]
    metrics = score(split, predicted)
    assert metrics["mpjpe_mm"] == pytest.approx(1)
    assert metrics["root"] == "as predicted"
    assert metrics["protocol"] == "mean-over-actions (17 joints, root as predicted)"


def test_the_joints_of_humaneva_are_fifteen():
    split = make_split({"Validate/S1/Jog 1/cam0": 3}, "humaneva15_coco17")
    predicted = true_poses(split, np.arange(3))
    predicted[:, 4] += [0, 0, 15]
    metrics = score(split, predicted, skeleton="humaneva15_coco17")
    assert metrics["mpjpe_mm"] == pytest.approx(1)
    assert metrics["protocol"] == "mean-over-actions (15 joints, root as predicted)"


# ---------------------------------------------------------------- groups and means


def test_the_mean_over_actions_is_not_the_mean_over_frames():
    """10 mm in 30 frames of Eating, 40 mm in 10 of Posing: 25 over actions, 17.5 over frames."""
    split = make_split({"S9/Eating/cam0": 30, "S9/Posing/cam0": 10})
    metrics = score(split, offset(split, [10, 40]))
    assert metrics["mpjpe_mm"] == pytest.approx(25)
    assert metrics["frame_mean"]["mpjpe_mm"] == pytest.approx(17.5)
    assert {name: (row["frames"], round(row["mpjpe_mm"], 9)) for name, row in metrics["actions"].items()} == {
        "Eating": (30, 10),
        "Posing": (10, 40),
    }
    assert metrics["p_mpjpe_mm"] == pytest.approx(0, abs=1e-9)
    assert metrics["velocity_mm"] == pytest.approx(0, abs=1e-9)


def test_every_take_subject_and_camera_of_an_action_counts():
    """Each sequence has its own error, a power of two, so that the mean tells which were counted, and how often."""
    split = make_split(LENGTHS)
    distances = 2.0 ** np.arange(len(LENGTHS))
    metrics = score(split, offset(split, distances))
    lengths = np.array(list(LENGTHS.values()))
    walking = np.array(["/Walking" in name for name in LENGTHS])
    assert metrics["actions"]["Walking"]["frames"] == WALKING == lengths[walking].sum()
    expected = (lengths * distances)[walking].sum() / WALKING
    assert metrics["actions"]["Walking"]["mpjpe_mm"] == pytest.approx(expected)
    mine = walking & np.array([name.startswith("S9") for name in LENGTHS])
    expected = (lengths * distances)[mine].sum() / lengths[mine].sum()
    assert metrics["subjects"]["S9"]["actions"]["Walking"]["mpjpe_mm"] == pytest.approx(expected)
    assert metrics["frames"] == lengths.sum()
    assert metrics["sequences"] == {
        name: {"frames": length, "mpjpe_mm": pytest.approx(distance)}
        for (name, length), distance in zip(LENGTHS.items(), distances, strict=True)
    }


def test_chunks_of_humaneva_are_pooled_and_subjects_keep_their_names():
    names = [f"Validate/S{s}/{a}/cam{c}" for s in (1, 2) for a in ("Jog 1 chunk0", "Jog 1 chunk2") for c in range(3)]
    split = make_split(dict.fromkeys(names, 4), "humaneva15")
    metrics = score(split, offset(split, range(12)), skeleton="humaneva15")
    assert list(metrics["actions"]) == ["Jog"]
    assert list(metrics["subjects"]) == ["Validate/S1", "Validate/S2"]
    rows = {name: subject["actions"]["Jog"] for name, subject in metrics["subjects"].items()}
    assert [(row["frames"], row["mpjpe_mm"]) for row in rows.values()] == [
        (24, pytest.approx(2.5)),
        (24, pytest.approx(8.5)),
    ]


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


def test_cells_subjects_and_actions_are_three_means():
    """S9: 10 and 20 mm; S11: 60 mm of one action.  Frames are 1, 1 and 2."""
    split = make_split({"S9/Eating/cam0": 1, "S9/Posing/cam0": 1, "S11/Posing/cam0": 2})
    metrics = score(split, offset(split, [10, 20, 60]))
    assert metrics["mpjpe_mm"] == pytest.approx((10 + (20 + 60 + 60) / 3) / 2)
    assert metrics["cell_mean"]["mpjpe_mm"] == pytest.approx((10 + 20 + 60) / 3)
    assert metrics["frame_mean"]["mpjpe_mm"] == pytest.approx((10 + 20 + 60 + 60) / 4)
    assert metrics["subjects"]["S9"]["mean"]["mpjpe_mm"] == pytest.approx(15)
    assert metrics["subjects"]["S11"]["mean"]["mpjpe_mm"] == pytest.approx(60)


# ---------------------------------------------------------------- the four metrics


def test_reference_results():
    with np.load(GOLDEN) as file:
        predicted, target = file["predicted"], file["target"]
        expected = [float(file[name]) for name in ("mpjpe", "p_mpjpe", "n_mpjpe", "mean_velocity_error")]
    found = by_action.sequence_totals(predicted, target, np.arange(40))
    sums, weights = np.array(found).T
    np.testing.assert_allclose(sums / weights, expected, rtol=1e-12)
    np.testing.assert_array_equal(weights, 40)


@pytest.mark.parametrize("block", [1, 7, 39, 40])
def test_blocks_change_nothing(monkeypatch, block):
    with np.load(GOLDEN) as file:
        arguments = file["predicted"], file["target"], np.delete(np.arange(43), [7, 20, 21])
    whole = by_action.sequence_totals(*arguments)
    monkeypatch.setattr(by_action, "BLOCK", block)
    found = by_action.sequence_totals(*arguments)
    np.testing.assert_allclose(found, whole, rtol=1e-12)


def test_rotation_and_scale_are_undone_by_protocol_2_alone_and_scale_by_protocol_3():
    split = make_split({"S9/Eating/cam0": 4, "S9/Posing/cam0": 4})
    target = true_poses(split, np.arange(8))
    turned = target.copy()
    turned[:4] = 2 * target[:4] @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]])
    turned[4:] *= 3
    metrics = score(split, turned)
    lengths = np.linalg.norm(target, axis=-1)
    eating, posing = metrics["actions"]["Eating"], metrics["actions"]["Posing"]
    assert metrics["p_mpjpe_mm"] == pytest.approx(0, abs=1e-9)
    assert posing["mpjpe_mm"] == pytest.approx(2 * lengths[4:].mean())
    assert posing["n_mpjpe_mm"] == pytest.approx(0, abs=1e-9)
    # |2 R x - x|^2 = 5 |x|^2 - 4 x.Rx, and a quarter turn about z leaves only z in x.Rx.
    expected = np.sqrt(5 * lengths[:4] ** 2 - 4 * target[:4, :, 2] ** 2).mean()
    assert eating["mpjpe_mm"] == pytest.approx(expected)
    assert eating["n_mpjpe_mm"] > 10


def test_velocity_of_a_drift_is_the_drift_weighted_by_frames():
    """3 mm a frame in 2 frames and 12 mm in 6: by frames 9.75, by pairs it would be 10.5.  Borders do not count."""
    split = make_split({"S9/Posing/cam0": 2, "S9/Posing/cam1": 6, "S9/Eating/cam0": 3})
    predicted = true_poses(split, np.arange(11))
    drift = np.concatenate([3 * np.arange(2), 5000 + 12 * np.arange(6), -7000 + 0 * np.arange(3)])
    metrics = score(split, predicted + drift[:, None, None] * np.array([0, 1, 0]))
    assert metrics["actions"]["Posing"]["velocity_mm"] == pytest.approx((2 * 3 + 6 * 12) / 8)
    assert metrics["actions"]["Eating"]["velocity_mm"] == pytest.approx(0, abs=1e-9)
    assert metrics["velocity_mm"] == pytest.approx(9.75 / 2)
    assert metrics["frame_mean"]["velocity_mm"] == pytest.approx((2 * 3 + 6 * 12) / 11)


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
        "no two consecutive scored frames, left out of the mean velocity over cells: S9 Eating",
    ]


def test_an_action_without_frames_is_left_out_and_said():
    split = make_split({"S9/Eating/cam0": 2, "S9/Posing/cam0": 2, "S11/Posing/cam0": 2}, valid=[1, 1, 0, 0, 0, 0])
    metrics = score(split, offset(split, [10, 0, 0]))
    assert metrics["mpjpe_mm"] == metrics["cell_mean"]["mpjpe_mm"] == pytest.approx(10)
    assert metrics["actions"]["Posing"]["frames"] == 0
    assert np.isnan(four(metrics["actions"]["Posing"])).all()
    assert np.isnan(four(metrics["subjects"]["S11"]["mean"])).all()
    assert metrics["notes"] == [
        "no scored frames, left out of the means over actions: Posing",
        "no scored frames, left out of the means over cells: S9 Posing, S11 Posing",
    ]
    assert metrics["sequences"]["S9/Posing/cam0"]["frames"] == 0


def test_poses_that_are_not_finite_are_refused():
    split = make_split({"S9/Eating/cam0": 3})
    predicted = offset(split, [1])
    predicted[2, 5, 1] = np.nan
    with pytest.raises(UserError, match="predicted poses contain NaN"):
        score(split, predicted)


# ---------------------------------------------------------------- what else the benchmark gives


def test_the_baseline_is_averaged_like_the_metric():
    split = make_split(LENGTHS)
    predicted = offset(split, range(len(LENGTHS)))
    for frames in (scored_frames(split), np.array([0, 3, 4, 20, 41])):
        errors = metrics.joint_errors(predicted[frames], true_poses(split, frames))
        expected = score(split, predicted[frames], frames)["mpjpe_mm"]
        assert BY_ACTION.mpjpe(errors, split, frames) == pytest.approx(expected, rel=1e-12)
    assert MPI_INF_3DHP.mpjpe(errors, split, frames) == pytest.approx(errors.mean(), rel=1e-12)


def test_scalars_and_curves_are_what_the_metrics_say():
    split = make_split(LENGTHS)
    evaluation = summarise(BY_ACTION, split, get_skeleton("h36m17"), "", scored_frames(split), offset(split, range(10)))
    assert evaluation.scalars == {name: evaluation.metrics[name] for name in NAMES}
    (curves,) = BY_ACTION.curves(evaluation.metrics).values()
    assert curves == {name: row["mpjpe_mm"] for name, row in evaluation.metrics["actions"].items()}
    assert list(BY_ACTION.curves(evaluation.metrics)) == ["test_mpjpe_by_action"]
    assert MPI_INF_3DHP.curves({}) == {}
    json.dumps(evaluation.metrics)  # plain numbers
