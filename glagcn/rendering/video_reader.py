"""Videos to show behind the 2D poses: what they are, and their frames one after the other."""

import re
import subprocess
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glagcn.errors import UserError
from glagcn.rendering.ffmpeg import ffmpeg


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
        stop early.
        """
        width, height = size
        filters = f"trim=start_frame={skip},framestep={step},scale={width}:{height}:flags=area,setsar=1"
        output = ("-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
        command = ("-v", "error", "-i", _as_file(self.path), "-map", "0:v:0", "-vf", filters, *output)
        with ffmpeg(*command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            while len(data := process.stdout.read(width * height * 3)) == width * height * 3:
                yield np.frombuffer(data, dtype=np.uint8).reshape(height, width, 3)

    def count(self, skip: int, step: int, most: int) -> int:
        """How many frames `frames` would give; no more than `most` are read."""
        with closing(self.frames((16, 16), skip, step)) as frames:
            return sum(1 for _ in zip(range(most), frames))  # noqa: B905 (the shorter ends it)


def open_video(path: Path) -> Video:
    """The video in a file.  Raises UserError, naming the file, when there is none or no frame of it can be read."""
    if not path.is_file():
        raise UserError(f"--viz-video {path}: there is no such file")
    with ffmpeg("-i", _as_file(path), "-map", "0:v:0", "-frames:v", "1", "-f", "null", "-") as process:
        status, words, reason = process.finish(), process.words(), process.last_words()
    if status != 0:
        raise UserError(f"--viz-video {path} cannot be read as a video ({reason}); expected one that ffmpeg plays")
    streams = re.findall(r"Stream #.*Video: .*", words)  # what comes in, and what goes out
    size = re.search(r" (\d+)x(\d+)[, \n]", f"{streams[-1]}\n") if streams else None
    video = Video(path, (int(size[1]), int(size[2])), _fps(streams[0])) if size else None
    if video is None or video.count(0, 1, 1) == 0:
        raise UserError(f"--viz-video {path} has no frame; give a video, or leave the flag out")
    return video


def _fps(stream: str) -> float:
    """The frame rate in ffmpeg's description of a stream; 0 where it has none."""
    found = re.search(r" ([\d.]+)(k?) fps", stream)
    return float(found[1]) * (1000 if found[2] else 1) if found else 0.0


def _as_file(path: Path) -> str:
    """A path that ffmpeg takes for nothing but a file, whatever characters it has."""
    return f"file:{path}"
