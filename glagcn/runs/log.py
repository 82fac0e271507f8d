"""Run logger: log.txt, metrics.jsonl and what --log_with names, such as TensorBoard."""

import contextlib
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from glagcn import dist
from glagcn.errors import first_line
from glagcn.progress import PlainText
from glagcn.runs.board import TensorBoard, tag_of
from glagcn.runs.tracker import Tracker

logger = logging.getLogger(__name__)


class LineFile(logging.Handler):
    """Appends lines to a file; as a handler, the messages of the program.

    A full disk does not end the run: lines that cannot be written stay in the buffer of the file and are written with
    later ones.  A warning says so once.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.setFormatter(PlainText())
        self._path, self._fails = path, False
        # Bytes of file names that are no text become escapes.
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace")

    def emit(self, record: logging.LogRecord) -> None:
        """Append a message."""
        self.add(self.format(record))

    def add(self, text: str) -> None:
        """Append a line, or several."""
        with self._warning():
            self._file.write(f"{text}\n")
            self._file.flush()

    def close(self) -> None:
        """End writing."""
        with self._warning():
            self._file.close()
        super().close()

    @contextlib.contextmanager
    def _warning(self) -> Iterator[None]:
        """Warn of the first failure to write."""
        try:
            yield
            self._fails = False
        except OSError as error:
            if not self._fails:
                self._fails = True
                logger.warning(
                    f"cannot write {self._path}: {error.strerror}; the run goes on, and its lines are written as soon "
                    "as that is possible"
                )


class RunLog:
    """Logger of a run: log.txt, metrics.jsonl, and TensorBoard or another board.  It writes on rank 0 only.

    While it is open, all messages of the program are appended to log.txt.

    folder      the run folder.
    resumed_at  the step at which a resumed run starts; TensorBoard drops later points of its curves.
    log_with    the board: "tensorboard", "wandb", "mlflow" or "none".
    options     of the run, by key, for the board.

    Raises UserError if the board cannot start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        resumed_at: int = 0,
        log_with: str = "tensorboard",
        options: dict[str, Any] | None = None,
    ) -> None:
        self._bar: tqdm | None = None
        self._text: LineFile | None = None
        self._records: LineFile | None = None
        self._board: TensorBoard | Tracker | None = None
        self._options, self._log_with = options or {}, log_with
        self._writes = dist.is_main()
        if not self._writes:
            return
        if log_with == "tensorboard":
            self._board = TensorBoard(folder, resumed_at)
        elif log_with != "none":
            self._board = Tracker(log_with, folder, self._options)
        self._text, self._records = (LineFile(folder / name) for name in ("log.txt", "metrics.jsonl"))
        logging.getLogger("glagcn").addHandler(self._text)

    def record(self, kind: str, step: int, values: dict[str, float], *, drawn: bool = True, **marks: Any) -> None:
        """Write a line of metrics.jsonl and, if `drawn`, a point of a curve for each value."""
        if self._records is not None:
            known = {name: None if math.isnan(value) else value for name, value in values.items()}  # JSON has no NaN
            line = {"kind": kind, "step": step} | marks | known | {"time": round(time.time(), 3)}
            self._records.add(json.dumps(line))
        if drawn:
            points = {tag_of(kind, name): value for name, value in values.items()}
            self._show(lambda board: board.scalars(points, step))

    def text(self, name: str, text: str) -> None:
        """Add a text to the board."""
        self._show(lambda board: board.text(name, text))

    def figure(self, name: str, draw: Callable[[], Any], step: int) -> None:
        """Add the matplotlib figure that `draw` returns to the board.  Without a board, nothing is drawn."""
        self._show(lambda board: board.figure(name, draw(), step))

    def result(self, scalars: dict[str, float], step: int) -> None:
        """Add the test metrics of the finished run to the board; TensorBoard also gets its options then."""
        self._show(lambda board: board.result(self._options, scalars, step))

    def start_progress(self, done: int, total: int) -> None:
        """Show a progress bar over optimiser steps, if both stdout and stderr are terminals."""
        if sys.stderr.isatty() and sys.stdout.isatty() and self._writes:
            self._bar = tqdm(total=total, initial=done, unit="step", dynamic_ncols=True, smoothing=0.05)

    def advance(self) -> None:
        """Advance the progress bar by one optimiser step."""
        if self._bar is not None:
            self._bar.update()

    def show_progress(self, text: str) -> None:
        """Show the progress beside the progress bar if there is one, else as a line.  Append it to log.txt."""
        if self._bar is None:
            logger.info(text)
            return
        self._bar.set_postfix_str(text.partition(": ")[2])
        if self._text is not None:
            self._text.add(text)

    def flush(self) -> None:
        """Let the board write what it has."""
        self._show(lambda board: board.flush())

    def close(self) -> None:
        """Close the progress bar and all files."""
        self._show(lambda board: board.close())
        if self._text is not None:
            logging.getLogger("glagcn").removeHandler(self._text)
        for part in (self._bar, self._text, self._records):
            if part is not None:
                part.close()
        self._text = self._records = self._board = self._bar = None

    def _show(self, work: Callable[[Any], object]) -> None:
        """Hand something to the board.  If that fails, as on a full disk, the run goes on without the board."""
        if self._board is None:
            return
        try:
            work(self._board)
        except Exception as error:  # noqa: BLE001  # of a service or a disk, of any kind
            self._board = None
            logger.warning(f"{self._log_with} failed: {first_line(error)[:200]}; the run goes on without it")
