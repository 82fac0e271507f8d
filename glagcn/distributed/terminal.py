"""Standard output and error that may go away: a closed terminal, a pipe that nobody reads, a log on a full disk."""

import contextlib
import sys
from typing import Any, TextIO


class LastingStream:
    """A stream whose failures to write are ignored: what it shows must not end the work that it shows."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write what can be written."""
        try:
            return self._stream.write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        """Write what can be written."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def keep_streams() -> None:
    """Let standard output and error outlast what they write to."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, LastingStream):
            setattr(sys, name, LastingStream(stream))
