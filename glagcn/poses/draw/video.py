"""Read the frames of a video or a folder of pictures, and write animations as .gif or .mp4.

PyAV and Pillow are loaded when pictures are read or written: who lifts a file of keypoints waits for neither.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from glagcn.errors import UserError
from glagcn.files import replacement, write_atomically, write_errors
from glagcn.poses.keypoints.content import NUMPY, ZIP, frames_of_names
from glagcn.progress import Progress

if TYPE_CHECKING:
    import av
    from PIL import Image

logger = logging.getLogger(__name__)

FLAG = "--viz_video"
ADVICE = "give a video that ffmpeg can decode"
GIF_MAX_FPS = 50.0  # players slow down a GIF with less than 0.02 s per frame
GIF_MAX_DELAY = 2**16 - 1  # hundredths of a second per frame
MP4_TIME = Fraction(1, 90_000)  # seconds: the unit of the times of an .mp4 of a variable rate
SQUARE = 0.01  # pixels so little wider or higher come from rounding when a video was scaled
MOST_STRETCHED = 8  # pixels are never so much wider or higher: the file is wrong
SUFFIXES = (".gif", ".mp4")
# How stored pictures are shown after so many quarter turns clockwise, as `Video.shown`.
TURNED = ((False, 1, 1), (True, -1, 1), (False, -1, -1), (True, 1, -1))
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
FILMS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".gif")
KEYPOINTS = (".json", ".jsonl", ".csv", ".tsv", ".txt", ".npy", ".npz", ".gz")


@dataclass(frozen=True)
class Video:
    """A video file, or a folder of pictures, which are its frames in the order of the numbers in their names.

    size   (width, height) in pixels as displayed, after the rotation stored in the file.
    fps    frames per second; 0 if unknown.
    flag   that names the file, for messages.
    shown  how stored frames are displayed: whether they are transposed, then the steps (1, or -1 to mirror) of columns
           and rows.
    pixel  width of a stored pixel over its height (sample aspect ratio).
    """

    path: Path
    size: tuple[int, int]
    fps: float
    flag: str = FLAG
    shown: tuple[bool, int, int] = (False, 1, 1)
    pixel: float = 1.0

    @property
    def turns(self) -> int:
        """The quarter turns clockwise after which a stored picture is upright; it may also have to be mirrored."""
        transposed, _, down = self.shown
        return 2 - down if transposed else 1 - down

    def upright(self) -> tuple[Video, tuple[int, int]]:
        """The video shown upright and never mirrored, and (width, height) of its pictures with square pixels."""
        width, height = self.size
        if self.shown[0]:
            height = round(height * self.pixel)
        else:
            width = round(width * self.pixel)
        return replace(self, shown=TURNED[self.turns]), (width, height)

    @cached_property
    def times(self) -> np.ndarray:
        """[N] seconds, the presentation times of the frames that can be decoded; NaN where there is none.

        Decodes the whole video: packets need not be frames.  Where it is damaged, it ends there, with a warning.
        Pictures of a folder have no times.
        """
        if self.path.is_dir():
            return np.full(len(_pictures_in(self.path)), np.nan)
        times: list[float] = []
        try:
            with closing(_decoded(self.path, self.flag)) as frames, Progress("read") as progress:
                for frame, stream in frames:
                    times.append(np.nan if frame.time is None else frame.time)
                    progress(len(times), max(stream.frames, len(times)))
        except UserError as error:
            if not times:
                raise
            logger.warning(f"{error}; its {len(times)} frames before that are used")
        return np.array(times)

    def frames(self, size: tuple[int, int], skip: int = 0, step: int = 1) -> Generator[np.ndarray, None, None]:
        """Every `step`-th frame from frame `skip` on, scaled to `size` (width, height): [h,w,3] uint8.

        Counts the stored frames and ignores their times, because poses are numbered by stored frames.  Close the
        iterator to stop early.  Raises UserError if the file is damaged, or if a frame has another size than the first.
        """
        with closing(self.timed_frames(size, skip, step)) as frames:
            for picture, _, _ in frames:
                yield picture

    def timed_frames(
        self, size: tuple[int, int], skip: int = 0, step: int = 1
    ) -> Generator[tuple[np.ndarray, float, int], None, None]:
        """`frames`, each with its time in seconds, NaN where it has none, and how many there may be, 0 if unknown."""
        with closing(_decoded(self.path, self.flag)) as frames:
            for number, (frame, stream) in enumerate(islice(frames, skip, None, step)):
                if (found := _size(frame, self.shown)) != self.size:
                    raise UserError(
                        f"{self.flag} {self.path}: frame {skip + step * number} is {found[0]}x{found[1]}, and the "
                        f"first is {self.size[0]}x{self.size[1]}; {ADVICE}, with frames of one size"
                    )
                total = stream.frames or round(float((stream.duration or 0) * (stream.time_base or 0)) * self.fps)
                yield _picture(frame, size, self.shown), np.nan if frame.time is None else frame.time, total

    def count(self, skip: int, step: int, most: int) -> int:
        """The number of frames that `frames` yields, at most `most`: of `times`, if they were asked for before.

        Raises UserError where the frames are damaged.
        """
        if "times" in vars(self):  # saves decoding the video once more
            return len(self.times[skip : skip + step * most : step])
        with closing(_decoded(self.path, self.flag)) as frames:
            return sum(1 for _ in islice(frames, skip, skip + step * most, step))


def is_video(path: Path) -> bool:
    """Whether there is a video or a folder of pictures at a path, rather than keypoints."""
    if path.is_dir():
        names: dict[str, set[str]] = {}  # of the files of each suffix
        for inside in path.iterdir():
            names.setdefault(inside.suffix.lower(), set()).add(inside.stem)
        shown = set().union(*(names.get(suffix, ()) for suffix in PICTURES))
        return bool(shown) and ".json" not in names and not shown & names.get(".txt", set())  # labels of the pictures
    suffix = path.suffix.lower()
    if suffix in FILMS or suffix in KEYPOINTS or not path.is_file():
        return suffix in FILMS
    with path.open("rb") as file:
        begin = file.read(4096)
    return b"\0" in begin and not begin.startswith((ZIP, NUMPY, b"\xff\xfe", b"\xfe\xff"))


def open_video(path: Path, flag: str = FLAG) -> Video:
    """Open a video or a folder of pictures.

    Raises UserError, naming flag and file, if it does not exist or has no readable frame.
    """
    if not path.is_file() and not path.is_dir():
        raise UserError(f"invalid {flag} {path}: no such file")
    with closing(_decoded(path, flag)) as frames:
        for frame, stream in frames:
            return _facts(path, flag, frame, stream)
    raise UserError(f"invalid {flag} {path}: has no frame; give another video")


def stream_pictures(path: Path, flag: str) -> Generator[tuple[np.ndarray, float], None, None]:
    """The upright pictures [h,w,3] uint8 of a video, or of a stream on standard input for "-", with their seconds.

    Each is decoded when it is asked for, and the video is read once.  A time is NaN where the frame has none.
    Raises UserError as `open_video` and `Video.frames` do.
    """
    video = None
    with closing(_decoded(path, flag)) as frames:
        for frame, stream in frames:
            if video is None:
                video, size = _facts(path, flag, frame, stream).upright()
            if _size(frame, video.shown) != video.size:
                raise UserError(f"{flag} {path}: the size of its frames changes; {ADVICE}, with frames of one size")
            yield _picture(frame, size, video.shown), np.nan if frame.time is None else frame.time
    if video is None:
        raise UserError(f"invalid {flag} {path}: has no frame; give another video")


def _facts(path: Path, flag: str, frame: av.VideoFrame, stream: Any) -> Video:
    """A video by its first frame."""
    shown, fps, pixel = _turn(frame), float(stream.average_rate or 0), float(stream.sample_aspect_ratio or 1)
    usual = abs(pixel - 1) <= SQUARE or not 1 / MOST_STRETCHED < pixel < MOST_STRETCHED
    return Video(path, _size(frame, shown), fps, flag, shown, 1.0 if usual else pixel)


def _stream(container: Any, path: Path, flag: str) -> Any:
    """The first video stream that is no cover picture."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise UserError(f"{flag} {path} cannot be read as a video (it has no video stream); {ADVICE}")


def _pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, in the order of their numbers.  Raises UserError where they are of no one sequence."""
    files = [file for file in folder.iterdir() if file.suffix.lower() in PICTURES and not file.name.startswith(".")]
    numbers = frames_of_names(folder, [file.name for file in files]) if len(files) > 1 else {}
    return sorted(files, key=lambda file: numbers.get(file.name, 0))


def _decoded_pictures(folder: Path, flag: str) -> Generator[tuple[av.VideoFrame, Any], None, None]:
    """The pictures of a folder as frames without times, turned as their EXIF data says."""
    import av
    from PIL import Image, ImageOps

    files = _pictures_in(folder)
    facts = SimpleNamespace(frames=len(files), average_rate=0, sample_aspect_ratio=1, duration=0, time_base=0)
    for file in files:
        try:
            with Image.open(file) as image:
                yield av.VideoFrame.from_image(ImageOps.exif_transpose(image).convert("RGB")), facts
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"{flag} {file} is no picture that can be read ({error}); replace or remove it") from error


def _decoded(path: Path, flag: str) -> Generator[tuple[av.VideoFrame, Any], None, None]:
    """The stored frames in the order of their times, each with its stream."""
    if path.is_dir():
        yield from _decoded_pictures(path, flag)
        return
    import av

    count = 0
    try:
        # "file:" disables special characters in the name.  Tags in other encodings must not raise.
        source: Any = sys.stdin.buffer if str(path) == "-" else f"file:{path}"
        with av.open(source, "r", metadata_errors="replace") as container:
            stream = _stream(container, path, flag)
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                yield frame, stream
                count += 1
    except av.FFmpegError as error:
        what, advice = "cannot be read as a video", ADVICE
        if count:
            fewer = ", or show fewer frames with --viz_limit" if flag == FLAG else ""
            what, advice = f"is damaged after frame {count}", f"give a complete video{fewer}"
        raise UserError(f"{flag} {path} {what} ({error.strerror or error}); {advice}") from error


def _size(frame: av.VideoFrame, shown: tuple[bool, int, int]) -> tuple[int, int]:
    """(width, height) as displayed."""
    return (frame.height, frame.width) if shown[0] else (frame.width, frame.height)


def _picture(frame: av.VideoFrame, size: tuple[int, int], shown: tuple[bool, int, int]) -> np.ndarray:
    """A frame as displayed, [h,w,3] uint8, scaled to `size` (width, height)."""
    transposed, horizontal, vertical = shown
    width, height = size[::-1] if transposed else size
    image = frame.to_ndarray(width=width, height=height, format="rgb24", interpolation="AREA")
    image = image.swapaxes(0, 1) if transposed else image
    return np.ascontiguousarray(image[::vertical, ::horizontal])


def _turn(frame: av.VideoFrame) -> tuple[bool, int, int]:
    """The display matrix of a frame, as `Video.shown`."""
    display_matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if display_matrix is None:
        return False, 1, 1
    # The stored pixel (p, q) is displayed at (a p + c q, b p + d q), apart from a translation.
    a, b, _, c, d = np.frombuffer(display_matrix, dtype=np.int32)[:5]
    transposed = bool(abs(b) > abs(a))
    x, y = (c, b) if transposed else (a, d)
    return transposed, -1 if x < 0 else 1, -1 if y < 0 else 1


def write_animation(
    path: Path,
    pictures: Iterable[np.ndarray],
    size: tuple[int, int],
    fps: float,
    bitrate: int,
    times: np.ndarray | None = None,
) -> None:
    """Write pictures [H,W,3] uint8 as .gif or .mp4, atomically.

    pictures  at least one; the iterable may reuse one array.
    size      (width, height), even numbers.
    fps       frames per second; a .gif is limited to GIF_MAX_FPS.
    bitrate   of the .mp4, kbit/s.
    times     of the pictures in ascending seconds, from 0; None: fps states them.
    Raises UserError if the system or the encoder fails.
    """
    if path.suffix.lower() == ".gif":
        write_atomically(path, lambda file: file.writelines(_gif_parts(pictures, min(fps, GIF_MAX_FPS), times)))
    else:
        with replacement(path) as temporary, write_errors(path):
            _write_mp4(temporary, pictures, size, fps, bitrate, times)


def _gif_parts(pictures: Iterable[np.ndarray], fps: float, times: np.ndarray | None) -> Iterator[bytes]:
    """The bytes of a looping GIF, one picture at a time: Pillow's own writer would keep all pictures in memory.

    Each picture has its own palette of 256 colours and is one frame, even if it equals the previous one.
    """
    from PIL import GifImagePlugin

    begin = 0  # in hundredths of a second, the unit of GIF; rounding the times, not the delays, keeps the mean rate
    for number, picture in enumerate(pictures):
        image = _with_palette(picture)
        if number == 0:
            yield from GifImagePlugin.getheader(image.copy(), info={"loop": 0})[0]
        if times is None:
            end = round(100 * (number + 1) / fps)
        else:
            following = times[number + 1] if number + 1 < len(times) else times[number] + 1 / fps
            end = max(round(100 * following), begin + round(100 / GIF_MAX_FPS))
        delay, begin = min(end - begin, GIF_MAX_DELAY), end
        yield from GifImagePlugin.getdata(image, duration=10 * delay, include_color_table=True)
    yield b";"


def _with_palette(picture: np.ndarray) -> Image.Image:
    """A picture [H,W,3], reduced to 256 colours."""
    from PIL import Image

    # Choosing the colours takes most of the time; every other row and column is enough for it.
    sample = Image.fromarray(np.ascontiguousarray(picture[::2, ::2]))
    palette = sample.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    return Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)


def _write_mp4(
    path: Path,
    pictures: Iterable[np.ndarray],
    size: tuple[int, int],
    fps: float,
    bitrate: int,
    times: np.ndarray | None,
) -> None:
    import av

    rate = max(Fraction(fps).limit_denominator(100_000), Fraction(1, 100_000))  # 0 would select a default rate
    try:
        # H.264 in yuv420p with the index at the front: browsers and presentation programs play it.
        with av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=rate)
            stream.width, stream.height = size
            stream.pix_fmt, stream.bit_rate = "yuv420p", 1000 * bitrate
            if times is not None:
                stream.codec_context.time_base = MP4_TIME
            for number, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                if times is not None:
                    frame.pts, frame.time_base = round(float(times[number]) / MP4_TIME), MP4_TIME
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        if isinstance(error, OSError):  # raised by the system
            raise
        settings = f"{size[0]}x{size[1]} at {fps:g} frames per second and {bitrate} kbit/s"
        raise OSError(f"the encoder refuses {settings} ({error.strerror or error})") from error
