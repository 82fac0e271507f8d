"""Animations as files: .gif and .mp4."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import GifImagePlugin, Image

from glagcn.errors import UserError
from glagcn.files import replacement, write_atomically, write_errors

GIF_FASTEST = 50.0  # frames per second: players slow down whatever has less than 2/100 s a frame
GIF_SLOWEST = 2**16 - 1  # hundredths of a second a frame
SUFFIXES = (".gif", ".mp4")


def check_output(path: Path) -> None:
    """Raise UserError unless `path` names a kind of file that write_animation knows."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--viz-output {path} ends in {path.suffix or 'nothing'!r}; expected .gif or .mp4")
    if path.is_dir():
        raise UserError(f"--viz-output {path} is a folder; give the name of a file")


def write_animation(
    path: Path, pictures: Iterable[np.ndarray], size: tuple[int, int], fps: float, bitrate: int
) -> None:
    """Write pictures [H,W,3] uint8 as .gif or .mp4, by the name of the file; it appears whole or not at all.

    pictures  at least one; may all be the same array, since each is used before the next is asked for.
    size      (width, height), even numbers.
    fps       frames per second; a .gif has GIF_FASTEST at most.
    bitrate   of the .mp4, kbit/s.
    Raises UserError where the system or the encoder refuses; whatever `pictures` raises passes through.
    """
    if path.suffix.lower() == ".gif":
        write_atomically(path, lambda file: file.writelines(_gif_parts(pictures, min(fps, GIF_FASTEST))))
    else:
        with replacement(path) as temporary, write_errors(path):
            _write_mp4(temporary, pictures, size, fps, bitrate)


def _gif_parts(pictures: Iterable[np.ndarray], fps: float) -> Iterator[bytes]:
    """The bytes of a GIF that loops for ever, a picture at a time: Pillow's own writer keeps all of them in memory.

    Each picture has its own 256 colours, and exactly one frame, even if it equals the one before.
    """
    begun = False
    for number, picture in enumerate(pictures):
        image = _with_palette(picture)
        if not begun:
            header, _ = GifImagePlugin.getheader(image.copy(), info={"loop": 0})
            yield from header
            begun = True
        # In hundredths of a second, as GIF has it; rounding the times, not the delays, keeps the mean rate.
        delay = min(round(100 * (number + 1) / fps) - round(100 * number / fps), GIF_SLOWEST)
        yield from GifImagePlugin.getdata(image, duration=10 * delay, include_color_table=True)
    yield b";"


def _with_palette(picture: np.ndarray) -> Image.Image:
    """A picture [H,W,3] in the 256 colours that fit it best."""
    # Every other row and column has the same colours, and finding them is what takes the time.
    sample = Image.fromarray(np.ascontiguousarray(picture[::2, ::2]))
    palette = sample.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    return Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)


def _write_mp4(path: Path, pictures: Iterable[np.ndarray], size: tuple[int, int], fps: float, bitrate: int) -> None:
    rate = max(Fraction(fps).limit_denominator(100_000), Fraction(1, 100_000))  # 0 would mean the usual one
    try:
        # H.264 in yuv420p and the index at the front: what browsers and slides play.
        with av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=rate)
            stream.width, stream.height = size
            stream.pix_fmt, stream.bit_rate = "yuv420p", 1000 * bitrate
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        if isinstance(error, OSError):  # the system's refusal
            raise
        asked = f"{size[0]}x{size[1]} at {fps:g} frames per second and {bitrate} kbit/s"
        raise OSError(f"the encoder refuses {asked} ({error.strerror or error})") from error
