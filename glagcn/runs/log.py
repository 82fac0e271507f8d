"""Run logger: terminal, log.txt, metrics.jsonl and TensorBoard."""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm


class Moment(NamedTuple):
    """Optimiser steps, training windows and training seconds so far."""

    step: int = 0
    windows: int = 0
    seconds: float = 0.0


START = Moment()


class RunLog:
    """Logger of a run: terminal, log.txt, metrics.jsonl and TensorBoard.

    folder      the run folder; None prints only.
    silent      neither print nor write, on all ranks except rank 0.
    resumed_at  where a resumed run starts; TensorBoard drops later points of its curves.
    """

    def __init__(self, folder: Path | None = None, *, silent: bool = False, resumed_at: Moment = START) -> None:
        self._silent = silent
        self._text = self._records = self._board = self._bar = None
        self._axes: dict[str, Any] = {}
        if folder is not None and not silent:
            from torch.utils.tensorboard import SummaryWriter  # takes a second to import

            self._text, self._records = (
                (folder / name).open("a", buffering=1, encoding="utf-8", errors="backslashreplace")
                for name in ("log.txt", "metrics.jsonl")
            )
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=resumed_at.step + 1)
            self._resumed_at = resumed_at

    def say(self, text: str) -> None:
        """Print a line, above the progress bar if there is one, and append it to log.txt."""
        if self._silent:
            return
        if self._bar is not None:
            tqdm.write(text)
        else:
            print(text, flush=True)
        if self._text is not None:
            self._text.write(text + "\n")

    def record(self, kind: str, step: int, values: dict[str, float], **marks: Any) -> None:
        """Write a line of metrics.jsonl, and a TensorBoard scalar "kind/name" for each value."""
        if self._records is not None:
            known = {name: None if math.isnan(value) else value for name, value in values.items()}  # JSON has no NaN
            line = {"kind": kind, "step": step} | marks | known | {"time": round(time.time(), 3)}
            self._records.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def record_by_progress(self, name: str, value: float, windows: float, seconds: float) -> None:
        """Add a value to the TensorBoard curves "name_by_windows" and "name_by_seconds", whose horizontal axes are
        training windows and training seconds."""
        if self._board is None:
            return
        for axis, position in (("windows", windows), ("seconds", round(seconds))):
            self._axis(axis).add_scalar(f"{name}_by_{axis}", value, position)

    def _axis(self, axis: str) -> Any:
        """The writer for an axis.  Each axis needs its own folder, because purge_step applies to a whole folder."""
        if axis not in self._axes:
            later = round(getattr(self._resumed_at, axis)) + 1
            board: Any = self._board
            self._axes[axis] = type(board)(f"{board.log_dir}/by_{axis}", purge_step=later)
        return self._axes[axis]

    def text(self, name: str, text: str) -> None:
        """Add a text to TensorBoard."""
        if self._board is not None:
            self._board.add_text(name, text)

    def figure(self, name: str, figure: Any, step: int) -> None:
        """Add a matplotlib figure to TensorBoard."""
        if self._board is not None:
            self._board.add_figure(name, figure, step)

    def hparams(self, options: dict[str, Any], results: dict[str, float]) -> None:
        """Add this run to TensorBoard's table of hyperparameters, with the last values of its test curves."""
        if self._board is not None:
            from torch.utils.tensorboard.summary import hparams

            known = {k: v for k, v in options.items() if v is not None}
            plain = {k: v if isinstance(v, (int, float, str, bool)) else str(v) for k, v in known.items()}
            # SummaryWriter.add_hparams would also add a curve with one point for every result.
            for summary in hparams(plain, {f"test/{name}": value for name, value in results.items()}):
                self._board._get_file_writer().add_summary(summary)

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
            self._text.write(text + "\n")

    def flush(self) -> None:
        """Flush all files."""
        for part in (self._text, self._records, self._board, *self._axes.values()):
            if part is not None:
                part.flush()

    def close(self) -> None:
        """Close the progress bar and all files."""
        for part in (self._bar, self._text, self._records, self._board, *self._axes.values()):
            if part is not None:
                part.close()
        self._text = self._records = self._board = self._bar = None
        self._axes = {}
