"""What a run says: to the terminal, log.txt, metrics.jsonl and TensorBoard."""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm


class Moment(NamedTuple):
    """Where a run is: optimiser steps, training windows and seconds of training so far."""

    step: int = 0
    windows: int = 0
    seconds: float = 0.0


START = Moment()


class RunLog:
    """Logger of a run: terminal, log.txt, metrics.jsonl and TensorBoard.

    folder      the run folder; None to print only (before there is one, and in evaluations).
    silent      neither print nor write: on every rank but the first.
    resumed_at  where a resumed run starts; later points of the curves are dropped.
    """

    def __init__(self, folder: Path | None = None, *, silent: bool = False, resumed_at: Moment = START) -> None:
        self._silent = silent
        self._text = self._records = self._board = self._bar = None
        self._axes: dict[str, Any] = {}
        if folder is not None and not silent:
            from torch.utils.tensorboard import SummaryWriter  # takes a second to import

            self._text = (folder / "log.txt").open("a", buffering=1)
            self._records = (folder / "metrics.jsonl").open("a", buffering=1)
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=resumed_at.step + 1)
            self._resumed_at = resumed_at

    def say(self, text: str) -> None:
        """Print, above the progress bar where there is one, and keep in log.txt."""
        if self._silent:
            return
        if self._bar is not None:
            tqdm.write(text)
        else:
            print(text, flush=True)
        if self._text is not None:
            self._text.write(text + "\n")

    def record(self, kind: str, step: int, values: dict[str, float], **marks: Any) -> None:
        """One line of metrics.jsonl, and a TensorBoard scalar "kind/name" per value."""
        if self._records is not None:
            known = {name: None if math.isnan(value) else value for name, value in values.items()}  # JSON has no NaN
            line = {"kind": kind, "step": step} | marks | known | {"time": round(time.time(), 3)}
            self._records.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def along(self, name: str, value: float, windows: float, seconds: float) -> None:
        """Two more TensorBoard curves of a value, "name_by_windows" and "name_by_seconds", whose horizontal axes (there
        called steps) are training windows and seconds of training."""
        if self._board is None:
            return
        for axis, position in (("windows", windows), ("seconds", round(seconds))):
            self._axis(axis).add_scalar(f"{name}_by_{axis}", value, position)

    def _axis(self, axis: str) -> Any:
        """The writer of an axis, in a folder of its own: TensorBoard drops a folder's later points by their places."""
        if axis not in self._axes:
            later = round(getattr(self._resumed_at, axis)) + 1
            board: Any = self._board
            self._axes[axis] = type(board)(f"{board.log_dir}/by_{axis}", purge_step=later)
        return self._axes[axis]

    def text(self, name: str, text: str) -> None:
        """A text page in TensorBoard."""
        if self._board is not None:
            self._board.add_text(name, text)

    def figure(self, name: str, figure: Any, step: int) -> None:
        """A matplotlib figure in TensorBoard."""
        if self._board is not None:
            self._board.add_figure(name, figure, step)

    def hparams(self, options: dict[str, Any], results: dict[str, float]) -> None:
        """The row of this run in TensorBoard's table of hyperparameters, beside the last value of its test curves."""
        if self._board is not None:
            from torch.utils.tensorboard.summary import hparams

            known = {k: v for k, v in options.items() if v is not None}
            plain = {k: v if isinstance(v, (int, float, str, bool)) else str(v) for k, v in known.items()}
            # SummaryWriter.add_hparams would add a curve of one point for every result.
            for summary in hparams(plain, {f"test/{name}": value for name, value in results.items()}):
                self._board._get_file_writer().add_summary(summary)

    def start_progress(self, done: int, total: int) -> None:
        """A progress bar over optimiser steps; only where a person sees both it and the lines."""
        if sys.stderr.isatty() and sys.stdout.isatty() and not self._silent:
            self._bar = tqdm(total=total, initial=done, unit="step", dynamic_ncols=True, smoothing=0.05)

    def advance(self) -> None:
        """One optimiser step done."""
        if self._bar is not None:
            self._bar.update()

    def say_progress(self, text: str) -> None:
        """Where the run is: beside the progress bar where there is one, and in log.txt; else a line."""
        if self._bar is None:
            self.say(text)
            return
        self._bar.set_postfix_str(text.partition(": ")[2])
        if self._text is not None:
            self._text.write(text + "\n")

    def flush(self) -> None:
        """Hand everything to the operating system."""
        for part in (self._text, self._records, self._board, *self._axes.values()):
            if part is not None:
                part.flush()

    def close(self) -> None:
        """Finish the bar and close the files."""
        for part in (self._bar, self._text, self._records, self._board, *self._axes.values()):
            if part is not None:
                part.close()
        self._text = self._records = self._board = self._bar = None
        self._axes = {}
