"""The log of a run: log.txt, metrics.jsonl, training_curves.png, and TensorBoard or another board (--log_with)."""

import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from glagcn import dist
from glagcn.errors import UserError, first_line
from glagcn.evaluate.benchmarks import Evaluation
from glagcn.evaluate.metrics import MPJPE, frame_metrics
from glagcn.files import write_atomically, write_text
from glagcn.progress import PlainText
from glagcn.train.run_folder import read_lines

logger = logging.getLogger(__name__)

ERRORS = "error_mm"  # TensorBoard sorts by name, and this group comes first
TEST = "test"
LARGEST = 1e12  # matplotlib cannot draw numbers near the largest float
TRAINING = {("train", "mpjpe_mm"): "training", ("train", "sequence_mpjpe_mm"): "training, sequence head"}
AXES = {"epoch": "epoch", "windows": "training windows"}
PROJECT = "glagcn"  # unless WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME is set
LONGEST_VALUE = 500  # characters of a parameter, of MLflow
OFFLINE = {"wandb": "WANDB_MODE=offline", "mlflow": "MLFLOW_TRACKING_URI=sqlite:///FILE.db"}


class LineFile(logging.Handler):
    """Appends lines to a file; as a handler, the messages of the program.

    A full disk does not end the run: what cannot be written stays in memory and is written before later lines.  A
    warning says so once.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.setFormatter(PlainText())
        self._path, self._fails = path, False
        self._file = path.open("ab", buffering=0)  # a buffer of Python loses what a full disk does not take
        self._unwritten = b""

    def emit(self, record: logging.LogRecord) -> None:
        """Append a message."""
        self.add(self.format(record))

    def add(self, text: str) -> None:
        """Append a line, or several."""
        # Bytes of file names that are no text become escapes.
        self._unwritten += f"{text}\n".encode(errors="backslashreplace")
        self._write()

    def close(self) -> None:
        """End writing."""
        self._write()
        self._file.close()
        super().close()

    def _write(self) -> None:
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[self._file.write(self._unwritten) :]
            self._fails = False
        except OSError as error:
            if not self._fails:
                self._fails = True  # before the warning, which is a line too
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
        self, folder: Path, *, resumed_at: int = 0, log_with: str = "tensorboard", options: dict[str, Any] | None = None
    ) -> None:
        self.folder, self._log_with, self._options = folder, log_with, options or {}
        self._bar: tqdm | None = None
        self._text: LineFile | None = None
        self._records: LineFile | None = None
        self._board: TensorBoard | Tracker | None = None
        if not dist.is_main():
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
            points = {f"{kind}/{name}": value for name, value in values.items() if not math.isnan(value)}
            if kind in ("train", "validation", TEST) and f"{kind}/{MPJPE.name}" in points:
                points[f"{ERRORS}/{kind}"] = points.pop(f"{kind}/{MPJPE.name}")
            self._show(lambda board: board.scalars(points, step))

    def evaluation(self, evaluation: Evaluation, name: str, step: int, *, drawn: bool = True, **marks: Any) -> None:
        """Record an evaluation on the set `name`, and add a figure of its skeletons to the board."""
        from glagcn.evaluate.figures import skeleton_figure

        for kind, values in {name: evaluation.scalars, **evaluation.benchmark.curves(evaluation.metrics)}.items():
            self.record(kind, step, values, drawn=drawn, **marks)
        self._show(lambda board: board.figure(f"{name}/skeletons", skeleton_figure(evaluation), step))

    def text(self, name: str, text: str) -> None:
        """Add a text to the board."""
        self._show(lambda board: board.text(name, text))

    def result(self, scalars: dict[str, float], step: int) -> None:
        """Add the test metrics of the finished run to the board; TensorBoard also gets its options then."""
        self._show(lambda board: board.result(self._options, scalars, step))

    def start_progress(self, done: int, total: int) -> None:
        """Show a progress bar over optimiser steps, if both stdout and stderr are terminals."""
        if sys.stderr.isatty() and sys.stdout.isatty() and dist.is_main():
            form = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
            self._bar = tqdm(total=total, initial=done, dynamic_ncols=True, smoothing=0.05, bar_format=form)

    def advance(self) -> None:
        """Advance the progress bar by one optimiser step."""
        if self._bar is not None:
            self._bar.update()

    def show_progress(self, text: str, brief: str) -> None:
        """Show the progress: `brief` beside the bar, which has step and time, else `text` as a line.  Append `text` to
        log.txt.
        """
        if self._bar is None:
            logger.info(text)
            return
        self._bar.set_postfix_str(brief)
        if self._text is not None:
            self._text.add(text)

    def flush(self) -> None:
        """Let the board write what it has."""
        self._show(lambda board: board.flush())

    def close(self) -> None:
        """Close the progress bar and all files."""
        self._show(lambda board: board.close())
        if self._text:
            logging.getLogger("glagcn").removeHandler(self._text)
        for part in filter(None, (self._bar, self._text, self._records)):
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


class TensorBoard:
    """Writes to the folder `tensorboard` of a run.

    TensorBoard draws points of one name in one chart if they are of several folders, so the errors while training are
    in a folder for each set: train, validation or test.

    resumed_at  the step at which a resumed run starts; TensorBoard drops later points.
    """

    def __init__(self, folder: Path, resumed_at: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        self._folder = folder / "tensorboard"
        self._new_writer = partial(SummaryWriter, purge_step=resumed_at + 1)
        self._writer: Any = self._new_writer(str(self._folder))
        self._of_sets: dict[str, Any] = {}  # writers of the errors

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Add a point to each curve, {its name: value}."""
        for tag, value in values.items():
            group, _, name = tag.partition("/")
            if group != ERRORS:
                self._writer.add_scalar(tag, value, step)
                continue
            if name not in self._of_sets:
                self._of_sets[name] = self._new_writer(str(self._folder / name))
            self._of_sets[name].add_scalar(ERRORS, value, step)

    def text(self, name: str, text: str) -> None:
        """Add a text."""
        self._writer.add_text(name, text)

    def figure(self, name: str, figure: Any, step: int) -> None:
        """Add a matplotlib figure."""
        self._writer.add_figure(name, figure, step)

    def result(self, options: dict[str, Any], scalars: dict[str, float], step: int) -> None:
        """Add the test metrics as one table, and the options with the MPJPE to the table of hyperparameters."""
        from torch.utils.tensorboard import FileWriter
        from torch.utils.tensorboard.summary import hparams

        rows = "".join(f"| {name} | {value:.2f} |\n" for name, value in scalars.items() if not math.isnan(value))
        self._writer.add_text(TEST, f"| metric | value |\n|---|---|\n{rows}", step)
        plain = {
            key: value if isinstance(value, int | float | str) else str(value)
            for key, value in options.items()
            if value is not None
        }
        tag = f"{TEST}/{MPJPE.name}"
        self._writer.add_scalar(tag, scalars[MPJPE.name], step)  # the column of the hyperparameters needs a curve
        # SummaryWriter.add_hparams would list the run twice, and add a curve for every result.  Of several tables in a
        # run, TensorBoard shows the first one: this one is in a file of its own, which replaces that of a shorter run.
        self._writer.flush()
        for earlier in self._folder.glob("*.options"):
            earlier.unlink()
        table = FileWriter(str(self._folder), filename_suffix=".options")
        for summary in hparams(plain, {tag: scalars[MPJPE.name]}):
            table.add_summary(summary)
        table.close()

    def flush(self) -> None:
        """Write everything to disk."""
        for writer in (self._writer, *self._of_sets.values()):
            writer.flush()

    def close(self) -> None:
        """End writing."""
        for writer in (self._writer, *self._of_sets.values()):
            writer.close()


def curves() -> dict[tuple[str, str], str]:
    """The curves in the order of the legend: {(kind, name) of the records: label}."""
    evaluated = {
        (kind, metric.name): kind if metric is MPJPE else f"{kind}, {metric.title}"
        for kind in ("validation", "test")
        for metric in frame_metrics()
        if metric.drawn
    }
    return TRAINING | evaluated


def draw_training_curves(folder: Path, against: str, baseline: float, name: str) -> None:
    """Draw the errors in mm from metrics.jsonl in a run folder to training_curves.png.

    against   the horizontal axis, "epoch" or "windows".
    baseline  the error in mm of the mean training pose on the set `name`, drawn as a line.
    Raises UserError if the file cannot be written.
    """
    records = [record for _, record in read_lines(folder / "metrics.jsonl") if record]
    from matplotlib.figure import Figure  # not needed before the first evaluation

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for (kind, name), label in curves().items():
        points = [
            (record[against], record[name])
            for record in records
            if record["kind"] == kind and _is_drawable(record.get(against)) and _is_drawable(record.get(name))
        ]
        if points:
            style: dict[str, Any] = {"linewidth": 1} if kind == "train" else {}
            axes.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 30 else None, **style)
    axes.axhline(baseline, color="gray", linestyle="--", linewidth=1, label=f"mean pose, {name}")
    axes.set(xlabel=AXES[against], ylabel="error, mm", ylim=(0, None), title=folder.name)
    axes.grid(alpha=0.3)
    axes.legend()
    write_atomically(folder / "training_curves.png", lambda file: figure.savefig(file, dpi=120, format="png"))


def _is_drawable(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < LARGEST  # not NaN


def check_tracker(log_with: str) -> None:
    """Raise UserError if the package of --log_with is not installed."""
    if log_with not in OFFLINE:
        return
    found = find_spec(log_with)
    if found is None or found.origin is None:  # a folder wandb/ of offline runs has no origin
        raise UserError(f"--log_with {log_with} needs a package that is not installed: pip install {log_with}")


class Tracker:
    """One run of Weights & Biases or MLflow, with the curves of TensorBoard.

    The file wandb.id or mlflow.id in the run folder lets a resumed run go on in it.  A failure while it starts raises
    UserError; later, the errors of the packages pass through.
    """

    def __init__(self, name: str, folder: Path, options: dict[str, Any]) -> None:
        file = folder / f"{name}.id"
        known = file.read_text(encoding="utf-8").strip() if file.exists() else None
        values = {key: str(value)[:LONGEST_VALUE] for key, value in options.items()}
        try:
            self._package: Any = import_module(name)
            self._is_wandb = name == "wandb"
            if self._is_wandb:
                project = os.environ.get("WANDB_PROJECT", PROJECT)
                form = {"name": folder.name, "dir": str(folder), "id": known, "resume": "allow"}
                self._run = self._package.init(project=project, **form)
                identity = self._run.id
                if known is None:
                    self._run.config.update(values, allow_val_change=True)
            else:
                self._package.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
                identity = self._package.start_run(run_id=known, run_name=folder.name).info.run_id
                if known is None:  # MLflow refuses to change a parameter
                    self._package.log_params(values)
        except Exception as error:  # noqa: BLE001  # of a service, of any kind
            raise UserError(
                f"--log_with {name} cannot start: {first_line(error)[:200]}; log in, or set {OFFLINE[name]} to work "
                "offline"
            ) from None
        write_text(file, f"{identity}\n")

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Add a point to each curve, {its name: value}."""
        if self._is_wandb:
            self._run.log(values, step=step)
        else:
            self._package.log_metrics(values, step=step)

    def text(self, name: str, text: str) -> None:
        """Nothing: the options are parameters of the run already."""

    def figure(self, name: str, figure: Any, step: int) -> None:
        """Add a matplotlib figure."""
        if self._is_wandb:
            figure.canvas.draw()
            self._run.log({name: [self._package.Image(np.asarray(figure.canvas.buffer_rgba()))]}, step=step)
        else:
            self._package.log_figure(figure, f"{name}_{step}.png")

    def result(self, options: dict[str, Any], scalars: dict[str, float], step: int) -> None:  # noqa: ARG002
        """Add the test metrics."""
        self.scalars({f"test/{name}": value for name, value in scalars.items()}, step)

    def flush(self) -> None:
        """Nothing: the packages send what they have by themselves."""

    def close(self) -> None:
        """End the run; a resumed one opens it again."""
        if self._is_wandb:
            self._run.finish()
        else:
            self._package.end_run()
