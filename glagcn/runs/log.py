"""Run logger: terminal, log.txt, metrics.jsonl and what --log_with names, such as TensorBoard."""

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from glagcn.errors import first_line
from glagcn.runs.board import TensorBoard, tag_of
from glagcn.runs.journal import Journal
from glagcn.runs.tracker import Tracker


class RunLog:
    """Logger of a run: terminal, log.txt, metrics.jsonl, and TensorBoard or another board.

    folder      the run folder; None prints only.
    silent      neither print nor write, on all ranks except rank 0.
    resumed_at  the step at which a resumed run starts; TensorBoard drops later points of its curves.
    log_with    the board: "tensorboard", "wandb", "mlflow" or "none".
    options     of the run, by key, for the board.

    Raises UserError if the board cannot start.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        silent: bool = False,
        resumed_at: int = 0,
        log_with: str = "tensorboard",
        options: dict[str, Any] | None = None,
    ) -> None:
        self._silent = silent
        self._bar: tqdm | None = None
        self._text: Journal | None = None
        self._records: Journal | None = None
        self._board: TensorBoard | Tracker | None = None
        self._options, self._log_with = options or {}, log_with
        if folder is not None and not silent:
            if log_with == "tensorboard":
                self._board = TensorBoard(folder, resumed_at)
            elif log_with != "none":
                self._board = Tracker(log_with, folder, self._options)
            self._text, self._records = (Journal(folder / name, self.say) for name in ("log.txt", "metrics.jsonl"))

    def say(self, text: str) -> None:
        """Print a line, above the progress bar if there is one, and append it to log.txt."""
        if self._silent:
            return
        if self._bar is not None:
            tqdm.write(text)
        else:
            print(text, flush=True)
        if self._text is not None:
            self._text.add(text)

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
        if sys.stderr.isatty() and sys.stdout.isatty() and not self._silent:
            self._bar = tqdm(total=total, initial=done, unit="step", dynamic_ncols=True, smoothing=0.05)

    def advance(self) -> None:
        """Advance the progress bar by one optimiser step."""
        if self._bar is not None:
            self._bar.update()

    def say_progress(self, text: str) -> None:
        """Show the progress beside the progress bar if there is one, else as a line.  Append it to log.txt."""
        if self._bar is None:
            self.say(text)
            return
        self._bar.set_postfix_str(text.partition(": ")[2])
        if self._text is not None:
            self._text.add(text)

    def flush(self) -> None:
        """Flush all files."""
        for part in (self._text, self._records):
            if part is not None:
                part.flush()
        self._show(lambda board: board.flush())

    def close(self) -> None:
        """Close the progress bar and all files."""
        self._show(lambda board: board.close())
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
            self.say(f"WARNING: {self._log_with} failed: {first_line(error)[:200]}; the run goes on without it")
