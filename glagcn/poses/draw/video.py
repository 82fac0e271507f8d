"""Read the frames of a video, to show them behind the 2D poses, and write animations as .gif or .mp4."""

import logging
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from PIL import GifImagePlugin, Image

from glagcn.errors import UserError
from glagcn.files import replacement, write_atomically, write_errors
from glagcn.progress import Progress

logger = logging.getLogger(__name__)

FLAG = "--viz_video"
ADVICE = "give a video that ffmpeg can decode"
GIF_MAX_FPS = 50.0  # players slow down a GIF with less than 0.02 s per frame
GIF_MAX_DELAY = 2**16 - 1  # hundredths of a second per frame
MP4_TIME = Fraction(1, 90_000)  # seconds: the unit of the times of an .mp4 of a variable rate
SQUARE = 0.01  # pixels so little wider or higher come from rounding when a video was scaled
SUFFIXES = (".gif", ".mp4")


@dataclass(frozen=True)
class Video:
    """A video file.

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

    @cached_property
    def times(self) -> np.ndarray:
        """[N] seconds, the presentation times of the frames that can be decoded; NaN where there is none.

        Decodes the whole video: packets need not be frames.  Where it is damaged, it ends there, with a warning.
        """
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
        with closing(_decoded(self.path, self.flag)) as frames:
            for number, (frame, _) in enumerate(islice(frames, skip, None, step)):
                if (found := _size(frame, self.shown)) != self.size:
                    raise UserError(
                        f"{self.flag} {self.path}: frame {skip + step * number} is {found[0]}x{found[1]}, and the "
                        f"first is {self.size[0]}x{self.size[1]}; {ADVICE}, with frames of one size"
                    )
                yield _picture(frame, size, self.shown)

    def count(self, skip: int, step: int, most: int) -> int:
        """The number of frames that `frames` yields, at most `most`.  Raises UserError where they are damaged."""
        with closing(_decoded(self.path, self.flag)) as frames:
            return sum(1 for _ in islice(frames, skip, skip + step * most, step))


def open_video(path: Path, flag: str = FLAG) -> Video:
    """Open a video.  Raises UserError, naming flag and file, if it does not exist or has no readable frame."""
    if not path.is_file():
        raise UserError(f"invalid {flag} {path}: no such file")
    with closing(_decoded(path, flag)) as frames:
        for frame, stream in frames:
            shown, fps, pixel = _turn(frame), float(stream.average_rate or 0), float(stream.sample_aspect_ratio or 1)
            return Video(path, _size(frame, shown), fps, flag, shown, pixel if abs(pixel - 1) > SQUARE else 1.0)
    raise UserError(f"invalid {flag} {path}: has no frame; give another video, or leave the flag out")


def _stream(container: Any, path: Path, flag: str) -> Any:
    """The first video stream that is no cover picture."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise UserError(f"{flag} {path} cannot be read as a video (it has no video stream); {ADVICE}")


def _decoded(path: Path, flag: str) -> Generator[tuple[av.VideoFrame, Any], None, None]:
    """The stored frames in the order of their times, each with its stream."""
    count = 0
    try:
        # "file:" disables special characters in the name.  Tags in other encodings must not raise.
        with av.open(f"file:{path}", metadata_errors="replace") as container:
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
