"""`--render` from start to end, with the tiny trained run."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import glagcn
import glagcn.errors
import glagcn.poses.draw.video
import glagcn.poses.lift
from glagcn.config.resolve import parse_command_line
from glagcn.data.cache import open_cache
from glagcn.poses.draw.video import open_video, write_animation
from tests.command_line import assert_refused, listing
from tests.rendering.open_files import open_files


@pytest.fixture
def render(train, trained, demo_root, tmp_path, monkeypatch):
    """render("--viz-subject TS1 ..."): the command, in a folder of its own."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    return lambda flags: train(
        f"-d demo --root_path {demo_root} -c {trained.parent} --run r --workers 1 --render {flags}"
    )


@pytest.fixture
def sequence(demo_root):
    """TS1 of the demo: pixels and root-relative millimetres."""
    test = open_cache(demo_root / "demo_gt.h5").test
    poses = test.millimetres[:150]
    return test.pixels[:150], poses - poses[:, 14, None]


def film(path, count, size=(64, 64), fps=25):
    """A video whose frame k is grey of level 5 k."""
    pictures = (np.full((size[1], size[0], 3), 5 * k, np.uint8) for k in range(count))
    write_animation(path, pictures, size, fps, 3000)
    return path


def load(path) -> dict:
    with np.load(path) as content:
        return {name: content[name] for name in content.files}


def test_flags_have_the_published_defaults():
    drawing = parse_command_line(["-d", "demo", "--render"]).render
    assert (drawing.camera, drawing.skip, drawing.bitrate) == (0, 0, 3000)
    assert (drawing.limit, drawing.downsample, drawing.size, drawing.ground_truth) == (None, 1, 5, True)
    assert parse_command_line(["-d", "demo", "--render", "--viz-limit", "-1"]).render.limit is None
    assert not parse_command_line(["-d", "demo", "--render", "--viz-no-ground-truth"]).render.ground_truth


def test_a_gif_of_the_chosen_frames(render, trained, sequence):
    ended = render(
        "--viz-subject TS1 --viz-output new/a.gif --viz-export a.npz --viz-skip 20 --viz-limit 7 --viz-downsample 3 "
        "--viz-size 2"
    )
    assert ended.code == 0, ended.err
    with Image.open("new/a.gif") as image:
        assert (image.n_frames, image.size, image.info["duration"]) == (7, (600, 200), 100)
    held, frames = load("a.npz"), np.arange(20, 41, 3)
    np.testing.assert_array_equal(held["frames"], frames)
    assert held["fps"] == pytest.approx(30 / 3)
    pixels, target = sequence
    np.testing.assert_array_equal(held["pixels"], pixels[frames])
    np.testing.assert_array_equal(held["target_mm"], target[frames])
    whole = glagcn.predict(glagcn.load_model(trained / "best.pt"), pixels, (2048, 2048))
    np.testing.assert_allclose(held["predicted_mm"], whole[frames], atol=1e-2)  # amid their true neighbours
    error = np.linalg.norm(whole[frames] - target[frames], axis=-1).mean()
    assert f"MPJPE of the frames shown: {error:.1f} mm" in ended.out


def test_an_mp4_without_the_truth(render, trained):
    ended = render(
        f"--evaluate {trained}/last.pt --viz-subject S1 --viz-action Seq --viz-camera 2 --viz-output a.mp4 "
        "--viz-limit 3 --viz-no-ground-truth --viz-size 2 --viz-export a.csv --viz-fps 10 --no-test_flip"
    )
    assert ended.code == 0, ended.err
    assert f"Rendering with {trained}/last.pt" in ended.out
    assert "matches Seq1, Seq2: taking the first" in ended.out
    assert "S1/Seq1/cam2: 3 of 250 frames, 10 per second" in ended.out
    assert "MPJPE" not in ended.out
    video = open_video(Path("a.mp4"))
    assert (video.size, video.fps, video.count(0, 1, 10)) == ((400, 200), 10, 3)
    assert Path("a.csv").read_text().startswith("frame,joint,x_mm,y_mm,z_mm,u_px,v_px\n0,head_top,")


def test_the_flip_is_that_of_evaluation(render):
    for flags in ("--viz-export a.npz", "--viz-export b.npz --no-test_flip"):
        assert render(f"--viz-subject TS1 --viz-limit 2 {flags}").code == 0
    assert np.abs(load("a.npz")["predicted_mm"] - load("b.npz")["predicted_mm"]).max() > 0.1


def test_long_work_is_done_once(render, monkeypatch):
    """The whole sequence is normalised once, not for every batch, and the video is opened and then decoded once."""
    calls = []
    for module, name in ((glagcn.poses.lift, "normalised"), (glagcn.poses.draw.video, "_decoded")):
        work = getattr(module, name)
        spy = lambda *given, name=name, work=work: calls.append(name) or work(*given)  # noqa: E731
        monkeypatch.setattr(module, name, spy)
    film(Path("film.mp4"), 4)
    ended = render("--viz-subject TS1 --viz-export a.npz --viz-limit 100")
    assert ended.code == 0, ended.err
    assert calls == ["normalised"]
    ended = render("--viz-subject TS1 --viz-video film.mp4 --viz-output a.gif --viz-size 2")
    assert ended.code == 0, ended.err
    assert calls[1:] == ["_decoded", "normalised", "_decoded"]


def test_a_video_of_fewer_frames_than_packets_says_how_many_can_be_shown(render, monkeypatch):
    film(Path("film.mp4"), 4)
    monkeypatch.setattr(glagcn.poses.draw.video.Video, "stored", lambda _: 6)
    ended = render("--viz-subject TS1 --viz-video film.mp4 --viz-output a.gif --viz-size 2")
    assert_refused(ended, r"film\.mp4 ended after 4 of 6 frames to show, .* with --viz-limit 4")


def test_the_video_is_behind_and_ends_the_animation(render):
    film(Path("film.mp4"), 40, fps=50)
    ended = render(
        "--viz-subject TS1 --viz-video film.mp4 --viz-output a.gif --viz-export a.npz --viz-skip 10 --viz-downsample 4 "
        "--viz-size 2"
    )
    assert ended.code == 0, ended.err
    assert "film.mp4 ends before the poses do: showing 8 frames instead of 35" in ended.out
    assert "film.mp4 is 64x64, the 2D poses are for 2048x2048: scaling the poses" in ended.out
    assert "WARNING: film.mp4 has 50 frames per second and the poses have 30" in ended.out
    np.testing.assert_array_equal(load("a.npz")["frames"], np.arange(10, 40, 4))
    assert load("a.npz")["pixels"].max() > 64  # what the model was given
    with Image.open("a.gif") as image:
        assert image.n_frames == 8
        for k in range(8):
            image.seek(k)
            panel = np.asarray(image.convert("RGB"))[40:180, 30:170]
            np.testing.assert_allclose(np.median(panel), 5 * (10 + 4 * k), atol=4)
            red, green, blue = np.moveaxis(panel.astype(int), 2, 0)
            assert ((red - np.maximum(green, blue)) > 60).any()  # the pose lies in the smaller image, in its colours
            assert ((blue - red) > 60).any()


def test_one_s_own_keypoints_need_no_data(train, trained, sequence, tmp_path):
    np.savez(tmp_path / "k.npz", keypoints=sequence[0][:5], image_size=[2048, 2048], fps=30)
    ended = train(
        f"-d demo --root_path {tmp_path}/none -c {trained.parent} --run r --workers 1 --render --viz-size 2 "
        f"--viz-keypoints {tmp_path}/k.npz --viz-export {tmp_path}/a.npz --viz-output {tmp_path}/a.gif"
    )
    assert ended.code == 0, ended.err
    held = load(tmp_path / "a.npz")
    model = glagcn.load_model(trained / "best.pt")
    expected = glagcn.predict(model, sequence[0][:5], (2048, 2048))
    np.testing.assert_allclose(held["predicted_mm"], expected, atol=1e-2)
    assert ("target_mm" in held, held["fps"]) == (False, 30)
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.n_frames, image.size) == (5, (400, 200))
    assert not (tmp_path / "none").exists()


def test_keypoints_that_are_no_pixels_are_refused_by_name(render, sequence):
    np.save("k.npy", sequence[0][:5] / 2048)
    ended = render("--viz-keypoints k.npy --viz-image-size 2048,2048 --viz-export a.npz")
    assert_refused(ended, r"k\.npy: pose_2d is between .*normalised")


def test_a_dry_run_writes_nothing(render):
    ended = render("--viz-subject TS1 --viz-output a.gif --viz-export a.csv --dry_run")
    assert (ended.code, "TS1: 150 of 150 frames" in ended.out) == (0, True)
    assert listing(Path()) == {}


def test_a_fast_gif_is_slowed_down_aloud(render):
    ended = render("--viz-subject TS1 --viz-output a.gif --viz-fps 100 --viz-limit 2 --viz-size 1")
    assert "at most 50 frames per second: a.gif plays slower than 100" in ended.out
    with Image.open("a.gif") as image:
        assert image.info["duration"] == 20


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--viz-subject TS1", "--render needs an output file; give --viz-output"),
        ("--viz-subject TS1 --viz-output a.avi", r"invalid --viz-output a\.avi: must end in \.gif or \.mp4"),
        ("--viz-subject TS1 --viz-export a.mat", r"invalid --viz-export a\.mat: must end in \.npz or \.csv"),
        ("--viz-output a.gif", "--viz-subject is missing: must be one of TS1, "),
        ("--viz-output a.gif --viz-subject S9", "invalid --viz-subject S9: must be one of TS1"),
        (
            "--viz-output a.gif --viz-subject S1 --viz-action Seq1 --viz-camera 7",
            "--viz-camera 7: must be one of 0, 1, 2, 3",
        ),
        (
            "--viz-output a.gif --viz-subject TS1 --viz-skip 150",
            "--viz-skip 150: must be 0 to 149",
        ),
        ("--viz-output a.gif --viz-subject TS1 --viz-skip -1", "invalid --viz-skip -1: must be 0 or more"),
        ("--viz-output a.gif --viz-subject TS1 --viz-limit 0", "invalid --viz-limit 0: must be .*-1 for all"),
        ("--viz-output a.gif --viz-subject TS1 --viz-downsample 0", "invalid --viz-downsample 0: must be at least 1"),
        ("--viz-output a.gif --viz-subject TS1 --viz-size nan", "invalid --viz-size nan: must be from 1 to 40"),
        ("--viz-output a.gif --viz-subject TS1 --viz-bitrate 0", "invalid --viz-bitrate 0: must be from 1"),
        ("--viz-output a.mp4 --viz-subject TS1 --viz-bitrate 9999999", "--viz-bitrate 9999999: must be"),
        ("--viz-output a.gif --viz-subject TS1 --viz-fps inf", "invalid --viz-fps inf: must be above 0"),
        (
            "--viz-output a.gif --viz-subject TS1 --viz-image-size 4,3",
            "--viz-image-size has no effect without --viz-keypoints",
        ),
        (
            "--viz-output a.gif --viz-keypoints k.npy --viz-image-size 4",
            "--viz-image-size 4: must be .*1920,1080",
        ),
        ("--viz-output a.gif --viz-keypoints k.npy", r"--viz-keypoints k\.npy: no such file"),
        ("--viz-output a.gif --viz-keypoints k.npy --viz-subject S1", "--viz-keypoints excludes --viz-subject"),
        ("--viz-output a.mp4 --viz-subject TS1 --viz-video ./a.mp4", "would overwrite --viz-video"),
        ("--viz-export k.npz --viz-keypoints k.npz", "would overwrite --viz-keypoints"),
        ("--viz-output a.gif --viz-subject TS1 --viz-video none.mp4", r"--viz-video none\.mp4: no such file"),
        ("--viz-output a.gif --viz-subject TS1 --evaluate none.pt", r"--evaluate none\.pt: no such checkpoint"),
        ("--viz-output a.gif --viz-subject TS1 --frames 27", "trained with frames 9, but the flag says 27"),
    ],
)
def test_what_cannot_work_is_refused_and_leaves_nothing(render, flags, message):
    assert_refused(render(flags), message)
    assert listing(Path()) == {}


def test_a_video_that_ends_before_the_first_frame_is_refused(render):
    film(Path("film.mp4"), 5)
    ended = render("--viz-subject TS1 --viz-video film.mp4 --viz-output a.gif --viz-skip 5")
    assert_refused(ended, r"invalid --viz-skip 5: --viz-video film\.mp4 is shorter")


def test_flags_without_render_are_refused(demo):
    assert_refused(demo("--viz-output a.gif"), "--viz_output has no effect without --render")


def test_a_folder_that_refuses_is_told_before_the_work(render):
    Path("file").write_text("not a folder")
    ended = render("--viz-subject TS1 --viz-output file/a.gif")
    assert_refused(ended, "--viz-output file is not writable")
    assert "frames" not in ended.out


def test_a_failure_while_writing_ends_the_reading_too(render, monkeypatch):
    """The encoder's failure must not leave a video half read behind."""
    film(Path("film.mp4"), 40, size=(800, 800))
    ended = []
    real = glagcn.poses.draw.video._decoded

    def decoded(path, flag):
        try:
            yield from real(path, flag)
        finally:
            ended.append(path)

    def write(path, pictures, *_):
        next(pictures)
        raise glagcn.errors.UserError("cannot write: the disk is full")

    monkeypatch.setattr("glagcn.poses.draw.video._decoded", decoded)
    monkeypatch.setattr("glagcn.commands.render.write_animation", write)
    assert_refused(render("--viz-subject TS1 --viz-video film.mp4 --viz-output a.mp4"), "the disk is full")
    assert len(ended) == 3  # the first frame, the count, and the drawing


def test_a_failure_while_drawing_leaves_no_file_and_nothing_open(render, monkeypatch):
    film(Path("film.mp4"), 40, size=(800, 800))
    opened = []

    def draw(self, index, image=None):
        opened.extend(open_files(Path()))
        raise MemoryError("no room")

    monkeypatch.setattr("glagcn.poses.draw.animation.Animation.draw", draw)
    with pytest.raises(MemoryError):
        render("--viz-subject TS1 --viz-video film.mp4 --viz-output a.mp4")
    assert sorted(listing(Path())) == ["film.mp4"]
    assert opened == ["film.mp4"]
    assert open_files(Path()) == []


def test_progress_is_said_in_lines(render, monkeypatch):
    monkeypatch.setattr("glagcn.progress.SECONDS_BETWEEN_LINES", 0.0)
    ended = render("--viz-subject TS1 --viz-limit 3 --viz-output a.gif --viz-size 1")
    assert re.findall(r"drawn \d of 3 frames", ended.out) == [f"drawn {k} of 3 frames" for k in (1, 2, 3)]
    assert "lifted 3 of 3 frames" in ended.out
