"""Writes animations as .gif or .mp4."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import GifImagePlugin, Image

from glagcn.errors import UserError
from glagcn.files import replacement, write_atomically, write_errors

GIF_MAX_FPS = 50.0  # players slow down a GIF with less than 0.02 s per frame
GIF_MAX_DELAY = 2**16 - 1  # hundredths of a second per frame
SUFFIXES = (".gif", ".mp4")


def check_output(path: Path) -> None:
    """Raise UserError unless `path` ends in .gif or .mp4 and is not a folder."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"invalid --viz-output {path}: must end in .gif or .mp4")
    if path.is_dir():
        raise UserError(f"invalid --viz-output {path}: is a folder; give the name of a file")


def write_animation(
    path: Path, pictures: Iterable[np.ndarray], size: tuple[int, int], fps: float, bitrate: int
) -> None:
    """Write pictures [H,W,3] uint8 as .gif or .mp4, atomically.

    pictures  at least one; the iterable may reuse one array.
    size      (width, height), even numbers.
    fps       frames per second; a .gif is limited to GIF_MAX_FPS.
    bitrate   of the .mp4, kbit/s.
    Raises UserError if the system or the encoder fails.
    """
    if path.suffix.lower() == ".gif":
        write_atomically(path, lambda file: file.writelines(_gif_parts(pictures, min(fps, GIF_MAX_FPS))))
    else:
        with replacement(path) as temporary, write_errors(path):
            _write_mp4(temporary, pictures, size, fps, bitrate)


def _gif_parts(pictures: Iterable[np.ndarray], fps: float) -> Iterator[bytes]:
    """The bytes of a looping GIF, one picture at a time: Pillow's own writer would keep all pictures in memory.

    Each picture has its own palette of 256 colours and is one frame, even if it equals the previous one.
    """
    begun = False
    for number, picture in enumerate(pictures):
        image = _with_palette(picture)
        if not begun:
            header, _ = GifImagePlugin.getheader(image.copy(), info={"loop": 0})
            yield from header
            begun = True
        # In hundredths of a second, the unit of GIF; rounding the times, not the delays, keeps the mean rate.
        delay = min(round(100 * (number + 1) / fps) - round(100 * number / fps), GIF_MAX_DELAY)
        yield from GifImagePlugin.getdata(image, duration=10 * delay, include_color_table=True)
    yield b";"


def _with_palette(picture: np.ndarray) -> Image.Image:
    """A picture [H,W,3], reduced to 256 colours."""
    # Choosing the colours takes most of the time; every other row and column is enough for it.
    sample = Image.fromarray(np.ascontiguousarray(picture[::2, ::2]))
    palette = sample.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    return Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)


def _write_mp4(path: Path, pictures: Iterable[np.ndarray], size: tuple[int, int], fps: float, bitrate: int) -> None:
    rate = max(Fraction(fps).limit_denominator(100_000), Fraction(1, 100_000))  # 0 would select a default rate
    try:
        # H.264 in yuv420p with the index at the front: browsers and presentation programs play it.
        with av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=rate)
            stream.width, stream.height = size
            stream.pix_fmt, stream.bit_rate = "yuv420p", 1000 * bitrate
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        if isinstance(error, OSError):  # raised by the system
            raise
        settings = f"{size[0]}x{size[1]} at {fps:g} frames per second and {bitrate} kbit/s"
        raise OSError(f"the encoder refuses {settings} ({error.strerror or error})") from error
