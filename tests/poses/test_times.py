"""Every frame has a time: of variable rates, dropped frames, pictures of another count, and files that state times."""

import json
import logging
from pathlib import Path

import av
import numpy as np
import pytest

import glagcn
from glagcn.data.cache import open_cache
from glagcn.errors import UserError
from glagcn.poses.draw.video import open_video
from glagcn.poses.gaps import fill_gaps
from glagcn.poses.joints import CONVENTIONS
from glagcn.poses.lift import lift_people
from glagcn.poses.recording import Recording, read_recording
from glagcn.poses.result import filled
from glagcn.poses.root_path import smoothed
from glagcn.poses.writers.tables import write_people
from glagcn.skeletons import get_skeleton
from tests.commands.filmed import FPS, SIZE, film, keypoints, known
from tests.poses.keypoints import written
from tests.poses.people import person, random_poses, read_bvh

SLOWING = np.concatenate([np.arange(30) / 30, 1 + np.arange(30) / 10])  # 30, then 10 frames a second


@pytest.fixture(autouse=True)
def everything_is_logged(caplog):
    caplog.set_level(logging.INFO, "glagcn")


def saved(path: Path, poses: np.ndarray, **more) -> Path:
    np.savez(path, keypoints=poses, joints="coco17", **more)
    return path


def seen(recording: Recording) -> list[int]:
    """The frames in which somebody is seen."""
    return [track.start + int(n) for track in recording.tracks for n in np.flatnonzero(track.keypoints[..., 2].any(1))]


# ---- what the model reads and gives


@pytest.mark.parametrize("places", ["the video", "the file"])
def test_a_rate_that_falls_from_30_to_10_costs_little(demo_root, tmp_path, places, caplog):
    """Within 5 % of the error of the same person filmed evenly, in the frames that both have."""
    test = open_cache(demo_root / "demo_gt.h5").test
    pixels, truth = np.array(test.pixels[:90]), np.array(test.millimetres[:90])
    truth = truth - truth[:, 14:15]
    kept = np.array([*range(45), *range(45, 90, 3)])
    given = {"keypoints": pixels[kept], "joints": "mpi3dhp17", "image_size": (2048, 2048)}
    video = known(len(kept), (2048, 2048), 20.0, kept / 30 + 1.4) if places == "the video" else None
    np.savez(tmp_path / "k.npz", **given, **({} if video else {"timestamps_ms": np.rint(kept / 30 * 1000)}))
    recording = read_recording(tmp_path / "k.npz", video)
    assert recording.fps == pytest.approx(30, rel=0.03)
    assert (
        "has a variable frame rate, its frames 0.0333 to 0.1 s apart" in caplog.text
        or "placed by the times in the file" in caplog.text
    )
    model = glagcn.load_model("centred")
    (lifted,) = lift_people(model, recording, False)
    even = glagcn.predict(model, pixels, (2048, 2048), flip=False, frames=kept)
    rows = np.arange(len(kept)) if video else kept  # without a video, frames are those of the even rate
    assert np.isin(rows, lifted.frames).all()
    lifted_mm = lifted.xyz[np.searchsorted(lifted.frames, rows)]
    ignored = glagcn.predict(model, pixels[kept], (2048, 2048), flip=False)
    error, usual = (np.linalg.norm(poses - truth[kept], axis=-1).mean() for poses in (lifted_mm, even))
    apart, usually = (np.linalg.norm(poses - even, axis=-1).mean() for poses in (lifted_mm, ignored))
    assert error < 1.05 * usual
    assert video is None or 3 * apart < usually  # without a video, frames between those of the file count as missing
    np.testing.assert_allclose(lifted.seconds[np.searchsorted(lifted.frames, rows)], kept / 30, atol=1e-3)


def test_a_gap_in_time_ends_a_track_also_where_no_frame_number_is_missing(tmp_path):
    times = np.concatenate([np.arange(20), np.arange(20) + 80]) / FPS
    path = saved(tmp_path / "k.npz", keypoints(40)[:, 0])
    recording = read_recording(path, known(40, times=times))
    assert [(track.start, len(track.keypoints)) for track in recording.tracks] == [(0, 20), (20, 20)]
    np.testing.assert_allclose(recording.places(recording.tracks[1]), np.arange(80, 100))


def test_poses_may_go_on_where_a_video_of_a_variable_rate_has_ended(tmp_path):
    path = saved(tmp_path / "k.npz", keypoints(63)[:, 0])
    recording = read_recording(path, known(60, times=SLOWING), may_end=True)
    np.testing.assert_allclose(recording.times, [*SLOWING, *(3.9 + np.arange(1, 4) / recording.fps)])
    assert recording.places(recording.tracks[0])[-1] == pytest.approx(3.9 * recording.fps + 3)
    with pytest.raises(UserError, match="poses up to frame 62, and --video clip.mp4 has the frames 0 to 59"):
        read_recording(path, known(60, times=SLOWING))


@pytest.mark.parametrize(("longest", "expected"), [(12, 40), (2, 50)])  # interpolated; held where 3 frames are gone
def test_joints_are_interpolated_by_time(longest, expected):
    marked = np.ones((4, 1, 3), np.float32)
    marked[:, 0, 0], marked[2] = [0, 10, 0, 50], 0
    found = fill_gaps(marked, longest, None, np.array([0, 1, 4, 5]))
    assert found[2, 0, 0] == pytest.approx(expected)
    assert fill_gaps(marked, longest)[2, 0, 0] == 30


# ---- which frame a pose belongs to


def numbered(folder: Path, names: list[str]) -> Path:
    poses = keypoints(len(names))[:, 0]
    rows = [{"image_id": n, "keypoints": p.ravel().tolist()} for n, p in zip(names, poses, strict=True)]
    (folder / "k.json").write_text(json.dumps(rows))
    return folder / "k.json"


@pytest.mark.parametrize(
    ("count", "length", "frames", "words"),
    [
        (20, 60, range(0, 60, 3), "every 3. frame seems to have been detected"),
        (17, 50, range(0, 50, 3), "every 3. frame seems to have been detected"),
        (40, 50, range(40), "has 50 frames: nobody is in those after frame 39, the last in"),
        (25, 25, range(25), None),
    ],
)
def test_fewer_poses_than_the_video_has_frames_are_said(tmp_path, caplog, count, length, frames, words):
    recording = read_recording(saved(tmp_path / "k.npz", keypoints(count)[:, 0]), known(length))
    assert (seen(recording), recording.fps) == (list(frames), FPS)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == (words is not None)
    assert words is None or words in warnings[0]


@pytest.mark.parametrize(
    ("count", "length", "start", "words"),
    [
        (20, 60, 0, "number n is taken for frame 3 (n - 1)"),
        (40, 50, 1, "if its pictures are numbered from 1, as ffmpeg does, every pose is one frame late"),
        (50, 50, 0, "so picture 1 is taken for frame 0"),
    ],
)
def test_numbers_that_begin_with_1_are_said(tmp_path, caplog, count, length, start, words):
    recording = read_recording(numbered(tmp_path, [f"{n:06d}.png" for n in range(1, count + 1)]), known(length))
    assert recording.tracks[0].start == start
    assert words in caplog.text


def test_more_pictures_than_frames_of_a_variable_rate_name_the_cause(tmp_path):
    path = numbered(tmp_path, [f"{n:06d}.png" for n in range(1, 119)])
    with pytest.raises(UserError, match=r"poses up to frame 118, .* -fps_mode passthrough"):
        read_recording(path, known(60, times=SLOWING))


@pytest.mark.parametrize(
    ("names", "fps"),
    [
        ([f"{1000 * n // 30}.jpg" for n in range(40)], 30),  # milliseconds
        ([f"cam_{10**15 + 10**6 * n // 20}.png" for n in range(40)], 20),  # microseconds of a clock
        ([f"{1.5 + n / 25:.3f}.jpg" for n in range(40)], 25),  # seconds
        ([n * 40 for n in range(40)], 25),
        ([1_700_000_000_000 + n * 50 for n in range(40)], 20),  # of a computer's clock
    ],
)
def test_numbers_that_are_times_are_taken_for_times(tmp_path, caplog, names, fps):
    recording = read_recording(numbered(tmp_path, names), image_size=SIZE)
    assert (seen(recording), recording.times) == (list(range(40)), None)
    assert recording.fps == pytest.approx(fps, rel=1e-3)
    assert caplog.text.count("too far apart for frame numbers, so they are taken for times in m") == 1
    if names[-1] == 1560:
        assert seen(read_recording(tmp_path / "k.json", known(2000), joints="coco17")) == names  # a long video has them


KEPT = [n for n in range(40) if n % 5 != 2]


def with_times(folder: Path, form: str) -> Path:
    """40 frames at 30 a second without every fifth, whose times the file states."""
    poses, times = keypoints(40)[KEPT, :1], [n / 30 for n in KEPT]
    if form == "npz":
        return saved(folder / "k.npz", poses[:, 0], times=times)
    if form == "lists":
        (folder / "k.json").write_text(json.dumps({"keypoints": poses[:, 0].tolist(), "timestamps": times}))
    if form == "ultralytics rows":
        frames = json.loads(written.ultralytics_list(folder, poses).read_text())
        rows = [{**frame[0], "time": f"00:00:{t:.4f}"} for t, frame in zip(times, frames, strict=True)]
        (folder / "k.json").write_text(json.dumps(rows))
    if form == "mmpose":
        frames = json.loads(written.mmpose_video(folder, poses).read_text())
        frames = frames["instance_info"] if isinstance(frames, dict) else frames
        for t, frame in zip(times, frames, strict=True):
            frame.pop("frame_id", None)
            frame["timestamp"] = round(t * 1e6)
        (folder / "k.json").write_text(json.dumps(frames))
    if "table" in form:
        names, marks = CONVENTIONS["coco17"].joints, poses[:, 0, :, :2].tolist()
        lines = ["time_s,landmark,x,y"]
        for t, pose in zip(times, marks, strict=True):
            lines += [f"{t},{name},{x},{y}" for name, (x, y) in zip(names, pose, strict=True)]
        if form == "wide table":
            lines = ["timestamp," + ",".join(f"{name}_x,{name}_y" for name in names)]
            for t, pose in zip(times, marks, strict=True):
                lines.append(f"2026-01-01 10:00:{t:09.6f},{','.join(str(part) for mark in pose for part in mark)}")
        (folder / "k.csv").write_text("\n".join(lines))
        return folder / "k.csv"
    return folder / "k.json"


@pytest.mark.parametrize("form", ["npz", "lists", "ultralytics rows", "mmpose", "wide table", "long table"])
def test_every_format_can_state_times(tmp_path, form, caplog):
    path = with_times(tmp_path, form)
    recording = read_recording(path, image_size=SIZE, joints="coco17")
    assert (seen(recording), recording.fps) == (KEPT, pytest.approx(30, abs=0.02))
    assert "placed by the times in the file, up to frame 39" in caplog.text
    assert seen(read_recording(path, known(60, fps=30), joints="coco17")) == KEPT
    assert "placed at those of clip.mp4 by the times in the file, up to frame 39" in caplog.text


@pytest.mark.parametrize("times", [np.arange(40)[::-1], np.zeros(40)])
def test_times_that_cannot_be_are_said_and_not_used(tmp_path, caplog, times):
    recording = read_recording(saved(tmp_path / "k.npz", keypoints(40)[:, 0], times=times), image_size=SIZE)
    assert (recording.times, seen(recording)) == (None, list(range(40)))
    assert "its times stand still, go back or are no numbers; they are not used" in caplog.text
    with pytest.raises(UserError, match=r"times holds 39 numbers; expected one for each of 40 frames"):
        read_recording(saved(tmp_path / "k.npz", keypoints(40)[:, 0], times=times[1:]), image_size=SIZE)


def test_a_rate_that_is_only_guessed_gives_way_to_the_times_of_the_frames(tmp_path, caplog):
    """Recordings of browsers state none: that of the stream is a guess from its first frames."""
    path = saved(tmp_path / "k.npz", keypoints(40)[:, 0])
    assert read_recording(path, known(40, fps=29.75, times=np.arange(40) / 19.9)).fps == pytest.approx(19.9)
    assert "clip.mp4: 19.9 frames per second, by the times in the file" in caplog.text
    broken = np.arange(40) / 19.9
    broken[20:] -= 1
    assert read_recording(path, known(40, times=broken)).fps == FPS
    assert "the times of its frames are missing or go back; they count as evenly spaced" in caplog.text


# ---- videos


def test_packets_that_cannot_be_decoded_are_no_frames(tmp_path):
    """Of a transport stream that is cut between key frames."""
    noise = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    with av.open(str(tmp_path / "t.ts"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "15"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for n in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(noise, n, 1), format="rgb24")))
        container.mux(stream.encode(None))
    content = (tmp_path / "t.ts").read_bytes()
    (tmp_path / "cut.ts").write_bytes(content[len(content) // 3 // 188 * 188 :])
    with av.open(str(tmp_path / "cut.ts")) as container:
        packets = sum(1 for packet in container.demux(video=0) if packet.size)
    video = open_video(tmp_path / "cut.ts")
    assert len(video.times) == len(list(video.frames((32, 24)))) == video.count(0, 1, 100) == 30 < packets
    np.testing.assert_allclose(np.diff(video.times), 1 / 30, atol=1e-4)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_video_of_a_variable_rate_keeps_its_times(tmp_path, suffix):
    film(tmp_path / f"a{suffix}", 60, (64, 48), 30.0, SLOWING)
    np.testing.assert_allclose(open_video(tmp_path / f"a{suffix}").times, SLOWING, atol=6e-3)


# ---- files


def test_files_keep_real_durations(tmp_path):
    poses = np.repeat(random_poses(get_skeleton("mpi3dhp17"), 1), 60, axis=0)
    root = np.stack([1000 * SLOWING, 0 * SLOWING, 3000 + 0 * SLOWING], axis=1)  # one metre a second
    one = person(poses, "mpi3dhp17", root=root, fps=30.0, times=SLOWING)
    for suffix in (".npz", ".json", ".csv", ".bvh"):
        write_people(tmp_path / f"a{suffix}", [one])
    with np.load(tmp_path / "a.npz") as file:
        np.testing.assert_allclose(file["time_s"], SLOWING)
        assert file["frame"].tolist() == list(range(60))
    assert json.loads((tmp_path / "a.json").read_text())["people"][0]["times"] == pytest.approx(SLOWING, abs=1e-6)
    assert (tmp_path / "a.csv").read_text().splitlines()[-1].split(",")[12] == "3.900000"
    seconds, places, _ = read_bvh((tmp_path / "a.bvh").read_text())
    assert seconds * (len(places["pelvis"]) - 1) == pytest.approx(3.9, abs=1e-4)
    np.testing.assert_allclose(np.diff(places["pelvis"][:, 0]), 100 / 30, atol=2e-3)
    smooth = smoothed(one, 3.0)
    np.testing.assert_allclose(smooth.root[:, 0], root[:, 0], atol=1)
    np.testing.assert_array_equal(smooth.times, SLOWING)
    assert filled(one, 0, 117).times is None
