"""Running ffmpeg, which imageio-ffmpeg brings along, so that it never outlives its caller and its words are kept."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO


class Ffmpeg:
    """A running ffmpeg.

    stdin, stdout  its pipes, where asked for.
    """

    def __init__(self, process: subprocess.Popen, words: BinaryIO) -> None:
        self.stdin, self.stdout = process.stdin, process.stdout
        self._process, self._words = process, words

    def finish(self) -> int:
        """Close its input and wait until it ends; -> its exit status."""
        self.close_input()
        return self._process.wait()

    def close_input(self) -> None:
        """Close its input, which may still hold bytes for a process that is gone."""
        if self.stdin is not None:
            with suppress(BrokenPipeError):
                self.stdin.close()

    def words(self) -> str:
        """What it has said so far."""
        self._words.seek(0)
        return self._words.read().decode(errors="replace")

    def last_words(self) -> str:
        """The last line of it: where a program says why it gave up."""
        lines = [line.strip() for line in self.words().splitlines() if line.strip()]
        return lines[-1] if lines else "no reason given"


@contextmanager
def ffmpeg(*arguments: str, **pipes: Any) -> Iterator[Ffmpeg]:
    """Start ffmpeg with these arguments; when the block is left, in whatever way, it has ended.

    pipes  stdin, stdout of subprocess.Popen.
    """
    import imageio_ffmpeg  # only rendering needs it

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", *arguments]
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL} | pipes
    # A file, not a pipe: nobody reads it meanwhile, and a full pipe would block ffmpeg.
    with tempfile.TemporaryFile() as words, subprocess.Popen(command, stderr=words, **settings) as process:
        running = Ffmpeg(process, words)
        try:
            yield running
        finally:
            if process.poll() is None:
                process.kill()
            running.close_input()
