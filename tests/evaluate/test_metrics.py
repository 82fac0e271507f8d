from pathlib import Path

import numpy as np
import pytest
import torch

from glagcn import metrics
from glagcn.errors import UserError
from glagcn.skeletons import get_skeleton

GOLDEN = Path(__file__).parents[1] / "golden"
JOINT = {name: number for number, name in enumerate(get_skeleton("mpi3dhp17").joints)}
BEST_AUC = 3000 / 31


def random_poses(frames=7, joints=17, seed=0):
    return np.random.default_rng(seed).normal(scale=300, size=(frames, joints, 3))


def random_rotations(count, seed=0):
    rotations, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(count, 3, 3)))
    return rotations * np.linalg.det(rotations)[:, None, None]


def official(predicted, target):
    tables = metrics.official_3dhp([predicted], [target], None)["sequencewise"]
    return {name: tables[name]["TestSeq1"] for name in tables}


def test_reference_results():
    with np.load(GOLDEN / "metrics.npz") as file:
        for name in ("mpjpe", "p_mpjpe", "n_mpjpe", "mean_velocity_error"):
            found = getattr(metrics, name.removeprefix("mean_"))(file["predicted"], file["target"])
            assert found == pytest.approx(float(file[name]), rel=1e-12)


def test_procrustes_undoes_rotation_scale_and_shift_and_n_mpjpe_scale_alone():
    target = random_poses()
    scale = np.linspace(0.2, 5, 7)[:, None, None]
    predicted = scale * target @ random_rotations(7) + np.random.default_rng(1).normal(size=(7, 1, 3)) * 1000
    assert metrics.p_mpjpe(predicted, target) == pytest.approx(0, abs=1e-9)
    assert metrics.mpjpe(predicted, target) > 100
    assert metrics.n_mpjpe(3 * target, target) == pytest.approx(0, abs=1e-9)
    assert metrics.n_mpjpe(target + 100, target) > 10


def test_procrustes_of_a_mirror_image_reverses_the_weakest_axis():
    """Six joints at +-300, +-200 and +-100 on the axes; the best rotation of their mirror image is a half turn."""
    target = np.concatenate([np.diag([300.0, 200.0, 100.0]), -np.diag([300.0, 200.0, 100.0])])[None]
    scale = (3**2 + 2**2 - 1**2) / (3**2 + 2**2 + 1**2)
    expected = ((1 - scale) * 300 + (1 - scale) * 200 + (1 + scale) * 100) / 3
    assert metrics.p_mpjpe(target * [-1, 1, 1], target) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("function", [metrics.mpjpe, metrics.p_mpjpe, metrics.n_mpjpe, metrics.velocity_error])
def test_a_constant_pose_is_no_nan(function):
    constant, target = np.zeros((7, 17, 3)), random_poses()
    assert np.isfinite(function(constant, target))
    assert np.isfinite(function(target, constant))
    assert function(constant, constant) == pytest.approx(0, abs=1e-9)


def test_velocity_counts_neighbours_only():
    target = random_poses()
    predicted = target.copy()
    predicted[4:] += [0, 0, 60]
    assert metrics.velocity_error(predicted, target) == pytest.approx(10)
    consecutive = np.array([1, 1, 1, 0, 1, 1], dtype=bool)
    assert metrics.velocity_error(predicted, target, consecutive) == pytest.approx(0)
    assert np.isnan(metrics.velocity_error(predicted, target, np.zeros(6, dtype=bool)))
    with pytest.raises(UserError, match=r"expected a bool for each pair, \(6,\)"):
        metrics.velocity_error(predicted, target, np.ones(7, dtype=bool))


def test_pck_and_auc_take_poses_or_their_joint_errors():
    target = random_poses()
    predicted = target + np.linspace([0, 0, 10], [0, 0, 290], 17)
    errors = metrics.joint_errors(predicted, target)
    share = 100 * np.mean(np.linspace(10, 290, 17) < 150)
    assert metrics.pck(predicted, target) == metrics.pck(errors) == metrics.pck(errors.tolist()) == pytest.approx(share)
    assert metrics.pck([100.0, 200.0]) == metrics.pck([[100], [200]]) == 50
    assert metrics.pck(predicted, target, threshold=50) == metrics.pck(errors, 50.0) == pytest.approx(100 * 3 / 17)
    assert metrics.auc(predicted, target) == metrics.auc(errors) == metrics.auc(torch.from_numpy(errors))
    assert metrics.auc([72.0, 200.0]) == pytest.approx(100 * 16 / 31 / 2)
    assert np.isnan(metrics.pck([]))


@pytest.mark.parametrize("function", [metrics.pck, metrics.auc])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([100.0, np.nan],), "joint errors contain NaN or infinity"),
        ((["far"],), "joint errors have type <U3; expected numbers"),
        ((np.full((2, 17, 3), np.nan), np.zeros((2, 17, 3))), "the predicted poses contain NaN or infinity"),
        ((np.zeros((2, 17, 3)), np.zeros((2, 16, 3))), "expected two equal shapes"),
        (([-1.0, 5.0],), "a joint error is -1, which is no distance; for poses, give the target too"),
        (
            (random_poses() / 1000, random_poses(seed=1) / 1000),
            "the target are .* large; give both in the same unit",
        ),
    ],
)
def test_errors_of_which_no_share_can_be_counted_are_refused(function, arguments, message):
    with pytest.raises(UserError, match=message):
        function(*arguments)


@pytest.mark.parametrize("threshold", [0, -5, np.nan, np.inf, True, "150", None, [50, 150]])
def test_a_threshold_that_is_no_positive_number_is_refused(threshold):
    with pytest.raises(UserError, match="invalid threshold .*must be a positive number"):
        metrics.pck(random_poses(), random_poses(seed=1), threshold=threshold)


def test_a_threshold_in_another_unit_is_refused_or_warned_of(caplog):
    target, predicted = random_poses(), random_poses(seed=1)
    with pytest.raises(UserError, match=r"the threshold is 0\.15 and the people of the target are .* same unit"):
        metrics.pck(predicted, target, 0.15)
    assert metrics.pck(predicted / 1000, target / 1000, 0.15) == pytest.approx(metrics.pck(predicted, target))
    assert not caplog.messages
    metrics.pck(metrics.joint_errors(predicted, target) / 1000)
    assert "metres? The threshold is 150" in caplog.text


def test_float32_and_tensors_are_taken():
    predicted, target = random_poses().astype(np.float32), random_poses(seed=1).astype(np.float32)
    tensors = torch.from_numpy(predicted).requires_grad_(), torch.from_numpy(target)
    assert metrics.p_mpjpe(*tensors) == metrics.p_mpjpe(predicted, target)
    assert metrics.mpjpe(*tensors) == metrics.mpjpe(predicted.astype(np.float64), target.astype(np.float64))
    assert metrics.mpjpe(tensors[0].bfloat16(), target) == pytest.approx(metrics.mpjpe(*tensors), rel=1e-2)


@pytest.mark.parametrize("function", [metrics.mpjpe, metrics.p_mpjpe, metrics.n_mpjpe, metrics.velocity_error])
def test_shapes_that_do_not_fit(function):
    with pytest.raises(UserError, match=r"predicted \(7, 17, 3\) and target \(6, 17, 3\)"):
        function(random_poses(), random_poses(frames=6))
    with pytest.raises(UserError, match=r"\[T,V,3\]"):
        function(random_poses()[0], random_poses()[0])
    broken = random_poses()
    broken[3, 2, 1] = np.nan
    with pytest.raises(UserError, match="target poses contain NaN"):
        function(random_poses(), broken)


def moved(joints, distance):
    """Predictions that are off by `distance` mm in some joints, and their target."""
    target = np.round(random_poses())
    predicted = target.copy()
    predicted[:, [JOINT[name] for name in joints], 0] += distance
    return predicted, target


@pytest.mark.parametrize(
    ("joints", "distance", "mpjpe", "pck", "auc"),
    [
        (JOINT, 0, 0, 100, BEST_AUC),
        (JOINT, 150, 150, 0, 0),
        (JOINT, 149.9999, 149.9999, 100, 100 / 31),
        (["pelvis", "spine", "head"], 1000, 3000 / 17, 100, BEST_AUC),
        (["head_top"], 200, 200 / 17, 1300 / 14, BEST_AUC * 13 / 14),
    ],
)
def test_closed_forms(joints, distance, mpjpe, pck, auc):
    rows = official(*moved(joints, distance))
    assert rows["MPJPE"]["Average"] == pytest.approx(mpjpe, rel=1e-13)
    assert rows["PCK"]["Total"] == pytest.approx(pck, rel=1e-13)
    assert rows["AUC"]["Total"] == pytest.approx(auc, rel=1e-13)


def test_any_number_of_sequences_with_names_and_without_activities():
    sequences = [random_poses(frames) for frames in (4, 0, 9)]
    tables = metrics.official_3dhp(sequences, [poses + 10 for poses in sequences], None)
    assert list(tables["sequencewise"]["PCK"]) == ["TestSeq1", "TestSeq2", "TestSeq3"]
    assert np.isnan(list(tables["sequencewise"]["MPJPE"]["TestSeq2"].values())).all()
    assert list(tables) == ["sequencewise"]
    tables = metrics.official_3dhp(sequences, sequences, None, names=["TestSeq5", "mine", "b"])
    assert list(tables["sequencewise"]["AUC"]) == ["TestSeq5", "mine", "b"]
    for names in (["TestSeq5"], ["mine", "mine", "b"]):
        with pytest.raises(UserError, match="expected 3 different names"):
            metrics.official_3dhp(sequences, sequences, None, names=names)


def test_an_activity_without_frames_is_nan():
    poses = random_poses()
    tables = metrics.official_3dhp([poses], [poses], [np.array([1, 1, 1, 4, 4, 4, 7])])["activitywise"]
    assert tables["PCK"]["Standing/Walking"]["Total"] == 100
    for table in tables.values():
        assert np.isnan(list(table["Sports"].values())).all()


@pytest.mark.parametrize(
    ("predicted", "target", "activity", "message"),
    [
        ([random_poses()], [], None, "1 predicted and 0 target sequences"),
        ([random_poses(joints=16)], [random_poses(joints=16)], None, "sequence 1 has 16 joints"),
        ([random_poses()], [random_poses()], [np.ones(6)], r"labels for \[6\] frames; the sequences have \[7\]"),
        ([random_poses()], [random_poses()], [np.arange(7)], r"unknown activities \[0.0\]; expected 1 to 7"),
    ],
)
def test_what_does_not_fit_is_refused(predicted, target, activity, message):
    with pytest.raises(UserError, match=message):
        metrics.official_3dhp(predicted, target, activity)
