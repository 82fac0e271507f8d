"""Windows seen from elsewhere, against a camera that is known and moved by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from glagcn.data.camera_augmentation import CameraAugmentation, CameraRange, find_cameras, fit_cameras
from glagcn.data.dataset import SequenceInfo, Split
from glagcn.data.plan import BatchSpec
from glagcn.data.windows import FrameStore
from glagcn.errors import UserError
from glagcn.skeletons import get_skeleton

SKELETON = get_skeleton("mpi3dhp17")
ROOT = SKELETON.root
CPU = torch.device("cpu")
FRAMES, TARGET = 9, 4
FOCAL, CENTRE, SCALE = np.array([1500.0, 1480.0]), np.array([1030.0, 1020.0]), 0.9
UP = np.array([0.05, -0.98, 0.15]) / np.linalg.norm([0.05, -0.98, 0.15])


def project(points):
    """Camera-space millimetres [...,3] to pixels [...,2], by the true camera."""
    return points[..., :2] / points[..., 2:] * FOCAL + CENTRE


def axis_turn(axis, degrees):
    """The rotation about an axis, by another way than Rodrigues' formula: a matrix exponential."""
    x, y, z = axis * np.deg2rad(degrees)
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)).numpy()


def walking_split():
    """One upright person who walks; 3D scaled about the root by 1 / SCALE, so that it projects onto nothing."""
    draw = np.random.default_rng(0)
    time = np.arange(80)[:, None]
    root = np.concatenate([-900 + 20 * time, 100 + 3 * time, 3500 + 15 * time], axis=1)[:, None]
    offsets = draw.normal(0, 200, (80, 17, 3))
    middle = [j for j, other in enumerate(SKELETON.mirror) if j == other and j != ROOT]
    offsets[:, middle] += 500 * UP - offsets[:, middle].mean(axis=1, keepdims=True)
    offsets[:, ROOT] = 0
    info = SequenceInfo("S1/Seq1/cam0", "S1", 0, 80, 25.0, 2048, 2048)
    pixels, poses = project(root + offsets), root + offsets / SCALE
    arrays = (values.astype(np.float32) for values in (pixels, poses))
    return Split((info,), np.array([0]), *arrays, np.ones(80, dtype=bool), None)


@pytest.fixture(scope="module")
def split():
    return walking_split()


def test_the_camera_is_found_from_the_data_alone(split):
    cameras, ups = find_cameras(split, SKELETON)
    np.testing.assert_allclose(cameras, [[*FOCAL, *CENTRE, SCALE]], rtol=1e-4)
    np.testing.assert_allclose(ups, [UP], atol=1e-5)


def test_sequences_that_are_fitted_together_do_not_disturb_each_other(split):
    """A short sequence, one that no camera sees, and one at the camera itself, beside the whole one."""
    noise, at_the_camera = split.pixels[::-1], np.zeros_like(split.millimetres)
    whole = split.sequences[0]
    sequences = (whole, replace(whole, length=7), whole, whole)
    pixels = np.concatenate([split.pixels, split.pixels[:7], noise, split.pixels])
    poses = np.concatenate([split.millimetres, split.millimetres[:7], split.millimetres, at_the_camera])
    starts = np.array([0, 80, 87, 167])
    together = Split(sequences, starts, pixels, poses, np.ones(len(pixels), dtype=bool), None)
    cameras, errors = fit_cameras(together, range(4), SKELETON)
    np.testing.assert_allclose(cameras[:2], [[*FOCAL, *CENTRE, SCALE]] * 2, rtol=1e-4)
    assert (errors[:2] < 0.01).all()
    assert errors[2] > 50
    assert errors[3] == np.inf
    alone, _ = fit_cameras(together, [1], SKELETON)
    np.testing.assert_allclose(alone[0], cameras[1], rtol=1e-12)
    assert fit_cameras(together, [], SKELETON)[0].shape == (0, 5)


@pytest.mark.parametrize("draw", [(0.5, 0, 0, 0), (0, -1, 0, 0), (0, 0, 0.3, 0), (0, 0, 0, 1), (1, 0.5, -0.25, -0.5)])
def test_a_moved_window_is_what_the_camera_would_have_seen(split, draw):
    change = CameraRange(turn=120, tilt=10, roll=5, distance=0.2)
    pixels = torch.from_numpy(split.pixels[20 : 20 + FRAMES])[None]
    poses = torch.from_numpy(split.millimetres[20 : 20 + FRAMES])[None]
    augmentation = CameraAugmentation(change, split, SKELETON, TARGET)
    parameters = augmentation.parameters(np.zeros(1, np.int64), np.array([draw], np.float32))
    moved_pixels, moved_poses = augmentation.apply(pixels, poses, parameters)

    rotation = (
        axis_turn(np.array([0, 0, 1.0]), 5 * draw[2])
        @ axis_turn(np.array([1.0, 0, 0]), 10 * draw[1])
        @ axis_turn(UP, 120 * draw[0])
    )
    world = split.millimetres[20 : 20 + FRAMES].astype(np.float64)
    root = world[:, ROOT, None]
    pivot = root[TARGET]
    new_root = (root - pivot) @ rotation.T + pivot * np.exp(0.2 * draw[3])
    offsets = (world - root) @ rotation.T
    np.testing.assert_allclose(moved_poses[0].numpy(), new_root + offsets, atol=0.1)
    np.testing.assert_allclose(moved_pixels[0].numpy(), project(new_root + SCALE * offsets), atol=0.1)


def test_what_the_2d_is_off_by_stays(split):
    shifted = Split(split.sequences, split.starts, split.pixels.copy(), split.millimetres, split.valid, None)
    shifted.pixels[:, 3] += [1.5, -2.0]
    ids = BatchSpec(np.array([40]), np.array([False]), None, np.array([[0.7, 0.2, 0, 0]], np.float32))
    pair = []
    for part in (split, shifted):
        pair.append(FrameStore(part, SKELETON, FRAMES, CPU, camera_range=CameraRange(180, 10)).windows(ids).inputs)  # noqa: PERF401
    difference = (pair[1] - pair[0]) * 1024
    np.testing.assert_allclose(difference[0, :, 3].numpy(), np.tile([1.5, -2.0], (FRAMES, 1)), atol=0.2)
    others = np.arange(17) != 3
    assert difference[0][:, others].abs().max() < 0.3  # the camera that is found is nearly the same


def test_no_move_is_no_change_and_distances_are_kept(split):
    store = FrameStore(split, SKELETON, FRAMES, CPU, camera_range=CameraRange(180, 10, 5, 0.2))
    frames, flips = np.array([0, 30, 79]), np.array([False, True, False])
    plain = store.windows(BatchSpec(frames, flips))
    still = store.windows(BatchSpec(frames, flips, None, np.zeros((3, 4), np.float32)))
    torch.testing.assert_close(still.inputs, plain.inputs, atol=1e-5, rtol=0)
    torch.testing.assert_close(still.targets, plain.targets, atol=1e-5, rtol=0)
    moved = store.windows(BatchSpec(frames, flips, None, np.full((3, 4), 0.6, np.float32)))
    assert (moved.inputs - plain.inputs).abs().mean() > 0.01
    torch.testing.assert_close(moved.targets.norm(dim=-1), plain.targets.norm(dim=-1), atol=1e-4, rtol=0)


def test_data_that_does_not_project_is_refused(split):
    mixed = Split(split.sequences, split.starts, split.pixels[::-1].copy(), split.millimetres, split.valid, None)
    with pytest.raises(UserError, match=r"camera of S1/Seq1/cam0 has a reprojection error of \d+ px; --turn, --tilt"):
        find_cameras(mixed, SKELETON)
    relative = split.millimetres - split.millimetres[:, ROOT, None]
    flat = Split(split.sequences, split.starts, split.pixels, relative, split.valid, None)
    with pytest.raises(UserError, match="Leave these flags out for this data"):
        find_cameras(flat, SKELETON)
    with pytest.raises(UserError, match="humaneva15_coco17 maps other 2D joints"):
        find_cameras(split, get_skeleton("humaneva15_coco17"))
