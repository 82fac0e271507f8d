"""Loss sums, training time and log lines of a run."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glagcn import dist
from glagcn.config.options import OPTIONS, Config, foreign_options
from glagcn.config.recipes import REFERENCE, Curve
from glagcn.config.resolve import plain_values
from glagcn.data.plan import EpochPlan
from glagcn.data.windows import mean_pose
from glagcn.evaluate.benchmarks import BLOCK
from glagcn.evaluate.evaluate import Evaluation, EvaluationSet
from glagcn.evaluate.metrics import joint_errors
from glagcn.files import WriteError
from glagcn.model.interface import Model
from glagcn.poses.normalise import MM_PER_METRE
from glagcn.skeletons import get_skeleton
from glagcn.train.cadence import Cadence
from glagcn.train.hardware import Speed, is_warm, peak_memory
from glagcn.train.log import RunLog
from glagcn.train.loss import Loss
from glagcn.train.optim import last_step
from glagcn.train.progress import Progress, Sums
from glagcn.train.rehearsal import spread_text
from glagcn.train.run_folder import RunFolder
from glagcn.train.setup import RunData

# ---- Compares a finished run with the mean-pose baseline and reference runs, to detect broken data.


SUSPICIOUS = 1.3  # times the error of the reference run
REFERENCE_MODEL = "gla_gcn"  # the model of the reference runs


@dataclass(frozen=True)
class Comparison:
    """Errors as shares of the mean-pose error: of this run, and of the reference runs after the same windows.

    this       share of this run, of `recipe`, after `windows` training windows.
    tuned      share of the reference run of the tuned recipe;  published  of the published recipe.
    """

    recipe: str
    windows: int
    this: float
    tuned: float
    published: float

    @property
    def is_suspicious(self) -> bool:
        """Whether this run of the tuned recipe is clearly worse than its reference run.

        Not judged for the published recipe: its reference run used a higher learning rate.
        """
        return self.recipe == "tuned" and self.this > SUSPICIOUS * self.tuned

    def text(self) -> str:
        """For the log."""
        text = (
            f"After {self.windows:,} windows the error is {self.this:.0%} of the mean-pose baseline (reference runs in "
            f"docs/recipe.md: tuned {self.tuned:.0%}, published {self.published:.0%})"
        )
        if not self.is_suspicious:
            return text
        return (
            f"WARNING: {text}. This run is clearly worse than the reference run: if flags do not explain it, compare "
            "2D and 3D of a few frames (--render)"
        )


def compare_with_reference(config: Config, windows: int, error: float, mean_pose_error: float) -> Comparison | None:
    """Compare a run of `windows` training windows with the reference runs.

    error  of the run, and mean_pose_error  of the mean-pose baseline: MPJPE in mm on the same frames.
    The reference errors are interpolated over log(windows), and constant after the last entry of the table.
    None for data sets without reference runs, other models, runs shorter than the first entry, with simulated
    detections, and runs that started from a checkpoint or were capped by --debug or --max_steps.
    """
    table = REFERENCE.get(config.data.dataset, {})
    if (
        not table
        or config.model.kind != REFERENCE_MODEL
        or config.run.resume
        or config.data.detections
        or config.selection.test_detections
        or config.run.debug
        or config.optim.max_steps
    ):
        return None
    if windows < max(curve[0][0] for curve in table.values()):
        return None
    shares = {recipe: _share_at(curve, windows) for recipe, curve in table.items()}
    return Comparison(config.optim.recipe, windows, error / mean_pose_error, **shares)


def _share_at(curve: Curve, windows: int) -> float:
    for (begin, first), (end, last) in pairwise(curve):
        if windows < end:
            return first + (last - first) * math.log(windows / begin) / math.log(end / begin)
    return curve[-1][1]


def mean_pose_error(data: RunData, scored: EvaluationSet) -> float:
    """MPJPE in mm, averaged as the benchmark does, if the mean training pose is predicted for every scored frame."""
    split, skeleton, frames = scored.split, get_skeleton(data.cache.skeleton), scored.frames
    mean = mean_pose(data.train_split, data.plan.target_frames, skeleton).numpy() * MM_PER_METRE
    errors = []
    for begin in range(0, len(frames), BLOCK):
        target = split.millimetres[frames[begin : begin + BLOCK]]
        target -= target[:, skeleton.root, None]
        errors.append(joint_errors(np.broadcast_to(mean, target.shape), target))
    return scored.benchmark.mpjpe(np.concatenate(errors), split, frames)


# ---- The summary that a run logs at its start: processes, options, data, model and plan.


# How the evaluated state was selected, by --select_on.
SELECTED = {
    "validation": "the best on the held-out training sequences; the test set was evaluated once",
    "test": "the best on the test set (as published): the test metrics are optimistic",
    "last": "the last one; the test set was evaluated once",
}
MARKS = {"flag": "*", "file": "=", "debug": "+"}  # of options that are not preset


def summary_text(config: Config, origin: dict[str, str], data: RunData, model: Model) -> str:
    """The whole summary.  The processes come first, because a launcher may start fewer than requested."""
    processes = (
        f"Processes: {dist.world_size()}, on {dist.device().type}, CPU threads: {torch.get_num_threads()} each, "
        f"{config.optim.precision}; "
        f"{spread_text(config.optim, data.plan.batch_size)}"
    )
    options = options_text(config, origin, all_options=config.run.dry_run)
    return "\n".join([processes, options, run_text(config, data, model)])


def options_text(config: Config, origin: dict[str, str], *, all_options: bool) -> str:
    """The options that are not preset, or all that this model uses, with a mark for where each came from."""
    foreign = foreign_options(config.model.kind)
    values = {
        name: value
        for name, value in plain_values(config).items()
        if name not in foreign and (all_options or (origin[name] in MARKS and not OPTIONS[name].names_preset))
    }
    preset = f"the preset of --dataset {config.data.dataset} --recipe {config.optim.recipe}"
    if not values:
        return f"Options: {preset}; --dry_run lists them"
    title = "Options" if all_options else f"Options beside {preset}, which --dry_run lists"
    lines = [f"{title} (* given as flags, = from --config, + capped by --debug):"]
    width = max(map(len, values))
    for name, value in values.items():
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
        lines.append(f"  {MARKS.get(origin[name], ' ')} {name:{width}} {shown}")
    return "\n".join(lines)


def end_text(headline: str, result: dict[str, Any], folder: Path, target: Path, log_with: str) -> str:
    """The table at the end of a run: errors, where the results are, and the next command.

    headline  the metrics on the test set;  result  the content of result.json, which is in `target`.
    folder    the run folder;  log_with  what shows its curves.
    """
    validation = result["validation_mm"]
    rows = {
        "validation": None if validation is None else f"MPJPE {validation:.2f} mm",
        "test": headline,
        "mean pose": f"MPJPE {result['mean_pose_mm']:.2f} mm, the baseline, on the test set",
        "state": f"step {result['step']}, {SELECTED[result['selected_on']]}",
        "trained": f"{result['training_seconds']:.0f} s, {result['trained_windows']:,} windows",
        "results": f"{target}/result.json and tables",
        "curves": f"tensorboard --logdir {folder}" if log_with == "tensorboard" else f"{folder}/metrics.jsonl",
    }
    return "\n".join(["Done:", *(f"  {name:11}{text}" for name, text in rows.items() if text)])


def run_text(config: Config, data: RunData, model: Model) -> str:
    """The sizes of data, model and plan, and the mean-pose baseline."""
    cache, plan = data.cache, data.plan
    train, test = data.train_split, data.test.split
    parameters = sum(parameter.numel() for parameter in model.parameters())
    every = config.selection.eval_windows
    steps, smallest = last_step(config.optim, plan), plan.num_windows % plan.batch_size
    lines = [
        f"Data: {cache.path} ({', '.join(filter(None, (cache.dataset, cache.keypoints, cache.annotation)))}); "
        f"train {len(train.sequences)} sequences of {sum(info.length for info in train.sequences):,} frames, "
        f"test {len(test.sequences)} of {len(test.pixels):,} frames, {len(data.test.frames):,} of them scored; "
        f"training windows {data.train.location}",
        _selection_text(config, data),
        f"Model: {parameters:,} parameters, {model.flops() / 1e9:.3f} GFLOP per window forward, {model.describe()}",
        f"Plan: {plan.num_windows:,} windows per epoch in {plan.steps_per_epoch:,} steps"
        + (f" (the last of {smallest})" if smallest else "")
        + f", {steps:,} steps in all"
        + (f", evaluated every {every:,} windows" if every else ""),
        f"Baseline: predicting the mean training pose scores {mean_pose_error(data, data.test):.1f} mm",
    ]
    both = {info.subject for info in train.sequences} & {info.subject for info in test.sequences}
    if both:
        lines.append(f"WARNING: subjects in both training and test set: {', '.join(sorted(both))}")
    if config.run.debug:
        lines.append("DEBUG: model, batch, steps and test frames are capped; the results are meaningless.")
    return "\n".join(lines)


def _selection_text(config: Config, data: RunData) -> str:
    """How the best checkpoint is selected."""
    if data.validation is not None:
        held = data.validation.split.sequences
        return (
            f"Selection: best on {len(data.validation.frames):,} frames of {len(held)} held-out training sequences "
            f"({', '.join(config.selection.validation or ())}); the test set is evaluated once, at the end"
        )
    if config.selection.select_on == "test":
        return "Selection: best on the TEST set, as published; the test metrics are optimistic"
    return "Selection: none, the last state is the result; the test set is evaluated once, at the end"


# ---- Loss sums, training time and log lines of a run.


logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0


class Meter:
    """The loss terms of the steps since the last `drain`, kept on the device.

    `add` does not wait for the device.  `drain` gathers the sums of all ranks, one row per step, so that totals are
    bit-identical whether or not a run was stopped in between.
    """

    def __init__(self, capacity: int, names: tuple[str, ...]) -> None:
        self._names = names
        self._rows = torch.zeros(capacity, len(names), dtype=torch.float64, device=dist.device())
        self._count = 0

    def add(self, sums: Tensor) -> None:
        """Add the sums [terms] of one step on this rank."""
        self._rows[self._count] = sums.detach()
        self._count += 1

    def drain(self) -> list[dict[str, float]]:
        """Per step, the terms summed over all ranks, by name.  All ranks must call it at the same step."""
        first, *others = dist.gather(self._rows[: self._count])
        # A loop over ranks: torch.sum adds in an order that depends on the number of rows.
        total = first.clone()
        for rows in others:
            total += rows
        self._count = 0
        return [dict(zip(self._names, row, strict=True)) for row in total.tolist()]


class Accounts:
    """Updates `progress.interval`, `.epoch` and `.seconds` of a run, logs them and draws the curves.

    baseline  -> the error of the mean training pose in mm, for the picture of the curves.
    """

    def __init__(
        self,
        config: Config,
        cadence: Cadence,
        loss: Loss,
        progress: Progress,
        folder: RunFolder,
        log: RunLog,
        speed: Speed,
        baseline: Callable[[], float],
    ) -> None:
        self._folder, self._baseline = folder, cache(baseline)
        self._config, self._cadence, self._loss = config, cadence, loss
        self._progress, self._log, self._speed = progress, log, speed
        self._plan: EpochPlan = cadence.plan
        self._meter = Meter(min(config.run.log_steps, cadence.last_step), loss.names)
        self._line_at = self._clock = time.monotonic()
        self._windows = 0  # since the clock started
        self._first_step = progress.step
        self._warms_up = True

    def add(self, sums: Tensor) -> None:
        """Add the sums [terms] of the newest step of `progress`, on this rank."""
        self._meter.add(sums)
        self._windows += self._cadence.batch_count((self._progress.step - 1) % self._plan.steps_per_epoch)

    def drain(self) -> None:
        """Move the sums of the meter into `progress`, step by step.  All ranks must call it at the same step."""
        rows = self._meter.drain()
        for step, row in enumerate(rows, self._progress.step - len(rows)):
            index = step % self._plan.steps_per_epoch
            if index == 0:
                self._progress.epoch = Sums()
            for sums in (self._progress.interval, self._progress.epoch):
                sums.add(self._cadence.batch_count(index), row)

    def means(self, sums: Sums) -> dict[str, float]:
        """The mean loss and its terms, for the log."""
        return self._loss.means(sums.terms, sums.windows, self._config.optim)

    def log_interval(self, rate: float, norm: float) -> None:
        """Log the steps since the last call: losses, learning rate, gradient norm, speed and memory."""
        means = self.means(self._progress.interval)
        self._progress.interval = Sums()
        speed = self.restart_clock()
        self._update_speed(speed)
        step, memory = self._progress.step, peak_memory(dist.device()) / 1e9
        measured = {"windows_per_second": round(speed, 1), "memory_gb": round(memory, 3)}
        values = means | {"learning_rate": rate, "gradient_norm": norm} | measured
        self._log.record("train", step, values, **self.marks())
        if step == self._config.run.log_steps or time.monotonic() - self._line_at > SECONDS_BETWEEN_LINES / 2:
            self._show_progress(f"train MPJPE {means['mpjpe_mm']:.1f} mm, lr {rate:.2e}, {speed:.0f} windows/s")

    def log_evaluation(self, evaluation: Evaluation, name: str, scheduled: bool, improved: bool) -> None:
        """Log an evaluation on the set `name`, and the mean training losses of the current epoch."""
        from glagcn.evaluate.figures import skeleton_figure

        step, log = self._progress.step, self._log
        marks = self.marks() | ({} if scheduled else {"unscheduled": True})
        log.record(name, step, evaluation.scalars, **marks)
        for kind, values in evaluation.benchmark.curves(evaluation.metrics).items():
            log.record(kind, step, values, **marks)
        log.record("train_epoch", step, self.means(self._progress.epoch), **marks)
        log.figure(f"{name}/skeletons", lambda: skeleton_figure(evaluation), step)
        verdict = ", best so far" if improved else ""
        logger.info(f"{self.position(format(marks['epoch'], '.2f'))}: {name} {evaluation.headline}{verdict}")
        log.flush()
        if self._config.run.export_training_curves:
            from glagcn.train.log import draw_training_curves

            against = "windows" if self._config.optim.windows else "epoch"
            folder = self._folder
            try:
                draw_training_curves(folder.metrics, folder.curves, against, folder.path.name, self._baseline())
            except WriteError as error:
                logger.warning(f"{error}. The run goes on")

    def tick(self, rate: float, wait: Callable[[], object]) -> None:
        """Call after every step: logs a line if the last one is old.  Restarts the clock once the warm-up is over.

        wait  waits for the device.
        """
        now = time.monotonic()
        late = now - self._line_at > SECONDS_BETWEEN_LINES
        if late:
            seconds = now - self._clock
            if self._windows and seconds > SECONDS_BETWEEN_LINES / 2:  # else steps queued on a GPU count
                self._update_speed(self._windows / seconds)
            self._show_progress(f"lr {rate:.2e}")
        if self._warms_up and (late or is_warm(self._first_step, self._progress.step, self._cadence.last_step)):
            wait()
            self.restart_clock()
            self._warms_up = False

    def restart_clock(self, count: bool = True) -> float:
        """Restart the clock.  Returns windows per second of all ranks since the last call.

        count  add the time since then to the training time.
        """
        seconds = time.monotonic() - self._clock
        speed = self._windows / max(seconds, 1e-9)
        if count:
            self._progress.seconds += seconds
        self._clock, self._windows = time.monotonic(), 0
        return speed

    def marks(self) -> dict[str, Any]:
        """Epochs, training windows and training seconds so far, for a line of metrics.jsonl."""
        step, plan = self._progress.step, self._plan
        seconds = round(self._progress.seconds, 1)
        return {"epoch": step / plan.steps_per_epoch, "windows": plan.windows_until(step), "seconds": seconds}

    def position(self, epoch: str) -> str:
        """The progress as text, in training windows if --windows sets the length, else in epochs (`epoch`)."""
        step, optim = self._progress.step, self._config.optim
        position = f"epoch {epoch}/{optim.epochs}"
        if windows := optim.windows:
            position = f"{min(self._plan.windows_until(step), windows):,}/{windows:,} windows"
        return f"step {step}/{self._cadence.last_step}, {position}"

    def _update_speed(self, windows_per_second: float) -> None:
        if not self._warms_up:
            self._speed.update(windows_per_second, self._plan.windows_until(self._progress.step))

    def _show_progress(self, text: str) -> None:
        self._line_at = time.monotonic()
        step = self._progress.step
        left = self._speed.left(self._plan.windows_until(step))
        self._log.show_progress(f"{self.position(str(self._cadence.epoch_of(step)))}: {text}{left}")
