"""Simulated detections: the shares and sizes that a level states, and windows that belong to (seed, epoch, step)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from glagcn.data.detector_noise import (
    LOWEST_CONFIDENCE,
    NUM_DRAWS,
    OUTLIER_REACH,
    TABLE_FRAMES,
    DetectorNoise,
    filled,
    frame_rates,
    with_detector_noise,
)
from glagcn.data.noise_levels import LEVELS, NoiseLevel
from glagcn.data.plan import BatchSpec, EpochPlan
from glagcn.data.windows import FrameStore
from glagcn.poses.gaps import fill_gaps
from glagcn.skeletons import get_skeleton
from tests.data.test_windows import make_split

SKELETON = get_skeleton("mpi3dhp17")
CPU = torch.device("cpu")
NOTHING = {"noise": 0, "spread": 0, "approximated": 0, "outliers": 0, "missing": 0, "lost": 0, "swapped": 0}
MIRROR = torch.tensor(SKELETON.mirror)
WHOLE = {"starts": torch.zeros(1, dtype=torch.long), "rates": torch.full((1,), 25.0)}


def only(skeleton=SKELETON, **errors):
    return DetectorNoise(NoiseLevel(**(NOTHING | errors)), skeleton, 0, CPU)


def standing(frames=TABLE_FRAMES, size=1.0, joints=17):
    """Somebody who does not move, whose box is `size` high and half as wide."""
    pose = torch.rand(joints, 2, generator=torch.Generator().manual_seed(0))
    pose = (pose - pose.amin(0)) / (pose.amax(0) - pose.amin(0)) * torch.tensor([size / 2, size])
    return pose.expand(1, frames, -1, -1)


def errors_of(augmentation, size=1.0):
    """The offsets [T,V,2] over the whole table, and the confidences [T,V]."""
    poses = standing(size=size)
    found = augmentation.apply(poses, **WHOLE)
    return (found[..., :2] - poses)[0], found[0, ..., 2]


def test_noise_has_the_stated_part_of_the_persons_size():
    for size in (0.5, 300.0):
        offsets, confidence = errors_of(only(noise=0.02), size)
        torch.testing.assert_close(offsets.std() / size, torch.tensor(0.02), rtol=0.01, atol=0)
        assert offsets.mean().abs() < 1e-3 * size
        assert confidence.min() > 0.6


def test_noise_grows_as_confidence_falls():
    offsets, confidence = errors_of(only(noise=0.02, spread=0.8))
    order = confidence.flatten().argsort()
    distances = offsets.norm(dim=-1).flatten()[order].chunk(4)
    means = [part.mean().item() for part in distances]
    assert means == sorted(means, reverse=True)
    assert means[0] > 3 * means[-1]
    assert confidence.min() >= LOWEST_CONFIDENCE


def test_the_stated_share_of_joints_is_missing_for_some_frames_often_with_its_limb():
    _, confidence = errors_of(only(missing=0.1))
    missing = confidence == 0
    torch.testing.assert_close(missing.float().mean(), torch.tensor(0.1), rtol=0.01, atol=0)
    begins = (missing[1:] & ~missing[:-1]).sum()
    assert 4 < missing.sum() / begins < 40  # the mean length of a gap
    elbow, wrist, other = (missing[:, SKELETON.joints.index(n)] for n in ("left_elbow", "left_wrist", "right_wrist"))
    assert (elbow & wrist).float().mean() > 2 * (elbow & other).float().mean()


def test_in_lost_frames_nothing_is_found():
    _, confidence = errors_of(only(lost=0.05))
    lost = (confidence == 0).all(dim=1)
    assert ((confidence == 0).any(dim=1) == lost).all()
    torch.testing.assert_close(lost.float().mean(), torch.tensor(0.05), rtol=0.01, atol=0)


def test_outliers_are_rare_and_near_the_person():
    offsets, confidence = errors_of(only(outliers=0.01))
    far = offsets.abs().amax(dim=-1) > 0
    torch.testing.assert_close(far.float().mean(), torch.tensor(0.01), rtol=0.02, atol=0)
    assert offsets.abs().max() <= OUTLIER_REACH + 1e-4
    assert confidence[far].mean() < 0.7 * confidence[~far].mean()


def test_swaps_exchange_arms_or_legs_and_nothing_else():
    poses = standing()
    found = only(swapped=0.02).apply(poses, **WHOLE)[0, ..., :2]
    swapped = (found == poses[0, :, MIRROR]).all(dim=2) & (found != poses[0]).any(dim=2)
    assert (swapped | (found == poses[0]).all(dim=2)).all()
    names = dict(zip(SKELETON.joints, swapped.T, strict=True))
    for limb in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")):
        columns = torch.stack([names[f"{side}_{part}"] for part in limb for side in ("left", "right")])
        assert (columns == columns[0]).all()
        torch.testing.assert_close(columns[0].float().mean(), torch.tensor(0.02), rtol=0.01, atol=0)
    assert (names["left_wrist"] != names["left_knee"]).any()
    assert not torch.stack([names[name] for name in ("pelvis", "neck", "head", "spine", "head_top")]).any()


def test_joints_that_detectors_do_not_find_as_such_are_off_for_long():
    offsets, _ = errors_of(only(approximated=0.03))
    off = offsets.abs().amax(dim=(0, 2)) > 0
    assert {name for name, is_off in zip(SKELETON.joints, off, strict=True) if is_off} == {
        "head_top", "neck", "pelvis", "spine", "head",
    }  # fmt: skip
    torch.testing.assert_close(offsets[:, off].std(), torch.tensor(0.03), rtol=0.05, atol=0)
    assert offsets.diff(dim=0).abs().max() < 0.001
    assert not errors_of(only(get_skeleton("humaneva15_coco17"), approximated=0.03))[0].any()


@pytest.mark.parametrize("longest", [1, 3, 12])
def test_gaps_are_filled_as_the_keypoint_readers_do(longest):
    draws = np.random.default_rng(longest)
    poses = draws.uniform(0, 1, (6, 40, 5, 3)).astype(np.float32) + 0.01
    present = draws.uniform(0, 1, (6, 40, 5)) > np.linspace(0.05, 0.95, 6)[:, None, None]
    present[0, :, 1] = False  # throughout
    present[:, :2, 2], present[:, -2:, 3], present[:, 20, 4] = False, False, True
    poses[..., 2] *= present
    found = filled(torch.from_numpy(poses), torch.full((6,), float(longest)))
    for window, expected in zip(found.numpy(), poses, strict=True):
        np.testing.assert_allclose(window, fill_gaps(expected, longest), atol=1e-5)
    assert not filled(torch.zeros(1, 3, 17, 3), torch.ones(1)).any()  # nothing is found in the window


def test_frame_rates_are_from_12_to_60_and_starts_are_rows_of_the_table():
    draws = np.random.default_rng(0).random(10_000, np.float32)
    rates = frame_rates(draws)
    assert 12 <= rates.min() < 12.1
    assert 59.5 < rates.max() <= 60
    np.testing.assert_allclose(np.median(rates), np.sqrt(12 * 60), rtol=0.05)
    draws = np.append(draws, np.nextafter(np.float32(1), np.float32(0)))
    starts = DetectorNoise.parameters(np.full(len(draws), 25.0), np.stack([draws, draws], axis=1))[:, 0]
    assert (starts.min() >= 0, starts.max()) == (True, TABLE_FRAMES - 1)


def store_of(split, level="heavy", channels=3, frames=9, seed=0):
    augmentation = DetectorNoise(LEVELS[level], SKELETON, seed, CPU) if level else None
    return FrameStore(split, SKELETON, frames, CPU, channels=channels, noise=augmentation)


def ids_of(frames, rate=0.5, start=0.3):
    draws = np.stack([np.full(len(frames), start), np.full(len(frames), rate)], axis=1).astype(np.float32)
    return BatchSpec(frames, np.zeros(len(frames), dtype=bool), noise_draws=draws)


def test_a_slower_rate_reaches_further_and_interpolates_both_poses():
    """Somebody at constant speed: positions are linear in time, so interpolation is exact."""
    split = make_split([100])
    time = np.arange(100, dtype=np.float32)[:, None, None]
    split.pixels[:], split.millimetres[:] = time + np.arange(17)[:, None], 0
    split.millimetres[:, 0] = 1000 * time[:, 0]
    draw = 0.25
    step = 25 / frame_rates(np.array([draw], np.float32))[0]
    store = FrameStore(split, SKELETON, 9, CPU, channels=3, noise=only())
    batch = store.windows(ids_of(np.array([50]), rate=draw))
    expected = (50 + step * (np.arange(9) - 4)) / 1024 - 1
    np.testing.assert_allclose(batch.inputs[0, :, 0, 0], expected, atol=1e-4)
    np.testing.assert_allclose(batch.targets[0, :, 0, 0], 50 + step * (np.arange(9) - 4), atol=1e-3)
    ends = store.windows(ids_of(np.array([0, 99]), rate=0.0)).targets[:, :, 0, 0]
    assert ends[0, :5].tolist() == [0] * 5
    assert ends[1, 4:].tolist() == [99] * 5


def test_the_target_stays_and_the_input_changes():
    split = make_split([60])
    ids = ids_of(np.arange(60))
    exact, found = store_of(split, None).windows(ids), store_of(split).windows(ids)
    assert torch.equal(exact.targets[:, 4], found.targets[:, 4])
    assert (exact.inputs[..., :2] - found.inputs[..., :2]).abs().mean() > 0.01
    assert torch.equal(store_of(split, channels=2).windows(ids).inputs, found.inputs[..., :2])


def test_windows_belong_to_the_draws_and_not_to_the_share_of_a_rank():
    store = store_of(make_split([120, 80]))
    ids = EpochPlan(np.arange(200), 40, "random", 3, camera_draws=2, noise_draws=NUM_DRAWS).batch(1, 2)
    whole = store.windows(ids).inputs
    parts = torch.cat([store.windows(ids.part(begin, begin + 10)).inputs for begin in range(0, 40, 10)])
    assert torch.equal(whole, parts)
    assert (store_of(make_split([120, 80]), seed=1).windows(ids).inputs != whole).any()
    other = EpochPlan(np.arange(200), 40, "random", 3, camera_draws=2, noise_draws=NUM_DRAWS).batch(2, 2)
    assert (other.noise_draws != ids.noise_draws).all()
    without = EpochPlan(np.arange(200), 40, "random", 3, camera_draws=2).batch(1, 2)
    assert without.noise_draws is None
    for name in ("frames", "flips", "camera_draws"):
        np.testing.assert_array_equal(getattr(without, name), getattr(ids, name))


def test_a_split_with_detections_is_the_same_for_every_selection_of_its_sequences():
    split = make_split([60, 50])
    before = split.pixels.copy()
    whole = with_detector_noise(split, SKELETON, "heavy")
    assert with_detector_noise(split, SKELETON, None) is split
    np.testing.assert_array_equal(split.pixels, before)
    arrays = {name: getattr(split, name)[60:] for name in ("pixels", "millimetres", "valid")}
    alone = replace(split, sequences=split.sequences[1:], starts=np.array([0]), **arrays)
    again = with_detector_noise(alone, SKELETON, "heavy")
    np.testing.assert_array_equal(again.pixels, whole.pixels[60:])
    np.testing.assert_array_equal(again.confidence, whole.confidence[60:])
    assert 0.02 < np.mean(whole.confidence == 0) < 0.6


def test_the_confidences_of_a_split_follow_its_windows_and_flips():
    split = with_detector_noise(make_split([60]), SKELETON, "heavy")
    store = store_of(split, None)
    plain, mirrored = (
        store.windows(BatchSpec(np.array([2, 30]), np.full(2, flip))).inputs[..., 2] for flip in (False, True)
    )
    rows = np.clip(np.array([2, 30])[:, None] + np.arange(9) - 4, 0, 59)
    np.testing.assert_array_equal(plain, split.confidence[rows])
    assert torch.equal(mirrored, plain[:, :, MIRROR])
