"""Videos read and animations written: real files, by the FFmpeg in PyAV."""

import re
import signal
import struct
import wave
from contextlib import closing
from fractions import Fraction
from itertools import islice

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from glagcn.errors import UserError
from glagcn.poses.draw.video import open_video, write_animation
from tests.open_files import open_files

SIZE = (64, 48)


def grey(level, size=SIZE) -> np.ndarray:
    return np.full((size[1], size[0], 3), level, dtype=np.uint8)


def noise(size=SIZE) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8) for _ in range(30)]


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


LEVELS = [20 * k for k in range(12)]


@pytest.fixture
def film(tmp_path):
    """A video of 12 grey frames, each 20 lighter than the one before, at 10 frames per second."""
    path = tmp_path / "film.mp4"
    write_animation(path, map(grey, LEVELS), SIZE, 10, 3000)
    return path


# ---- reading


@pytest.mark.parametrize(("skip", "step"), [(0, 1), (2, 4), (11, 1)])
def test_the_wanted_frames_are_read_at_the_wanted_size(film, skip, step):
    video = open_video(film)
    assert (video.size, video.fps, len(video.times), video.count(12, 1, 100)) == (SIZE, 10, 12, 0)
    frames = list(video.frames((20, 10), skip, step))
    assert {frame.shape for frame in frames} == {(10, 20, 3)}
    np.testing.assert_allclose([frame.mean() for frame in frames], LEVELS[skip::step], atol=4)
    for asked in (video, open_video(film)):  # whose times are known, and are not
        assert asked.count(skip, step, 100) == len(frames)
        assert asked.count(skip, step, 1) == 1


def test_frames_are_counted_by_their_times_if_those_are_known(film, monkeypatch):
    """A video of an hour takes minutes to decode."""
    video = open_video(film)
    assert len(video.times) == 12
    monkeypatch.setattr("glagcn.poses.draw.video._decoded", None)
    assert [video.count(*chosen) for chosen in ((0, 1, 100), (3, 4, 100), (3, 4, 2), (12, 1, 1))] == [12, 3, 2, 0]


def test_a_frame_of_another_size_ends_the_reading(tmp_path):
    """Keypoints of it would be those of another image."""
    with av.open(str(tmp_path / "mixed.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuvj420p"
        for number, size in enumerate([SIZE, SIZE, (80, 48)]):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.width, encoder.height, encoder.pix_fmt = *size, "yuvj420p"
            encoder.time_base, encoder.color_range = Fraction(1, 10), 2
            for packet in encoder.encode(av.VideoFrame.from_ndarray(grey(9, size)).reformat(format="yuvj420p")):
                packet.pts = packet.dts = number
                packet.stream = stream
                container.mux(packet)
    video = open_video(tmp_path / "mixed.avi", "--video")
    with pytest.raises(UserError, match=r"--video .*mixed\.avi: frame 2 is 80x48, and the first is 64x48"):
        list(video.frames((20, 10)))


def test_frames_are_those_of_the_file_whatever_their_times(tmp_path):
    """A recorder may drop frames: copies that fill the gap would make the poses late from there on."""
    times = [*range(4), *range(8, 12)]
    with av.open(str(tmp_path / "gap.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height = SIZE
        for time in times:
            frame = av.VideoFrame.from_ndarray(grey(20 * time), format="rgb24")
            frame.pts, frame.time_base = time, 1 / stream.codec_context.framerate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = [frame.mean() for frame in open_video(tmp_path / "gap.mkv").frames(SIZE)]
    np.testing.assert_allclose(frames, [20 * time for time in times], atol=4)


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda image: image),
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),  # the file says: turn it clockwise
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), np.fliplr),
        ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
    ],
)
def test_a_video_that_lies_on_its_side_is_turned(tmp_path, matrix, shown):
    image = grey(60)
    image[:24, :32], image[:24, 32:], image[24:, :32] = (250, 20, 20), (20, 250, 20), (20, 20, 250)
    write_animation(tmp_path / "film.mp4", [image], SIZE, 10, 3000)
    content = (tmp_path / "film.mp4").read_bytes()
    track = content.index(b"tkhd")
    place = content.index(display_matrix(1, 0, 0, 1), track)
    assert place < track + 100
    (tmp_path / "turned.mp4").write_bytes(content[:place] + display_matrix(*matrix) + content[place + 36 :])
    video, wanted = open_video(tmp_path / "turned.mp4"), shown(image)
    assert video.size == wanted.shape[1::-1]
    (frame,) = video.frames(video.size)
    middles = np.ix_(*(np.array([side // 4, 3 * side // 4]) for side in wanted.shape[:2]))
    np.testing.assert_allclose(frame[middles].astype(int), wanted[middles], atol=12)
    (small,) = video.frames((10, 20))
    assert small.shape == (20, 10, 3)


def display_matrix(a: int, b: int, c: int, d: int) -> bytes:
    """As an .mp4 holds it."""
    return struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)


def test_odd_names_and_tags_do_not_matter(film, tmp_path):
    film.write_bytes(film.read_bytes().replace(b"VideoHandler", b"Vid\xe9oHandler"))
    for name in ("-film.mp4", "concat:x.mp4", "a b%d.mp4"):
        path = tmp_path / name
        path.write_bytes(film.read_bytes())
        assert open_video(path).count(0, 1, 100) == 12


def sound(path):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 8000, "NONE", ""))
        file.writeframes(bytes(16000))


def song_with_cover(path):
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("png")
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.disposition = "rgb24", Disposition.attached_pic.value
        container.mux(stream.encode(av.VideoFrame.from_ndarray(grey(9), format="rgb24")))
        container.mux(stream.encode(None))


def empty(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = SIZE
        container.start_encoding()


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("sound.wav", sound, r" cannot be read as a video \(it has no video stream\)"),
        ("song.m4a", song_with_cover, r" cannot be read as a video \(it has no video stream\)"),
        ("empty.avi", empty, ": has no frame"),
        ("none.mp4", lambda _: None, ": no such file"),
        ("a.mp4", lambda path: path.write_bytes(b""), r" cannot be read as a video \(.+\)"),
        ("b.mp4", lambda path: path.write_bytes(b"no video at all" * 100), r" cannot be read as a video \(.+\)"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(UserError, match=rf"--viz_video .*{re.escape(name)}{message}"):
        open_video(tmp_path / name)


def test_a_damaged_video_says_where(tmp_path):
    """What comes before the damage can be shown; nothing is shown in its place."""
    write_animation(tmp_path / "film.mp4", noise(), SIZE, 10, 3000)
    content = bytearray((tmp_path / "film.mp4").read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    (tmp_path / "film.mp4").write_bytes(content)
    video = open_video(tmp_path / "film.mp4")
    with pytest.raises(
        UserError, match=r"--viz_video .*film\.mp4 is damaged after frame \d+ \(.+\); .* --viz_limit"
    ) as ended:
        list(video.frames(SIZE))
    whole = int(str(ended.value).split("after frame ")[1].split()[0])
    assert 1 <= whole < 30
    with closing(video.frames(SIZE)) as frames:
        assert len(list(islice(frames, whole))) == whole


def test_stopping_early_closes_the_file(film):
    with closing(open_video(film).frames((2000, 2000))) as frames:
        next(frames)
        assert open_files(film.parent) == ["film.mp4"]
    assert open_files(film.parent) == []


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


@pytest.mark.parametrize(("fps", "total"), [(29.97, 1000), (12.5, 2400), (120, 600), (1e-9, None)])
def test_gif_keeps_the_mean_rate(tmp_path, fps, total):
    write_animation(tmp_path / "a.gif", map(grey, [9] * 30), SIZE, fps, 1)
    with Image.open(tmp_path / "a.gif") as image:
        durations = [image.seek(k) or image.info["duration"] for k in range(30)]
    assert min(durations) >= 20
    assert total is None or sum(durations) == total


def test_gif_does_not_hold_its_pictures(tmp_path):
    """A picture is used before the next is made, so one array may serve for all."""
    picture = grey(0)

    def pictures():
        for level in LEVELS:
            picture[:] = level
            yield picture

    for name in ("a.gif", "a.mp4"):
        write_animation(tmp_path / name, pictures(), SIZE, 10, 3000)
        frames = [frame.mean() for frame in open_video(tmp_path / name).frames(SIZE)]
        np.testing.assert_allclose(frames, LEVELS, atol=4)


def test_mp4_is_what_players_play(film):
    with av.open(str(film)) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.duration * stream.time_base == pytest.approx(1.2)
    assert film.read_bytes().index(b"moov") < film.read_bytes().index(b"mdat")


@pytest.mark.parametrize("fps", [30000 / 1001, 12.5, 1000, 25 / 3])
def test_mp4_keeps_the_rate(tmp_path, fps):
    write_animation(tmp_path / "a.mp4", map(grey, LEVELS), SIZE, fps, 100)
    assert open_video(tmp_path / "a.mp4").fps == pytest.approx(fps, rel=1e-6)


def test_bitrate_makes_the_size(tmp_path):
    sizes = []
    for bitrate in (100, 3000):
        write_animation(tmp_path / "a.mp4", noise((128, 96)), (128, 96), 10, bitrate)
        sizes.append((tmp_path / "a.mp4").stat().st_size)
    assert 5 * sizes[0] < sizes[1]


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
@pytest.mark.parametrize(("count", "error"), [(0, RuntimeError), (1, RuntimeError), (200, KeyboardInterrupt)])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, name, error, count):
    (tmp_path / name).write_bytes(b"old")

    def pictures():
        yield from map(grey, range(count))
        assert (open_files(tmp_path) != []) == (name == "a.gif" or count == 200)  # an encoder keeps the first ones
        raise error

    with pytest.raises(error):
        write_animation(tmp_path / name, pictures(), SIZE, 10, 100)
    assert open_files(tmp_path) == []
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == b"old"


@pytest.mark.parametrize(("size", "fps"), [((63, 48), 10), (SIZE, 1e-9)])  # odd is not yuv420p
def test_what_the_encoder_refuses_names_the_file_and_what_was_asked(tmp_path, size, fps):
    asked = rf"{size[0]}x48 at {fps:g} frames per second and 100 kbit/s \(\S+.*\)"
    with pytest.raises(UserError, match=rf"cannot write .*a\.mp4: the encoder refuses {asked}"):
        write_animation(tmp_path / "a.mp4", (grey(k, size) for k in LEVELS), size, fps, 100)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.95])  # the last bytes are written after all pictures
def test_a_full_disk_leaves_the_old_file(tmp_path, name, share):
    resource = pytest.importorskip("resource", reason="Windows sets no such limits")
    write_animation(tmp_path / name, noise(), SIZE, 10, 3000)
    whole, (soft, hard) = (tmp_path / name).read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * len(whole)), hard))
    try:
        with pytest.raises(UserError, match=rf"cannot write .*{name}: File too large"):
            write_animation(tmp_path / name, noise(), SIZE, 10, 3000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == whole
