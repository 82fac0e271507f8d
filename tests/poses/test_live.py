import gc
import runpy
import sys
import threading
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import glagcn
from glagcn.api import Lifter
from glagcn.errors import UserError
from glagcn.model.cores import on_every_core, one_thread
from glagcn.poses.gaps import like_standing
from glagcn.poses.joints import input_convention
from glagcn.poses.lift import normalised
from glagcn.skeletons import get_skeleton
from tests.checkpoints.exported_models import a_checkpoint, a_model

SIZE, FPS = (1920, 1080), 25
SKELETON = get_skeleton("mpi3dhp17")


def pixels(frames: int) -> np.ndarray:
    return np.random.default_rng(0).uniform((0, 0), SIZE, (frames, 17, 2))


def stream(lifter, frames, times=None) -> list:
    """Every pose that is not None, those at the end too."""
    times = [None] * len(frames) if times is None else times
    poses = [lifter.push(frame, time) for frame, time in zip(frames, times, strict=True)]
    return [pose for pose in poses if pose is not None] + list(lifter.finish())


def assert_same(poses, expected):
    assert len(poses) == len(expected)
    np.testing.assert_allclose(poses, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["gla_gcn", "temporal_conv"])
@pytest.mark.parametrize("length", [1, 3, 12])
def test_a_stream_has_the_poses_of_the_whole_sequence(kind, causal, flip, length):
    model = a_model(kind, causal=causal)
    lifter = Lifter(model, SIZE, flip=flip)
    expected = glagcn.predict(model, pixels(length), SIZE, flip=flip)
    assert not expected[:, model.skeleton.root].any()
    for _ in range(2):  # a second stream knows nothing of the first
        assert_same(stream(lifter, pixels(length)), expected)


def test_a_causal_model_gives_the_pose_of_the_present_and_others_that_of_four_frames_ago():
    assert Lifter(a_model(causal=True), SIZE).delay == 0
    lifter = Lifter(a_model(), SIZE)
    assert lifter.delay == 4
    given = [lifter.push(frame) is not None for frame in pixels(6)]
    assert given == [False] * 4 + [True] * 2


def test_a_path_is_loaded(tmp_path):
    model = a_model(causal=True)
    lifter = glagcn.Lifter(a_checkpoint(tmp_path / "best.pt", model), SIZE)
    assert_same(stream(lifter, pixels(3)), glagcn.predict(model, pixels(3), SIZE))


def test_joints_of_a_detector_are_brought_to_those_of_the_model():
    model, coco = a_model(causal=True), pixels(3)
    lifter = Lifter(model, SIZE, joints="coco17")
    expected = glagcn.predict(model, coco, SIZE, joints="coco17")
    assert_same(stream(lifter, coco), expected)
    with pytest.raises(UserError, match=r"expected \[17, 2\], or 3 .* of the 17 joints that joints='coco17' names"):
        lifter.push(coco[0, :13])
    with pytest.raises(UserError, match="unknown joints 'coco18'"):
        Lifter(model, SIZE, joints="coco18")


def test_missing_frames_have_the_keypoints_before_them():
    model, frames = a_model(), pixels(5)
    pushed = [None, None, *frames[:2], None, None, *frames[2:], None]
    filled = frames[[0, 1, 1, 1, 2, 3, 4, 4]]
    assert_same(stream(Lifter(model, SIZE), pushed), glagcn.predict(model, filled, SIZE))


@pytest.mark.parametrize("joint", [(0, 0, 0.3), (-1, -1, 0.9), (np.nan, 5, 0.9), (1e4, 500, 0.9), (5, 5, 0.01)])
@pytest.mark.parametrize("joints", [None, "coco17"])
@pytest.mark.parametrize("input", ["xy", "xyc"])
def test_a_joint_that_is_missing_for_predict_is_missing_in_a_stream(input, joints, joint):
    """From its loss to the end, where predict has nothing to interpolate to, both hold it without confidence."""
    model = a_model(causal=True, input=input)
    given = np.dstack([pixels(5), np.full((5, 17), 0.7)])
    given[2:, 9] = joint
    expected = glagcn.predict(model, given, SIZE, joints=joints)
    assert_same(stream(Lifter(model, SIZE, joints=joints), given), expected)


@pytest.mark.parametrize("nobody", [None, np.zeros((17, 2)), np.full((17, 2), np.nan)])
def test_nobody_does_not_replace_a_frame_of_the_same_time(nobody):
    model, frames = a_model(causal=True, input="xyc"), pixels(3)
    lifter = Lifter(model, SIZE, FPS)
    poses = [lifter.push(frame, number / FPS) for number, frame in enumerate(frames[:2])]
    np.testing.assert_array_equal(lifter.push(nobody, 1 / FPS), poses[1])
    poses.append(lifter.push(frames[2], 2 / FPS))
    assert_same(poses, glagcn.predict(model, frames, SIZE))


def test_scores_above_1_are_divided_by_the_largest_so_far_and_said_once(caplog):
    model = a_model(causal=True, input="xyc")
    given = np.dstack([pixels(6), np.full((6, 17), 90.0)])
    given[3:, 9] = 5, 5, 2  # of 100: not seen
    expected = given * (1, 1, 1 / 90)
    expected[3:, 9] = 0
    poses = stream(Lifter(model, SIZE), given)
    assert [message for message in caplog.messages if "which counts as 1" in message] == caplog.messages[:1]
    assert_same(poses, glagcn.predict(model, expected, SIZE))


def test_a_depth_is_left_out_of_a_stream_of_mediapipe_and_refused_in_others(caplog):
    model, marks = a_model(causal=True), np.random.default_rng(0).uniform((0, 0), SIZE, (4, 33, 2))
    given = np.dstack([marks, np.tile(np.linspace(-0.4, 0.3, 33), (4, 1))])
    poses = stream(Lifter(model, SIZE, joints="mediapipe33"), given)
    assert len([message for message in caplog.messages if "a depth and no confidence; it is left" in message]) == 1
    assert_same(poses, stream(Lifter(model, SIZE, joints="mediapipe33"), marks))
    with pytest.raises(UserError, match="keypoints: the third value of the joints is from -0.4"):
        Lifter(model, SIZE).push(given[0, :17])


@pytest.mark.parametrize(("unit", "name"), [(1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds")])
@pytest.mark.parametrize("camera", [10, 30, 60])
def test_times_in_another_unit_are_named_once(caplog, unit, name, camera):
    lifter = Lifter(a_model(causal=True), SIZE, 30)
    for number, frame in enumerate(pixels(40)):
        lifter.push(frame, 5e5 + number / camera * unit)
    (said,) = [message for message in caplog.messages if message.startswith("time:")]
    assert f"it seems to be in {name}" in said
    assert f"time / {unit:g}" in said


@pytest.mark.parametrize("times", [np.zeros(40), np.arange(40) // 20, np.arange(40) / 30 / 3600])
def test_a_clock_that_stands_still_is_named_once(caplog, times):
    lifter = Lifter(a_model(causal=True), SIZE, 30)
    for time, frame in zip(times, pixels(40), strict=True):
        lifter.push(frame, time)
    (said,) = [message for message in caplog.messages if message.startswith("time:")]
    assert "the clock stands still" in said


@pytest.mark.parametrize("times", [
    np.arange(40) / 30, np.arange(40) * 2.0, np.arange(40) / 300, np.arange(40) // 2 / 15,
    np.r_[np.arange(20) / 30, 50 + np.arange(20) / 30], np.r_[0, 1e3, 2e3, 2e3 + np.arange(37) / 30],
])  # fmt: skip
def test_of_slow_fast_and_interrupted_cameras_nothing_is_said(caplog, times):
    lifter = Lifter(a_model(causal=True), SIZE, 30)
    for time, frame in zip(times, pixels(40), strict=True):
        lifter.push(frame, time)
    assert not [message for message in caplog.messages if message.startswith("time:")]


@pytest.mark.parametrize("input", ["xy", "xyc"])
def test_missing_joints_stay_where_they_were_without_confidence(input):
    model, frames = a_model(input=input), pixels(5)
    given = np.concatenate([frames, np.full((5, 17, 1), 0.7)], axis=2)
    pushed = given.copy()
    pushed[0, 6], pushed[2, 3], pushed[3, 3] = (np.nan, 0, 0), (5, 5, 0.01), (0, 0, 0)
    held = given.copy()
    points = input_convention(model.skeleton).points
    held[0, 6, :2] = like_standing(given[:1], np.arange(17) == 6, points)[0, 0]
    held[0, 6, 2], held[2:4, 3, 2], held[2:4, 3, :2] = 0, 0, given[1, 3, :2]
    lifter = Lifter(model, SIZE, flip=False)
    found = [lifter.push(frame) for frame in pushed]
    assert found[:4] == [None] * 4
    windows = normalised(held[[0, 0, 0, 0, 0, 1, 2, 3, 4]], np.array(SIZE), len(input))
    expected = model(windows[None]).target[0, 0].detach().numpy() * 1000
    expected[model.skeleton.root] = 0
    assert_same(found[4], expected)


def test_a_stream_for_a_model_with_confidences_is_that_of_predict():
    model = a_model(input="xyc")
    given = np.concatenate([pixels(12), np.linspace(0.1, 1, 12 * 17).reshape(12, 17, 1)], axis=2)
    assert_same(stream(Lifter(model, SIZE), given), glagcn.predict(model, given, SIZE))


@pytest.mark.parametrize(
    ("times", "places"),
    [
        ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
        ([7000, 7001.3, 7001.8, 7003.4, 7003.6], [0, 1, 2, 3, 4]),  # a clock that trembles, and does not begin at 0
        ([0, 1, 4, 5, 6], [0, 1, 1, 1, 2, 3, 4]),  # two frames are lacking
        ([0, 0.6, 1.3, 2, 3], [0, 2, 3, 4]),  # two frames for one place: the second
        ([0, 1, 40, 41, 42], [0, *[1] * 39, 2, 3, 4]),  # a gap longer than the window
        ([None, None, 50, 52, None], [0, 1, 2, 2, 3, 4]),  # a clock that comes later
    ],
)
def test_times_place_frames_on_the_grid(times, places):
    """The last pose, and those of the end, read all frames since the gap."""
    model, frames = a_model(), pixels(5)
    lifter = Lifter(model, SIZE, FPS)
    seconds = [None if time is None else time / FPS for time in times]
    poses = stream(lifter, frames, seconds)[-lifter.delay - 1 :]
    expected = glagcn.predict(model, frames[places], SIZE)[-lifter.delay - 1 :]
    assert_same(poses, expected[-len(poses) :])


def test_after_a_long_time_nothing_large_is_made():
    lifter = Lifter(a_model(causal=True), SIZE)
    lifter.push(pixels(1)[0], 0)
    assert lifter.push(pixels(1)[0], 1e9).shape == (17, 3)


@pytest.mark.parametrize(
    ("keypoints", "time", "message"),
    [
        (pixels(1), None, r"keypoints has shape \[1, 17, 2\]; expected \[17, 2\], or 3 with a confidence"),
        (pixels(1)[0, :16], None, r"shape \[16, 2\].*17 joints that this model \(mpi3dhp17\) reads"),
        ("a", None, "must be an array of numbers"),
        (pixels(1)[0], 9.9, r"invalid time 9\.9: lies 0\.08 s before the newest"),
        (pixels(1)[0], float("nan"), "invalid time nan"),
        (None, 9.9, r"invalid time 9\.9"),
    ],
)
def test_a_frame_that_is_refused_is_left_out(keypoints, time, message):
    model, frames = a_model(causal=True), pixels(4)
    lifter = Lifter(model, SIZE, FPS)
    poses = [lifter.push(frame, 9.9 + (1 + number) / FPS) for number, frame in enumerate(frames[:2])]
    with pytest.raises(UserError, match=message):
        lifter.push(keypoints, time)
    poses += [lifter.push(frame) for frame in frames[2:]]
    assert_same(poses, glagcn.predict(model, frames, SIZE))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SIZE, 0), "invalid fps 0"),
        ((SIZE, float("nan")), "invalid fps nan"),
        (((0, 1080),), r"invalid image_size \[0, 1080\]"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        Lifter(a_model(), *arguments)


def test_coordinates_that_are_no_pixels_are_refused():
    with pytest.raises(UserError, match="keypoints: .* seem to be parts of the image"):
        Lifter(a_model(), SIZE).push(pixels(1)[0] / 960 - 1)


def test_parts_of_the_image_are_brought_to_pixels_as_in_predict_and_files():
    model, frames = a_model(), pixels(12)
    whole, parts = (list(stream(Lifter(model, SIZE), given)) for given in (frames, frames / SIZE))
    assert_same(parts, whole)


def test_one_thread_computes_and_the_model_stays_as_it_was(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "glagcn.poses.lift.lifting",
        lambda *_: lambda _: seen.append(torch.get_num_threads()) or torch.ones(1, 17, 3),
    )
    torch.set_num_threads(3)
    model = a_model(causal=True).train()
    Lifter(model, SIZE).push(pixels(1)[0])
    assert (seen, torch.get_num_threads()) == ([1], 3)
    assert model.training


def test_threads_that_lift_at_the_same_time_leave_the_number_of_threads_as_it_was():
    """Two streams and `predict`: whoever comes or goes first, and in a thread that is new, the number is the same."""
    torch.set_num_threads(3)
    model, frames = a_model(causal=True), pixels(30)
    together, found = threading.Barrier(3), []

    def run(work):
        together.wait()
        work()
        found.append(torch.get_num_threads())

    work = [lambda: stream(Lifter(model, SIZE), frames)] * 2 + [lambda: glagcn.predict(model, frames, SIZE)]
    for _ in range(5):
        threads = [threading.Thread(target=run, args=(one,)) for one in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert [*found, torch.get_num_threads()] == [3] * 17


def test_blocks_of_one_thread_may_overlap_and_be_nested():
    torch.set_num_threads(3)
    inside, leave, found = threading.Event(), threading.Event(), []

    def other():
        with one_thread():
            inside.set()
            leave.wait()
            found.append(torch.get_num_threads())
        found.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait()
    with one_thread():
        with one_thread():
            pass
        found.append(torch.get_num_threads())
        leave.set()
        thread.join()
        found.append(torch.get_num_threads())
    assert found == [1, 1, 3, 1]
    assert torch.get_num_threads() == 3


def test_a_thread_that_began_during_the_block_of_another_is_not_left_alone():
    torch.set_num_threads(3)
    begun, leave, found = threading.Event(), threading.Event(), []

    def new():
        found.append(torch.get_num_threads())
        begun.set()
        leave.wait()
        with one_thread():
            pass
        found.append(torch.get_num_threads())

    thread = threading.Thread(target=new)
    with one_thread():
        thread.start()
        begun.wait()
    leave.set()
    thread.join()
    with one_thread():
        pass
    assert (found, torch.get_num_threads()) == ([1, 3], 3)
    torch.set_num_threads(1)
    with one_thread():
        pass
    assert torch.get_num_threads() == 1


def test_each_thread_of_on_every_core_computes_alone_all_the_time():
    torch.set_num_threads(3)

    def work(_):
        with one_thread():
            pass
        return torch.get_num_threads()

    assert list(on_every_core(work, range(12))) == [1] * 12
    assert torch.get_num_threads() == 3


def test_the_webcam_example_shows_a_pose_for_every_picture(shipped, monkeypatch):
    """With a camera of three pictures and a detector that finds somebody in the last two."""
    people = iter([np.empty((0, 17, 3)), *(np.dstack([pixels(2) / 3, np.ones((2, 17))])[:, None])])
    pictures = iter([np.zeros((480, 640, 3), np.uint8)] * 3)
    shown = []
    cv2 = SimpleNamespace(
        VideoCapture=lambda camera: SimpleNamespace(read=lambda: ((found := next(pictures, None)) is not None, found)),
        waitKey=lambda milliseconds: -1,
        imshow=lambda title, image: shown.append(title),
        line=lambda canvas, start, end, colour, width: canvas,
    )
    detector = SimpleNamespace(YOLO=lambda name: lambda image, verbose: [
        SimpleNamespace(keypoints=SimpleNamespace(data=torch.from_numpy(next(people))))
    ])  # fmt: skip
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    monkeypatch.setitem(sys.modules, "ultralytics", detector)
    monkeypatch.setattr(sys, "argv", ["webcam.py"])
    runpy.run_module("glagcn.examples.webcam", run_name="__main__")
    assert shown.count("camera") == 3
    assert shown.count("3D, from the side") == 2
    monkeypatch.setattr(sys, "argv", ["webcam.py", "--help"])
    with pytest.raises(SystemExit, match="CAMERA"):
        runpy.run_module("glagcn.examples.webcam", run_name="__main__")
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(SystemExit, match="needs ultralytics: pip install opencv-python ultralytics"):
        runpy.run_module("glagcn.examples.webcam", run_name="__main__")


def test_joints_that_are_never_seen_are_named_once(caplog):
    """After the first second with somebody, or at the end of a shorter stream; not those seen in one frame of it."""
    model, legs = a_model(causal=True), [SKELETON.joints.index(f"left_{part}") for part in ("knee", "ankle")]
    for length in (3 * FPS, 10):
        caplog.clear()
        frames = pixels(length)
        frames[:, legs] = np.nan
        frames[1:, 0] = np.nan
        stream(Lifter(model, SIZE, fps=FPS), frames)
        (said,) = [message for message in caplog.messages if "not seen" in message]
        assert said.startswith(
            f"keypoints: left_knee, left_ankle were not seen in the first {min(length, FPS)} frames;"
        )
    caplog.clear()
    stream(Lifter(model, SIZE, fps=FPS), pixels(40))
    assert not [message for message in caplog.messages if "not seen" in message]


def test_the_memory_of_a_long_stream_does_not_grow(caplog):
    """Not beyond the first second and the first minute, after which the checks begin anew."""
    caplog.set_level("ERROR", "glagcn")  # what is kept of messages would count
    lifter, frames = Lifter(a_model("temporal_conv", causal=True), SIZE, fps=2, flip=False), pixels(20)
    tracemalloc.start()
    try:
        held = []
        for number in range(601):
            lifter.push(frames[number % 20], number / 2)
            if number in (300, 600):
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[1] - held[0] < 20_000, held  # bytes: 300 frames as they come are 80,000


def test_joints_that_are_never_seen_are_where_predict_has_them():
    model, frames = a_model(causal=True), pixels(12)
    frames[:, [SKELETON.joints.index(f"left_{part}") for part in ("hip", "knee", "ankle")]] = np.nan
    assert_same(stream(Lifter(model, SIZE, fps=FPS), frames), glagcn.predict(model, frames, SIZE, fps=FPS))
