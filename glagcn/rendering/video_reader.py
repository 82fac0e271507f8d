"""Videos to show behind the 2D poses: what they are, and their frames one after the other."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from glagcn.errors import UserError

EXPECTED = "expected one that ffmpeg plays"


@dataclass(frozen=True)
class Video:
    """A video file.

    size  (width, height) in pixels, as it is shown: turned where the file says so.
    fps   frames per second; 0 where the file does not say.
    """

    path: Path
    size: tuple[int, int]
    fps: float

    def frames(self, size: tuple[int, int], skip: int = 0, step: int = 1) -> Generator[np.ndarray, None, None]:
        """Every `step`-th frame from number `skip` on, scaled to `size` (width, height): [h,w,3] uint8.

        Frames are those that the file stores, whatever their times: poses are numbered by them.  Close the iterator to
        stop early.  Raises UserError where the file is damaged.
        """
        with closing(_decoded(self.path)) as frames:
            for frame, _ in islice(frames, skip, None, step):
                yield _picture(frame, size)

    def count(self, skip: int, step: int, most: int) -> int:
        """How many frames `frames` would give; no more than `most` are read."""
        with closing(_decoded(self.path)) as frames:
            return sum(1 for _ in islice(frames, skip, skip + step * most, step))


def open_video(path: Path) -> Video:
    """The video in a file.  Raises UserError, naming the file, when there is none or no frame of it can be read."""
    if not path.is_file():
        raise UserError(f"--viz-video {path}: there is no such file")
    with closing(_decoded(path)) as frames:
        for frame, fps in frames:
            size = (frame.width, frame.height)
            return Video(path, size[::-1] if _turn(frame)[0] else size, fps)
    raise UserError(f"--viz-video {path} has no frame; give a video, or leave the flag out")


def _decoded(path: Path) -> Generator[tuple[av.VideoFrame, float], None, None]:
    """The frames that a file stores, in order, and their number per second."""
    count = 0
    try:
        # "file:" keeps characters of a name from meaning anything, and tags in other encodings are no reason to stop.
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            streams = [
                stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
            ]
            if not streams:
                raise UserError(f"--viz-video {path} cannot be read as a video (it has no video stream); {EXPECTED}")
            streams[0].thread_type = "AUTO"
            for frame in container.decode(streams[0]):
                yield frame, float(streams[0].average_rate or 0)
                count += 1
    except av.FFmpegError as error:
        reason = error.strerror or error
        if count == 0:
            raise UserError(f"--viz-video {path} cannot be read as a video ({reason}); {EXPECTED}") from error
        raise UserError(
            f"--viz-video {path} is damaged after frame {count} ({reason}); "
            "give a whole one, or show less of it with --viz-limit"
        ) from error


def _picture(frame: av.VideoFrame, size: tuple[int, int]) -> np.ndarray:
    """A frame as it is shown, [h,w,3] uint8, scaled to `size` (width, height)."""
    transposed, horizontal, vertical = _turn(frame)
    width, height = size[::-1] if transposed else size
    image = frame.to_ndarray(width=width, height=height, format="rgb24", interpolation="AREA")
    image = image.swapaxes(0, 1) if transposed else image
    return np.ascontiguousarray(image[::vertical, ::horizontal])


def _turn(frame: av.VideoFrame) -> tuple[bool, int, int]:
    """How a frame becomes what is shown: whether rows become columns, then the steps (1, or -1 to mirror) in which
    columns and rows are read."""
    held: Any = frame.side_data.get("DISPLAYMATRIX")
    if held is None:
        return False, 1, 1
    # Stored (p, q) is shown at (a p + c q, b p + d q), where the rest only moves it.
    a, b, _, c, d = np.frombuffer(held, dtype=np.int32)[:5]
    transposed = bool(abs(b) > abs(a))
    x, y = (c, b) if transposed else (a, d)
    return transposed, -1 if x < 0 else 1, -1 if y < 0 else 1
