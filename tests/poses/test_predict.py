import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import glagcn
from glagcn.checkpoints import ours as checkpoint
from glagcn.checkpoints.load import load_model
from glagcn.errors import UserError
from glagcn.model.gla_gcn.network import LiftingNetwork
from glagcn.model.registry import model_config
from glagcn.poses.joints import input_convention
from glagcn.poses.lift import BATCH, predict
from glagcn.skeletons import get_skeleton
from tests.data.tiny_videopose3d import TO_H36M, world_motion

GOLDEN = Path(__file__).parents[1] / "golden"
SIZE = (1920, 1080)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3), 8).eval()


def pixels(frames: int, joints: int = 17) -> np.ndarray:
    return np.random.default_rng(0).uniform((0, 0), SIZE, (frames, joints, 2))


def walking(frames: int) -> np.ndarray:
    """[T,17,2] pixels of somebody who walks, joints of MPI-INF-3DHP."""
    motion = world_motion("h36m", "S1", "Walking", frames)
    return np.stack([motion[..., 0], -motion[..., 2]], axis=-1) * 250 + (960, 900)


def write(path: Path, model: LiftingNetwork, /, **changes) -> Path:
    content = {"config": {}, "model_config": model_config(model), "model": model.state_dict()}
    checkpoint.save(path, content | changes)
    return path


# ---- predict


def test_each_frame_is_the_centre_of_its_window_with_repeated_ends(model):
    pose_2d = pixels(5)
    pose_3d = predict(model, pose_2d, SIZE, flip=False)
    normalised = torch.from_numpy(pose_2d * 2 / 1920 - (1, 1080 / 1920)).float()
    for frame in range(5):
        window = normalised[np.clip(np.arange(frame - 4, frame + 5), 0, 4)]
        expected = model(window[None]).target[0, 0].detach().numpy() * 1000
        expected[14] = 0
        np.testing.assert_allclose(pose_3d[frame], expected, atol=1e-2)


@pytest.mark.parametrize("frames", [1, 8, BATCH + 1])
def test_the_result_is_as_long_as_the_input_and_the_root_is_zero(model, frames):
    pose_3d = predict(model, pixels(frames).astype(np.float32), SIZE)
    assert pose_3d.shape == (frames, 17, 3)
    assert pose_3d.dtype == np.float32
    assert not pose_3d[:, model.skeleton.root].any()
    assert np.abs(pose_3d).max() > 1


@pytest.mark.parametrize("name", ["h36m_27f", "humaneva15_gt_27f", "humaneva15_coco17_27f"])
def test_with_flip_a_mirrored_sequence_gives_the_mirrored_poses(name):
    """The average over both is exactly symmetric; for COCO input, eyes and ears (1 to 4) are read by no joint."""
    model = load_model(GOLDEN / f"{name}.bin")
    pose_2d = pixels(4, model.skeleton.num_input_joints)
    coco = [0, 1, 2, 3, 4, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    order = coco if model.skeleton.joint_map is not None else model.skeleton.mirror
    mirrored_2d = pose_2d[:, order] * (-1, 1) + (1920, 0)
    joints = input_convention(model.skeleton).name  # stated, since these poses are no body
    expected = predict(model, pose_2d, SIZE, joints=joints)[:, model.skeleton.mirror] * (-1, 1, 1)
    found = predict(model, mirrored_2d, SIZE, joints=joints)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(predict(model, mirrored_2d, SIZE, flip=False, joints=joints) - expected).max() > 1


def test_a_model_with_confidences_reads_them_and_the_places_that_were_filled_in(model):
    """Joint 3 is missing in frame 4 and lies in the middle of 3 and 5; confidences are cut off at 1."""
    model = LiftingNetwork(get_skeleton("mpi3dhp17"), (3, 3), 8, sequence_layers=0, input="xyc").eval()
    given = np.concatenate([pixels(9), np.random.default_rng(1).uniform(0.1, 1.2, (9, 17, 1))], axis=2)
    given[4, 3] = (0, 0, 0)
    filled = torch.from_numpy(given * (2 / 1920, 2 / 1920, 1) - (1, 1080 / 1920, 0)).float()
    filled[4, 3] = (filled[3, 3] + filled[5, 3]) / 2
    filled[4, 3, 2] = 0
    filled[..., 2].clamp_(max=1)
    expected = model(filled[None]).target[0, 0].detach().numpy() * 1000
    expected[model.skeleton.root] = 0
    found = predict(model, given, SIZE, flip=False, frames=[4])[0]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    with_ones = np.concatenate([pixels(9), np.ones((9, 17, 1))], axis=2)
    np.testing.assert_array_equal(predict(model, pixels(9), SIZE), predict(model, with_ones, SIZE))
    assert np.abs(predict(model, with_ones, SIZE) - predict(model, given, SIZE)).max() > 1e-3


def test_a_causal_model_needs_no_frames_to_come():
    torch.manual_seed(0)
    model = LiftingNetwork(get_skeleton("h36m17"), (3, 3), 8, causal=True).eval()
    pose_2d = pixels(12)
    changed = pose_2d.copy()
    changed[7:] = pixels(5)[:, ::-1]
    before, after = (predict(model, poses, SIZE) for poses in (pose_2d, changed))
    np.testing.assert_array_equal(before[:7], after[:7])
    assert np.abs(before[7:] - after[7:]).max(axis=(1, 2)).min() > 1


def test_each_thread_of_predict_computes_alone(model):
    """Threads that share an operation wait for each other at its end, and beside another process that takes longest."""
    seen, along = [], model.predict_sequence

    def predict_sequence(x):
        seen.append((threading.get_ident(), torch.get_num_threads()))
        return along(x)

    model.predict_sequence = predict_sequence
    torch.set_num_threads(4)
    predict(model, pixels(100), SIZE)
    assert {count for _, count in seen} == {1}
    assert len(seen) >= 4  # a stretch each, and their mirror images
    assert threading.get_ident() not in {thread for thread, _ in seen}
    assert torch.get_num_threads() == 4


def test_the_number_of_threads_changes_nothing(model):
    expected = predict(model, pixels(70), SIZE)
    torch.set_num_threads(3)
    np.testing.assert_allclose(predict(model, pixels(70), SIZE), expected, atol=1e-3)


def test_predict_leaves_the_model_and_the_input_as_they_were(model):
    model.train()
    pose_2d = pixels(3)
    before, state = pose_2d.copy(), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = glagcn.predict(model, pose_2d, image_size=SIZE)
    assert model.training
    assert np.array_equal(pose_2d, before)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert np.array_equal(first, predict(model.eval(), pose_2d, SIZE))


def test_predict_takes_tensors_lists_and_models_of_another_type(model):
    pose_2d = pixels(3)
    expected = predict(model, pose_2d, SIZE)
    for same in (torch.from_numpy(pose_2d), pose_2d.tolist()):
        np.testing.assert_allclose(predict(model, same, torch.tensor(SIZE)), expected, atol=1e-3)
    np.testing.assert_allclose(predict(model.double(), pose_2d, SIZE), expected, atol=1e-2)


def test_predict_keeps_what_is_frozen_frozen(model):
    model.train()
    model.input_norm.eval()
    predict(model, pixels(3), SIZE)
    assert model.training
    assert model.head.training
    assert not model.input_norm.training


def test_exchanged_sides_of_the_image_are_noticed(model, caplog):
    across = walking(20) + np.linspace(-700, 700, 20)[:, None, None] * (1, 0)
    predict(model, across, SIZE)
    assert caplog.text == ""
    predict(model, across, SIZE[::-1])
    assert "width and height seem to be exchanged" in caplog.text


@pytest.mark.parametrize(
    ("pose_2d", "size", "message"),
    [
        (pixels(3, 16), SIZE, r"shape \[3, 16, 2\]; expected \[T, 17, 2\]"),
        (pixels(3)[0], SIZE, r"shape \[17, 2\]"),
        (pixels(0), SIZE, r"shape \[0, 17, 2\].*at least one frame"),
        (np.full((2, 17, 2), np.nan), SIZE, "holds no joint in any of 2 frames"),
        (np.zeros((2, 17, 2)), SIZE, "holds no joint in any of 2 frames"),
        (np.full((2, 17, 2), "a"), SIZE, "must be an array of numbers"),
        (walking(3) / 960 - 1, SIZE, "these seem to be parts of the image .* and no pixels of 1920x1080"),
        (walking(3) + 9000, SIZE, "100% of the joints are outside the image of 1920x1080"),
        (pixels(3), (0, 1080), r"invalid image_size \[0, 1080\]"),
        (pixels(3), (1920,), "image_size"),
        (pixels(3), 1920, "invalid image_size 1920"),
        ([[1.0, 2.0], [3.0]], SIZE, "pose_2d is not an array"),
        (torch.full((2, 17, 2), torch.nan), SIZE, "holds no joint in any of 2 frames"),
    ],
)
def test_input_that_cannot_be_is_refused(model, pose_2d, size, message):
    with pytest.raises(UserError, match=message):
        predict(model, pose_2d, size)


# ---- predict: what is missing, other orders, and frames


@pytest.mark.parametrize("mark", [np.nan, 0, -1, "masked", "unsure", "far"])
def test_missing_joints_are_filled_aloud_however_they_are_marked(model, caplog, mark):
    whole = walking(40)
    straight = whole.copy()
    straight[10:15, 4] = np.linspace(whole[9, 4], whole[15, 4], 7)[1:-1]
    given = np.ma.masked_array(whole, np.zeros(whole.shape, bool))
    if mark == "masked":
        given[10:15, 4] = np.ma.masked
    elif mark == "unsure":
        given = np.concatenate([whole, np.ones((40, 17, 1))], axis=2)
        given[10:15, 4] = 5, 5, 0.01
    else:
        given = whole.copy()
        given[10:15, 4] = 9999 if mark == "far" else mark
    found = predict(model, given, SIZE)
    np.testing.assert_allclose(found, predict(model, straight, SIZE), atol=1e-2)
    assert caplog.messages == ["pose_2d has 5 missing joints: 5 interpolated"]


def test_long_gaps_and_ends_are_held_and_counted(model, caplog):
    given = walking(40)
    given[:2] = given[10:23] = given[39] = np.nan  # 13 frames are more than 12
    held = walking(40)
    held[:2], held[10:17], held[17:23], held[39] = held[2], held[9], held[23], held[38]
    np.testing.assert_allclose(predict(model, given, SIZE), predict(model, held, SIZE), atol=1e-2)
    assert caplog.messages == [f"pose_2d has {16 * 17} missing joints: {16 * 17} held at their nearest place"]
    caplog.clear()
    predict(model, given, SIZE, fps=30)
    assert caplog.messages == [
        f"pose_2d has {16 * 17} missing joints: {13 * 17} interpolated, {3 * 17} held at their nearest place"
    ]


def test_a_confidence_alone_changes_nothing(model, caplog):
    given = np.concatenate([walking(20), np.full((20, 17, 1), 0.5)], axis=2)
    np.testing.assert_array_equal(predict(model, given, SIZE), predict(model, walking(20), SIZE))
    assert caplog.text == ""


def test_scores_above_1_are_brought_to_1_aloud(model, caplog):
    """Of 0 to 100, 2 is no joint."""
    given = np.concatenate([walking(40), np.full((40, 17, 1), 90.0)], axis=2)
    given[10:15, 4] = 900, 900, 2
    missing = walking(40)
    missing[10:15, 4] = np.nan
    np.testing.assert_allclose(predict(model, given, SIZE), predict(model, missing, SIZE), atol=1e-2)
    assert caplog.messages[0].startswith("pose_2d: the confidences reach 90, which counts as 1; joints below 4.5 are")
    assert caplog.messages[1] == "pose_2d has 5 missing joints: 5 interpolated"


def test_a_depth_is_no_confidence(model, caplog):
    depth = np.linspace(-0.4, 0.3, 33)
    with pytest.raises(UserError, match=r"pose_2d: the third value .* from -0.4 to -0.05.*not negative"):
        predict(model, np.dstack([walking(9), np.tile(depth[:17], (9, 1))]), SIZE)
    marks = np.repeat(walking(9), 2, axis=1)[:, :33]
    found = predict(model, np.dstack([marks, np.tile(depth, (9, 1))]), SIZE, joints="mediapipe33")
    assert any("a depth and no confidence; it is left out" in message for message in caplog.messages)
    np.testing.assert_array_equal(found, predict(model, marks, SIZE, joints="mediapipe33"))


def test_a_joint_that_is_never_seen_is_named(model, caplog):
    given = walking(20)
    given[:, 13] = 0
    assert np.isfinite(predict(model, given, SIZE)).all()
    assert "20 never seen (left_ankle)" in caplog.text


def test_joints_in_another_order_are_mapped_where_it_is_said_and_refused_where_not(model):
    expected = predict(model, walking(20), SIZE)
    np.testing.assert_allclose(predict(model, walking(20)[:, TO_H36M], SIZE, joints="h36m17"), expected, atol=1e-2)
    with pytest.raises(
        UserError, match=r"pose_2d: .* look like h36m17, .*--joints h36m17 or mpi3dhp17 \(joints= in Python; docs"
    ):
        predict(model, walking(20)[:, TO_H36M], SIZE)
    predict(model, walking(20)[:, TO_H36M], SIZE, joints="mpi3dhp17")  # whoever says it is believed
    assert predict(model, pixels(4, 26), SIZE, joints="halpe26").shape == (4, 17, 3)
    with pytest.raises(UserError, match=r"shape \[4, 26, 3\]; expected \[T, 25, 2\].* joints='openpose_body25' names"):
        predict(model, np.ones((4, 26, 3)) + 300, SIZE, joints="openpose_body25")
    with pytest.raises(UserError, match="unknown joints 'coco'; must be one of coco17, "):
        predict(model, walking(20), SIZE, joints="coco")


def test_frames_are_chosen_by_number_or_mask_and_nothing_else(model):
    pose_2d = walking(20)
    whole = predict(model, pose_2d, SIZE)
    mask = np.arange(20) % 3 == 0
    for frames in (mask, mask.tolist(), np.flatnonzero(mask), np.flatnonzero(mask).astype(np.uint8)):
        np.testing.assert_allclose(predict(model, pose_2d, SIZE, frames=frames), whole[mask], atol=1e-3)
    for nothing in ([], np.zeros(20, bool), np.zeros(0, np.int64)):
        found = predict(model, pose_2d, SIZE, frames=nothing)
        assert (found.shape, found.dtype) == ((0, 17, 3), np.float32)
    for frames, message in (
        ([20], "frames holds 20 to 20; expected numbers from 0 to 19"),
        ([0, -1], "frames holds -1 to 0"),
        (mask[:5], r"frames has shape \[5\] and type bool; expected frame numbers, or a mask of 20 values"),
        ([0.5], "type float64"),
        ([[1]], r"shape \[1, 1\]"),
        (["a"], "type <U1"),
    ):
        with pytest.raises(UserError, match=message):
            predict(model, pose_2d, SIZE, frames=frames)
