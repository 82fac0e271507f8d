import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from glagcn.data.dataset import SequenceInfo, Split
from glagcn.data.lenses import Lenses
from glagcn.data.mocap.motion import demo_source
from glagcn.data.plan import BatchSpec, select_target_frames
from glagcn.data.windows import FrameStore, _ahead, distortions, mean_pose
from glagcn.errors import UserError
from glagcn.model.temporal_conv import TemporalConv
from glagcn.poses.lift import model_inputs, normalised
from glagcn.poses.normalise import mirror
from glagcn.poses.ray import HISTORY, turned_back
from glagcn.skeletons import get_skeleton

GOLDEN = Path(__file__).parents[1] / "golden" / "windows_3dhp_27f.npz"
SKELETON = get_skeleton("mpi3dhp17")
CPU = torch.device("cpu")


def make_split(lengths, size=(2048, 2048), seed=0):
    draw = np.random.default_rng(seed)
    infos = tuple(
        SequenceInfo(f"S{k}/Seq1/cam{k % 2}", f"S{k}", k % 2, length, 25.0, *size) for k, length in enumerate(lengths)
    )
    total = sum(lengths)
    return Split(
        sequences=infos,
        starts=np.cumsum([0, *lengths[:-1]]),
        pixels=draw.uniform(0, size[0], (total, 17, 2)).astype(np.float32),
        millimetres=draw.normal(0, 900, (total, 17, 3)).astype(np.float32),
        valid=np.ones(total, dtype=bool),
        activity=None,
    )


def store_of(split, frames=27):
    return FrameStore(split, SKELETON, frames, CPU)


def test_target_frames():
    """A stride begins anew in every sequence, and a subset is the beginning of every sequence."""
    split = make_split([10, 7, 5])
    assert select_target_frames(split).tolist() == list(range(22))
    assert select_target_frames(split, stride=4).tolist() == [0, 4, 8, 10, 14, 17, 21]
    assert select_target_frames(split, subset=0.3).tolist() == [0, 1, 2, 10, 11, 12, 17, 18]
    assert select_target_frames(split, cameras=(1,)).tolist() == list(range(10, 17))
    with pytest.raises(UserError, match="invalid --cameras 5: the training data has 0, 1"):
        select_target_frames(split, cameras=(5,))


def test_equal_the_published_windows():
    arrays = dict(np.load(GOLDEN))
    picks = json.loads(str(arrays["picks"]))
    keys = list(dict.fromkeys("_".join(key) for key, _, _ in picks))
    split = make_split([len(arrays[f"raw2d_{key}"]) for key in keys])
    split.pixels[:] = np.concatenate([arrays[f"raw2d_{key}"] for key in keys])
    split.millimetres[:] = np.concatenate([arrays[f"raw3d_{key}"] for key in keys])
    store, others = store_of(split), [j for j in range(17) if j != SKELETON.root]
    for number, (key, center, flipped) in enumerate(picks):
        frame = split.starts[keys.index("_".join(key))] + center
        batch = store.windows(BatchSpec(np.array([frame]), np.array([flipped])))
        expected_2d, expected_3d = arrays[f"window{number}_2d"], arrays[f"window{number}_3d"]
        np.testing.assert_allclose(batch.inputs[0].numpy(), expected_2d.reshape(27, 17, 2), atol=1e-6)
        expected = expected_3d.reshape(27, 17, 3)[:, others] / 1000
        np.testing.assert_allclose(batch.targets[0].numpy()[:, others], expected, atol=1e-6)


def test_root_of_the_target_is_exactly_zero():
    batch = store_of(make_split([40])).windows(BatchSpec(np.arange(40), np.arange(40) % 2 == 0))
    assert (batch.targets[:, :, SKELETON.root] == 0).all()


def test_ends_repeat_and_neighbours_do_not_leak():
    split = make_split([30, 4, 30])
    store = store_of(split)
    batch = store.windows(BatchSpec(np.array([30, 33]), np.zeros(2, dtype=bool)))
    first, last = store.windows(BatchSpec(np.array([30, 33]), np.zeros(2, dtype=bool))).inputs[:, 13]
    assert (batch.inputs[0, :13] == first).all()
    assert (batch.inputs[1, 14:] == last).all()
    assert (batch.inputs[0, 16:] == last).all()  # a sequence shorter than the window repeats both ends


def test_image_size_belongs_to_the_sequence():
    split = make_split([27], size=(1920, 1080))
    split.pixels[13, 0] = (1920, 1080)
    corner = store_of(split).windows(BatchSpec(np.array([13]), np.array([False]))).inputs[0, 13, 0]
    torch.testing.assert_close(corner, torch.tensor([1, 1080 / 1920]))


def test_flip_mirrors_input_and_target():
    store = store_of(make_split([27]))
    plain, flipped = (store.windows(BatchSpec(np.array([13]), np.array([flag]))) for flag in (False, True))
    order = torch.tensor(SKELETON.mirror)
    for part, other in zip(plain[:2], flipped[:2], strict=True):
        torch.testing.assert_close(other, mirror(part, order), rtol=0, atol=0)
        torch.testing.assert_close(mirror(other, order), part, rtol=0, atol=0)
    left, right = SKELETON.joints.index("left_wrist"), SKELETON.joints.index("right_wrist")
    assert flipped.inputs[0, 0, left, 0] == -plain.inputs[0, 0, right, 0]
    assert flipped.inputs[0, 0, left, 1] == plain.inputs[0, 0, right, 1]


def test_confidences_are_one_and_a_flip_leaves_their_sign():
    split = make_split([60])
    ids = BatchSpec(np.arange(60), np.arange(60) % 2 == 0)
    plain = store_of(split).windows(ids)
    with_confidence = FrameStore(split, SKELETON, 27, CPU, channels=3).windows(ids)
    assert torch.equal(with_confidence.inputs[..., :2], plain.inputs)
    assert (with_confidence.inputs[..., 2] == 1).all()
    assert torch.equal(with_confidence.targets, plain.targets)


def test_a_distortion_turns_and_scales_the_target_alone():
    store = store_of(make_split([27]))
    ids = BatchSpec(np.full(9, 13), np.zeros(9, dtype=bool))
    plain, distorted = store.windows(ids), store.windows(ids._replace(distortions=np.arange(9)))
    assert torch.equal(plain.inputs, distorted.inputs)
    torch.testing.assert_close(distorted.targets[4], plain.targets[4])  # 0 degrees, scale 1
    angle, scale = np.deg2rad(5), 1.05  # the last of the nine
    x, y, z = plain.targets[8].unbind(-1)
    turned = [x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle), z]
    torch.testing.assert_close(distorted.targets[8], scale * torch.stack(turned, dim=-1))
    lengths = torch.linalg.det(distortions()) ** (1 / 3)
    torch.testing.assert_close(lengths, torch.tensor([0.95, 1, 1.05]).repeat(3))


def test_a_causal_window_ends_at_its_frame():
    split = make_split([30, 30])
    store = FrameStore(split, SKELETON, 9, CPU, causal=True)
    batch = store.windows(BatchSpec(np.array([32, 45]), np.zeros(2, dtype=bool)))
    singles = FrameStore(split, SKELETON, 1, CPU).windows(BatchSpec(np.arange(60), np.zeros(60, dtype=bool)))
    frames = [[30, 30, 30, 30, 30, 30, 30, 31, 32], list(range(37, 46))]
    assert torch.equal(batch.inputs, singles.inputs[:, 0][torch.tensor(frames)])


def test_inputs_of_other_joints_are_mirrored_by_their_own_pairs():
    skeleton = get_skeleton("humaneva15_coco17")
    plain = make_split([27])
    split = Split(plain.sequences, plain.starts, plain.pixels, plain.millimetres[:, :15], plain.valid, None)
    store = FrameStore(split, skeleton, 27, CPU)
    straight, mirrored = (store.windows(BatchSpec(np.array([13]), np.array([flag]))) for flag in (False, True))
    assert straight.inputs.shape == (1, 27, 17, 2)
    assert straight.targets.shape == (1, 27, 15, 3)
    coco_left_wrist, coco_right_wrist = 9, 10
    assert torch.equal(mirrored.inputs[..., coco_left_wrist, 0], -straight.inputs[..., coco_right_wrist, 0])
    left, right = skeleton.joints.index("left_wrist"), skeleton.joints.index("right_wrist")
    assert torch.equal(mirrored.targets[..., left, 1], straight.targets[..., right, 1])


def test_streaming_ahead_gives_the_same_batches_in_order():
    store = store_of(make_split([60]))
    ids = [BatchSpec(np.arange(k, k + 5), np.zeros(5, dtype=bool)) for k in range(0, 50, 5)]
    plain = list(store.stream(iter(ids)))
    ahead = list(_ahead(store.windows, iter(ids), lambda: None))
    assert len(ahead) == len(plain) == 10
    for a, b in zip(ahead[:2], plain[:2], strict=True):
        torch.testing.assert_close(a.inputs, b.inputs, rtol=0, atol=0)
    assert list(_ahead(store.windows, iter([]), lambda: None)) == []


def test_a_thread_is_one_item_ahead():
    done = []
    items = _ahead(lambda item: done.append((item, threading.current_thread())) or item, iter(range(4)), lambda: None)
    assert [next(items), next(items)] == [0, 1]
    assert 2 <= len(done) <= 3
    assert threading.main_thread() not in [thread for _, thread in done]
    assert list(items) == [2, 3]


@pytest.mark.parametrize("part", ["items", "work"])
def test_what_a_thread_raises_reaches_the_caller(part):
    def failing(item):
        if item == 2:
            raise UserError("no third window")
        return item

    ways = {"items": (int, map(failing, range(5))), "work": (failing, iter(range(5)))}
    ahead = _ahead(*ways[part], lambda: None)
    assert [next(ahead), next(ahead)] == [0, 1]
    with pytest.raises(UserError, match="no third window"):
        next(ahead)


def test_a_stream_reuses_its_memory_if_it_may():
    store = store_of(make_split([60]), frames=9)
    ids = [BatchSpec(np.arange(k, k + n), np.arange(n) % 2 == 0) for k, n in ((0, 5), (9, 5), (20, 3), (20, 0))]
    expected = [store.windows(item) for item in ids]
    places = set()
    torch.set_num_threads(2)
    for batch, plain in zip(store.stream(iter(ids), reuse=True), expected, strict=True):
        assert all(torch.equal(*pair) for pair in zip(batch[:2], plain[:2], strict=True))
        places |= {batch.inputs.data_ptr()} if len(batch.inputs) else set()
    assert len(places) == 1
    assert torch.get_num_threads() == 2
    kept = list(store.stream(iter(ids)))
    assert all(torch.equal(*pair) for pair in zip((b.inputs for b in kept), (b.inputs for b in expected), strict=True))


def test_windows_made_in_parts_are_those_made_at_once(monkeypatch):
    store = store_of(make_split([60, 40]))
    ids = BatchSpec(np.arange(100), np.arange(100) % 3 == 0, np.arange(100) % 9)
    whole = store.windows(ids)
    monkeypatch.setattr("glagcn.data.windows.PART_FRAMES", 7 * 27)
    for part, other in zip(store.windows(ids)[:2], whole[:2], strict=True):
        assert torch.equal(part, other)


def test_mean_pose_is_symmetric_and_relative_to_the_root():
    split = make_split([200])
    mean = mean_pose(split, np.arange(200), SKELETON)
    assert (mean[SKELETON.root] == 0).all()
    torch.testing.assert_close(mean, mirror(mean, torch.tensor(SKELETON.mirror)))
    relative = split.millimetres - split.millimetres[:, [SKELETON.root]]
    np.testing.assert_allclose(
        mean[:, 1], (relative.mean(0)[:, 1] + relative.mean(0)[SKELETON.mirror, 1]) / 2000, atol=1e-4
    )


def test_windows_in_the_ray_frame_are_those_that_are_lifted():
    """Of a sequence as of an array, mirrored, beyond both ends, and their targets turn back to those of the camera."""
    source = next(iter(demo_source().read("test")))
    lens = np.array([[900.0, 900.0, source.info.width / 2, source.info.height / 2]])
    split = Split((source.info,), np.array([0]), source.pixels, source.millimetres, source.valid, None)
    store = FrameStore(split, SKELETON, 9, CPU, channels=3, lenses=Lenses(lens, "calibration"))
    ids = np.arange(source.info.length)
    plain, mirrored = (store.windows(BatchSpec(ids, np.full(len(ids), flip))) for flip in (False, True))

    model = TemporalConv(SKELETON, (3, 3), 4, input="xyc")
    model.frame = "ray"
    keypoints = np.concatenate([source.pixels, np.ones_like(source.pixels[..., :1])], axis=-1)
    size = np.array([source.info.width, source.info.height])
    rows = (ids[:, None] + np.arange(1 - HISTORY - 4, 5)).clip(0, len(ids) - 1)
    windows, rotations = model_inputs(model, size, 900.0)(normalised(keypoints, size, 3)[rows])
    torch.testing.assert_close(plain.inputs, windows, atol=1e-5, rtol=0)
    torch.testing.assert_close(plain.rotations, rotations[:, 4], atol=1e-6, rtol=0)
    together, rotations = store.stretch(0, len(ids) - 1)
    torch.testing.assert_close(together.unfold(0, 9, 1).permute(0, 3, 1, 2), plain.inputs, atol=1e-6, rtol=0)
    torch.testing.assert_close(rotations, plain.rotations, atol=1e-6, rtol=0)

    order = torch.tensor(SKELETON.mirror)
    torch.testing.assert_close(mirrored.inputs, mirror(plain.inputs, order), atol=1e-5, rtol=0)
    torch.testing.assert_close(mirrored.targets, mirror(plain.targets, order), atol=1e-6, rtol=0)
    poses = torch.from_numpy(source.millimetres - source.millimetres[:, [SKELETON.root]])
    torch.testing.assert_close(turned_back(plain.targets[:, 4], plain.rotations) * 1000, poses, atol=0.01, rtol=0)
