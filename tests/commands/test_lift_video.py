"""`glagcn lift` of videos and pictures, with stand-ins for detectors (.ci/nightly has a real one)."""

import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from glagcn import signals
from glagcn.poses import detect
from glagcn.poses.draw.video import open_video, write_animation
from glagcn.poses.keypoints.read import read_keypoints
from tests.command_line import assert_refused
from tests.commands.filmed import FPS, SIZE, keypoints
from tests.commands.test_lift import arrays
from tests.poses import stand_ins
from tests.poses.stand_ins import boxes_of, film_people, install, pictures
from tests.poses.test_video import display_matrix


@pytest.fixture
def lift(verb, trained, tmp_path, monkeypatch):
    """lift("clip.mp4 --out a.npz"): the verb in tmp_path, with the tiny model and MediaPipe 0.10.21."""
    monkeypatch.chdir(tmp_path)
    install(monkeypatch, "mediapipe")
    return lambda flags: verb(f"lift {flags} --checkpoint {trained}/best.pt")


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def same(one: dict, other: dict) -> bool:
    return all(np.array_equal(value, other[key], equal_nan=value.dtype.kind == "f") for key, value in one.items())


# ---- what is detected


DETECTORS = {
    "mediapipe": (("mediapipe",), "", "mediapipe33", 1, False),
    "mediapipe tasks": (("mediapipe",), "--detector_model m.task", "mediapipe33", 1, False),
    "mediapipe tasks, several": (("mediapipe",), "--detector_model m.task --person all", "mediapipe33", 2, False),
    "ultralytics": (("ultralytics", "lap"), "", "coco17", 2, True),
    "ultralytics without lap": (("ultralytics",), "--detector ultralytics", "coco17", 2, False),
    "rtmlib": (("mediapipe", "rtmlib"), "--detector rtmlib", "halpe26", 2, False),
}


@pytest.mark.parametrize("case", DETECTORS)
def test_a_video_is_lifted_and_its_kept_keypoints_give_the_same(lift, monkeypatch, case):
    packages, flags, joints, people, ids = DETECTORS[case]
    install(monkeypatch, *packages, solutions="tasks" not in case)
    Path("m.task").write_bytes(b"a model")
    film_people(Path("clip.mp4"), 16, people=2)
    ended = lift(f"clip.mp4 {flags} --out a.npz --keep-keypoints")
    assert ended.code == 0, ended.err
    assert f"detecting with {case.split()[0]}" in ended.out
    found = read_keypoints(Path("a.keypoints.npz"))
    assert (found.convention, found.image_size, found.length, len(found.frames)) == (joints, SIZE, 16, 16 * people)
    assert set(found.persons) == ({7, 8} if ids else {-1})
    boxes = boxes_of(keypoints(16)[:, 0])
    np.testing.assert_allclose(boxes_of(found.keypoints)[::people], boxes, atol=4)
    again = "--person all" if "all" in flags else ""
    for video in ("", "--video clip.mp4"):  # without the detector
        install(monkeypatch)
        ended = lift(f"a.keypoints.npz {again} {video} --out b.npz")
        assert ended.code == 0, ended.err
        assert same(arrays("a.npz"), arrays("b.npz"))


def test_keypoints_are_kept_only_if_asked_for_and_never_replaced(lift):
    film_people(Path("clip.mp4"), 12)
    Path("p.keypoints.npz").write_bytes(b"of another time")
    assert lift("clip.mp4 --out p.npz --out over.mp4").code == 0
    assert names() == ["clip.mp4", "over.mp4", "p.keypoints.npz", "p.npz"]
    assert Path("p.keypoints.npz").read_bytes() == b"of another time"
    assert len(open_video(Path("over.mp4")).times) == 12


def test_times_of_a_variable_rate_are_those_of_the_frames(lift):
    times = np.cumsum(np.r_[0, np.tile([0.02, 0.06, 0.04], 8)])
    film_people(Path("clip.mp4"), 25, times=times)
    assert lift("clip.mp4 --out a.npz --keep-keypoints").code == 0
    np.testing.assert_allclose(arrays("a.npz")["time_s"], times, atol=1e-4)
    assert lift("a.keypoints.npz --out b.npz").code == 0
    assert same(arrays("a.npz"), arrays("b.npz"))


@pytest.mark.parametrize(
    ("matrix", "turns"), [((0, 1, -1, 0), 1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 3), ((-1, 0, 0, 1), 0)]
)
def test_a_detector_sees_upright_pictures_that_are_never_mirrored(lift, matrix, turns):
    """A phone stores the picture turned, with a display matrix; that of a front camera may mirror."""
    stored = (np.ascontiguousarray(np.rot90(picture, turns)) for picture in pictures(12))
    write_animation(Path("clip.mp4"), stored, SIZE if turns % 2 == 0 else SIZE[::-1], FPS, 3000)
    content = Path("clip.mp4").read_bytes()
    place = content.index(display_matrix(1, 0, 0, 1), content.index(b"tkhd"))
    Path("clip.mp4").write_bytes(content[:place] + display_matrix(*matrix) + content[place + 36 :])
    assert lift("clip.mp4 --out a.npz --out a.mp4 --keep-keypoints").code == 0
    found = read_keypoints(Path("a.keypoints.npz"))
    assert found.image_size == SIZE
    np.testing.assert_allclose(boxes_of(found.keypoints), boxes_of(keypoints(12)[:, 0]), atol=4)
    ended = lift("a.keypoints.npz --video clip.mp4 --out b.npz")
    assert "detectors differ" not in ended.out
    assert same(arrays("a.npz"), arrays("b.npz"))


def test_a_folder_of_pictures(lift):
    Path("film").mkdir()
    Path("film/readme.txt").touch()
    for number, picture in enumerate(pictures(12), start=8):
        exif = Image.Exif()
        exif[0x112] = 6  # stored turned, as phones do
        Image.fromarray(np.ascontiguousarray(np.rot90(picture))).save(f"film/f{number}.jpg", exif=exif)
    ended = lift("film --fps 12.5 --out a.npz --out a.mp4 --keep-keypoints")
    assert ended.code == 0, ended.err
    assert arrays("a.npz")["fps"] == 12.5
    found = read_keypoints(Path("a.keypoints.npz"))
    assert (found.image_size, found.frames.tolist()) == (SIZE, list(range(12)))
    np.testing.assert_allclose(boxes_of(found.keypoints), boxes_of(keypoints(12)[:, 0]), atol=4)
    assert lift("a.keypoints.npz --fps 12.5 --out b.npz").code == 0
    assert same(arrays("a.npz"), arrays("b.npz"))
    Path("film/f13.jpg").write_bytes(b"no picture")
    assert_refused(lift("film --out c.npz"), "f13.jpg is no picture", "kept: glagcn lift c.keypoints.npz")
    assert len(read_keypoints(Path("c.keypoints.npz")).frames) == 5
    assert "c.npz" not in names()


# ---- what bad input gets


def test_without_a_detector_the_line_to_install_is_said(lift, monkeypatch):
    film_people(Path("clip.mp4"), 3)
    install(monkeypatch)
    assert_refused(lift("clip.mp4 --out a.npz"), 'pip install "glagcn\\[detect\\]"', "file of keypoints")
    install(monkeypatch, "mediapipe")
    assert_refused(lift("clip.mp4 --detector rtmlib --out a.npz"), "pip install rtmlib", "--detector mediapipe is")
    assert_refused(lift("clip.mp4 --detector openpose --out a.npz"), "mediapipe, ultralytics, rtmlib")
    assert names() == ["clip.mp4"]


def test_models_that_cannot_be_loaded(lift, monkeypatch):
    film_people(Path("clip.mp4"), 3)
    Path("bad.task").write_bytes(b"?")
    assert_refused(lift("clip.mp4 --detector-model m.task --out a.npz"), "--detector-model m.task: no such file")
    assert_refused(lift("clip.mp4 --detector-model bad.task --out a.npz"), "bad.task fails .Unable to open zip archive")
    install(monkeypatch, "mediapipe", solutions=False)
    assert_refused(lift("clip.mp4 --out a.npz"), "https://ai.google.dev/", "--detector-model", "0.10.21")
    assert names() == ["bad.task", "clip.mp4"]


@pytest.mark.parametrize(("flags", "parts"), [
    ("clip.mp4 --video clip.mp4", ("--video", "is a video itself")),
    ("clip.mp4 --image_size 4,3", ("--image_size", "is a video itself")),
    ("k.json --detector mediapipe", ("--detector", "FILE is none")),
    ("k.json --keep-keypoints", ("--keep_keypoints", "FILE is none")),
    ("missing.mp4 --out new/a.npz", ("missing.mp4: no such file",)),
    ("broken.mp4", ("broken.mp4 cannot be read as a video",)),
    ("noise", ("noise cannot be read as a video",)),
    ("empty.mp4", ("empty.mp4 cannot be read as a video",)),
    ("clip.mp4 --joints halpe26", ("mediapipe finds 33 joints", "--joints halpe26")),
])  # fmt: skip
def test_input_that_cannot_be_lifted(lift, flags, parts):
    film_people(Path("clip.mp4"), 3)
    Path("broken.mp4").write_bytes(Path("clip.mp4").read_bytes()[:900])
    Path("noise").write_bytes(bytes(range(256)) * 20)
    Path("empty.mp4").touch()
    Path("k.json").write_text("[]")
    before = names()
    assert_refused(lift(f"{flags} --out a.npz"), *parts)
    assert names() == before


def test_a_read_only_folder_is_said_before_anything_is_detected(lift, monkeypatch):
    film_people(Path("clip.mp4"), 3)
    Path("file").touch()
    monkeypatch.setattr(stand_ins._Landmarker, "process", lambda *_: pytest.fail("detects"))
    assert_refused(lift("clip.mp4 --out file/a.npz"), "--out file is not writable")


def test_a_video_without_people(lift):
    film_people(Path("clip.mp4"), 6, people=0)
    assert_refused(lift("clip.mp4 --out a.npz --keep-keypoints"), "mediapipe finds nobody in any of 6 frames")
    assert names() == ["clip.mp4"]


def test_a_damaged_video_leaves_the_keypoints_before_the_damage(lift):
    film_people(Path("clip.mp4"), 12)
    with av.open("clip.mp4") as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(Path("clip.mp4").read_bytes())
    for place, size in packets[5:]:
        content[place : place + size] = bytes(range(256))[:size].ljust(size, b"\xff")
    Path("clip.mp4").write_bytes(content)
    assert_refused(lift("clip.mp4 --out a.npz"), "damaged after frame", "kept: glagcn lift a.keypoints.npz")
    assert names() == ["a.keypoints.npz", "clip.mp4"]
    assert lift("a.keypoints.npz --out a.npz").code == 0
    assert 0 < len(arrays("a.npz")["frame"]) <= 5


def test_a_signal_and_a_killed_process_leave_what_was_detected(lift, monkeypatch):
    film_people(Path("clip.mp4"), 12)
    real, kept = stand_ins._Landmarker.process, []
    calls = []

    def process(self, image):
        calls.append(0)
        if len(calls) == 9:
            kept.append(len(read_keypoints(Path("a.keypoints.npz")).frames))  # as a kill now would leave it
            raise signals.Stopped(15)
        return real(self, image)

    monkeypatch.setattr(stand_ins._Landmarker, "process", process)
    monkeypatch.setattr("glagcn.poses.detect.SAVE_SECONDS", 0)
    ended = lift("clip.mp4 --out a.npz")
    assert (ended.code, kept) == (75, [8])
    assert "kept: glagcn lift a.keypoints.npz" in ended.out
    assert names() == ["a.keypoints.npz", "clip.mp4"]
    assert lift("a.keypoints.npz --out a.npz").code == 0
    assert len(arrays("a.npz")["frame"]) == 8


def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path, monkeypatch):
    """Of a frame, what is found stays in memory, not its picture of 900 kB."""
    install(monkeypatch, "mediapipe")
    most = []
    for frames in (20, 120):
        film_people(tmp_path / "clip.mp4", frames)
        tracemalloc.start()
        with detect.detected(open_video(tmp_path / "clip.mp4"), tmp_path / "k.npz", detect.find_detector(None)):
            most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert most[1] - most[0] < 2 * SIZE[0] * SIZE[1] * 3
