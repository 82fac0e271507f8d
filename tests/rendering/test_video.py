"""Videos read and animations written: real files, by the ffmpeg that is installed with us."""

import subprocess
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from glagcn.errors import UserError
from glagcn.rendering.ffmpeg import ffmpeg
from glagcn.rendering.video_reader import open_video
from glagcn.rendering.video_writer import check_output, write_animation

SIZE = (64, 48)


def grey(level, size=SIZE) -> np.ndarray:
    return np.full((size[1], size[0], 3), level, dtype=np.uint8)


def levels(count=12) -> list[int]:
    return [20 * k for k in range(count)]


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def film(tmp_path):
    """A video of 12 grey frames, each 20 lighter than the one before, at 10 frames per second."""
    path = tmp_path / "film.mp4"
    write_animation(path, map(grey, levels()), SIZE, 10, 3000)
    return path


# ---- reading


def test_a_video_says_what_it_is(film):
    video = open_video(film)
    assert (video.size, video.fps) == (SIZE, 10)


@pytest.mark.parametrize(("skip", "step"), [(0, 1), (3, 1), (0, 5), (2, 4), (11, 1)])
def test_the_wanted_frames_are_read_at_the_wanted_size(film, skip, step):
    video = open_video(film)
    frames = list(video.frames((20, 10), skip, step))
    assert {frame.shape for frame in frames} == {(10, 20, 3)}
    np.testing.assert_allclose([frame.mean() for frame in frames], levels()[skip::step], atol=4)
    assert video.count(skip, step, 100) == len(frames)
    assert video.count(skip, step, 1) == 1


def test_nothing_is_left_beyond_the_end(film):
    assert open_video(film).count(12, 1, 100) == 0


def test_an_animation_is_a_video_too(tmp_path):
    write_animation(tmp_path / "film.gif", map(grey, levels()), SIZE, 10, 1)
    video = open_video(tmp_path / "film.gif")
    assert (video.size, video.fps, video.count(0, 1, 100)) == (SIZE, 10, 12)


def test_frames_are_those_of_the_file_whatever_their_times(film, tmp_path):
    """A recorder may drop frames: ffmpeg would fill the gap with copies, and the poses would be late from there on."""
    gap = tmp_path / "gap.mkv"
    drop = "select='lt(n,4)+gt(n,7)'"
    with ffmpeg("-i", str(film), "-vf", drop, "-fps_mode", "vfr", "-c:v", "libx264", str(gap)) as process:
        assert process.finish() == 0
    frames = [frame.mean() for frame in open_video(gap).frames(SIZE)]
    np.testing.assert_allclose(frames, [*levels()[:4], *levels()[8:]], atol=4)


def test_a_video_that_lies_on_its_side_is_turned(film, tmp_path):
    turned = tmp_path / "turned.mp4"
    with ffmpeg("-display_rotation", "90", "-i", str(film), "-c", "copy", str(turned)) as process:
        assert process.finish() == 0
    assert open_video(turned).size == SIZE[::-1]


def test_odd_file_names_are_file_names(film, tmp_path):
    for name in ("-film.mp4", "concat:x.mp4", "a b%d.mp4"):
        path = tmp_path / name
        path.write_bytes(film.read_bytes())
        assert open_video(path).count(0, 1, 100) == 12


def test_a_missing_or_unreadable_video_is_named(film, tmp_path):
    with pytest.raises(UserError, match=r"--viz-video .*none\.mp4: there is no such file"):
        open_video(tmp_path / "none.mp4")
    for content in (b"", b"no video at all" * 100, film.read_bytes()[:40]):
        path = tmp_path / "bad.mp4"
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"--viz-video .*bad\.mp4 cannot be read as a video \(.+\)"):
            open_video(path)


def test_sound_alone_is_no_video(tmp_path):
    with ffmpeg("-f", "lavfi", "-i", "sine=d=1", str(tmp_path / "sound.wav")) as process:
        assert process.finish() == 0
    with pytest.raises(UserError, match=r"sound\.wav cannot be read as a video"):
        open_video(tmp_path / "sound.wav")


def test_a_video_of_no_frames_is_refused(tmp_path):
    path = tmp_path / "empty.avi"
    blank = ("-f", "lavfi", "-i", "color=s=64x48:d=1", "-c:v", "mpeg4")
    with ffmpeg(*blank, "-frames:v", "0", str(path)) as process:
        process.finish()
    with pytest.raises(UserError, match=r"--viz-video .*empty\.avi"):
        open_video(path)


def test_stopping_early_ends_ffmpeg(film, monkeypatch):
    begun = []
    real = subprocess.Popen

    def popen(*args, **kwargs):
        begun.append(real(*args, **kwargs))
        return begun[-1]

    monkeypatch.setattr("glagcn.rendering.ffmpeg.subprocess.Popen", popen)
    with closing(open_video(film).frames((2000, 2000))) as frames:
        next(frames)
        assert begun[-1].poll() is None  # it waits for us to read
    assert all(process.poll() is not None for process in begun)


# ---- writing


def test_gif_keeps_every_frame_its_times_and_colours(tmp_path):
    path = tmp_path / "new" / "a.gif"
    shades = [grey(7), grey(7), grey(200)]
    shades[2][:, :30] = (250, 20, 30)
    write_animation(path, shades, SIZE, 25, 1)
    with Image.open(path) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (3, SIZE, 0)
        for k, shade in enumerate(shades):
            image.seek(k)
            assert image.info["duration"] == 40
            np.testing.assert_allclose(np.asarray(image.convert("RGB")), shade, atol=4)


@pytest.mark.parametrize(
    ("fps", "total"), [(30, 1000), (29.97, 1000), (12.5, 2400), (50, 600), (120, 600), (1e-9, None)]
)
def test_gif_keeps_the_mean_rate(tmp_path, fps, total):
    write_animation(tmp_path / "a.gif", map(grey, [9] * 30), SIZE, fps, 1)
    durations = []
    with Image.open(tmp_path / "a.gif") as image:
        for k in range(30):
            image.seek(k)
            durations.append(image.info["duration"])
    assert min(durations) >= 20
    assert total is None or sum(durations) == total


def test_gif_does_not_hold_its_pictures(tmp_path):
    """A picture is used before the next is made, so one array may serve for all."""
    picture = grey(0)

    def pictures():
        for level in levels():
            picture[:] = level
            yield picture

    for name in ("a.gif", "a.mp4"):
        write_animation(tmp_path / name, pictures(), SIZE, 10, 3000)
        frames = [frame.mean() for frame in open_video(tmp_path / name).frames(SIZE)]
        np.testing.assert_allclose(frames, levels(), atol=4)


def test_mp4_is_what_players_play(film):
    with ffmpeg("-i", str(film), "-f", "null", "-") as process:
        assert process.finish() == 0
        words = process.words()
    assert "Video: h264" in words
    assert "yuv420p" in words
    assert film.read_bytes().index(b"moov") < film.read_bytes().index(b"mdat")


def test_bitrate_makes_the_size(tmp_path):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (96, 128, 3), dtype=np.uint8) for _ in range(30)]
    sizes = []
    for bitrate in (100, 3000):
        write_animation(tmp_path / "a.mp4", noise, (128, 96), 10, bitrate)
        sizes.append((tmp_path / "a.mp4").stat().st_size)
    assert 5 * sizes[0] < sizes[1]


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, name, error):
    (tmp_path / name).write_bytes(b"old")

    def pictures():
        yield grey(1)
        raise error

    with pytest.raises(error):
        write_animation(tmp_path / name, pictures(), SIZE, 10, 100)
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == b"old"


def test_what_the_encoder_refuses_names_the_file_and_its_words(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*a\.mp4: ffmpeg says: \S+"):
        write_animation(tmp_path / "a.mp4", map(grey, levels()), (63, 48), 10, 100)  # odd: not yuv420p
    assert names(tmp_path) == []


def test_a_folder_that_refuses_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for name in ("a.gif", "a.mp4"):
        with pytest.raises(UserError, match=f"cannot write .*{name}"):
            write_animation(tmp_path / "file" / name, map(grey, levels()), SIZE, 10, 100)


def test_other_endings_are_refused(tmp_path):
    for name in ("a.avi", "a", "gif"):
        with pytest.raises(UserError, match=r"--viz-output .*expected \.gif or \.mp4"):
            check_output(tmp_path / name)
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        check_output(tmp_path / "folder.gif")
    check_output(tmp_path / "A.GIF")
