"""What a run prints and logs: its summary, the lines while it trains, its evaluations, and the table at its end."""

import logging
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glagcn import dist
from glagcn.config.options import OPTIONS, Config, OptimConfig, foreign_options
from glagcn.config.resolve import plain_values
from glagcn.data.plan import micro_batches, share_bounds
from glagcn.evaluate.benchmarks import BLOCK
from glagcn.evaluate.evaluate import Evaluation, EvaluationSet
from glagcn.evaluate.metrics import MPJPE, joint_errors
from glagcn.files import WriteError
from glagcn.model.interface import Model
from glagcn.poses.normalise import MM_PER_METRE
from glagcn.skeletons import get_skeleton
from glagcn.train.hardware import TRAINING_PASSES, peak_flops, peak_memory
from glagcn.train.log import RunLog, draw_training_curves
from glagcn.train.loss import Loss
from glagcn.train.optim import last_step, micro_batch
from glagcn.train.resume import Progress, Sums
from glagcn.train.setup import RunData

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0
YEAR = timedelta(days=365)
# How the evaluated state was selected, by --select_on.
SELECTED = {
    "validation": "the best on the held-out training sequences",
    "test": "the best on the test set (as published): the test metrics are optimistic",
    "last": "the last one",
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
    validation, times = result["validation_mm"], result["test_evaluations"]
    rows = {
        "validation": None if validation is None else f"MPJPE {validation:.2f} mm",
        "test": headline,
        "mean pose": f"MPJPE {result['mean_pose_mm']:.2f} mm; this run has "
        f"{result['mpjpe_mm'] / result['mean_pose_mm']:.0%} of it on the test set",
        "state": f"step {result['step']}, {SELECTED[result['selected_on']]}; the test set was evaluated "
        + ("once" if times == 1 else f"{times} times"),
        "length": "; ".join(result["other_lengths"] + ["ended early, by --patience"] * result["ended_early"]),
        "trained": f"{result['training_seconds']:.0f} s, {result['trained_windows']:,} windows",
        "results": f"{target}/result.json and tables",
        "curves": f"tensorboard --logdir {folder}" if log_with == "tensorboard" else f"{folder}/metrics.jsonl",
    }
    return "\n".join(["Done:", *(f"  {name:11}{text}" for name, text in rows.items() if text)])


def run_text(config: Config, data: RunData, model: Model) -> str:
    """The sizes of data, model and plan, and the errors of the mean pose, the baseline."""
    cache, plan = data.cache, data.plan
    train, test = data.train_split, data.test.split
    parameters = sum(parameter.numel() for parameter in model.parameters())
    every = config.selection.eval_windows
    sets = [data.test, data.validation] if data.validation else [data.test]
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
        "Mean pose: that of the training set, predicted for every frame, has an MPJPE of "
        + " and ".join(f"{mean_pose_error(data, scored):.1f} mm ({scored.name})" for scored in sets),
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
        held_out = data.validation.split.sequences
        return (
            f"Selection: best on {len(data.validation.frames):,} frames of {len(held_out)} held-out training sequences "
            f"({', '.join(config.selection.validation or ())}); the test set is evaluated at the end only"
        )
    if config.selection.select_on == "test":
        return "Selection: best on the TEST set, as published; the test metrics are optimistic"
    return "Selection: none, the last state is the result; the test set is evaluated at the end only"


def spread_text(optim: OptimConfig, batch_size: int) -> str:
    """How the global batch is split over processes, with a warning if some are idle in part of every step."""
    most, processes = micro_batch(optim, batch_size), dist.world_size()
    parts = micro_batches(batch_size, most)
    begin, end = share_bounds(batch_size, 0, parts)
    text = f"global batch {batch_size} in {parts} micro-batch{'es' if parts > 1 else ''} of {end - begin} windows"
    idle = -parts % processes
    if idle:
        rounds = -(-parts // processes)
        better = -(-batch_size // (rounds * processes))
        text += (
            f"\nWARNING: {idle} of {processes} processes have nothing to compute in the last part of every step; "
            f"--micro_batch {better} keeps all busy (BatchNorm statistics are then over {better} windows)"
        )
    return text


class TrainingReports:
    """Lines, records and curves of a run while it trains, and its speed.

    progress  of the run; `seconds` is the training time, without evaluations.
    windows   training windows since the clock was started, of all ranks.
    """

    def __init__(self, config: Config, data: RunData, loss: Loss, progress: Progress, log: RunLog) -> None:
        self._config, self._data, self._plan, self._loss = config, data, data.plan, loss
        self._progress, self._log = progress, log
        self._last_step = last_step(config.optim, data.plan)
        self._share_per_rate = share_of_peak(config.optim.precision, loss.model)
        self._baseline: float | None = None
        self._line_at = self._clock = time.monotonic()
        self.windows = 0
        self._speed: float | None = None  # windows per second

    def restart_clock(self, count: bool = True) -> float:
        """Restart the clock.  Returns windows per second of all ranks since the last call.

        count  add the time since then to the training time.
        """
        seconds = time.monotonic() - self._clock
        speed = self.windows / max(seconds, 1e-9)
        if count:
            self._progress.seconds += seconds
        self._clock, self.windows = time.monotonic(), 0
        return speed

    def log_interval(self, rate: float, norm: float) -> None:
        """Log the steps since the last call: losses, learning rate, gradient norm, speed and memory."""
        means = self._means(self._progress.interval)
        self._progress.interval = Sums()
        speed = self.restart_clock()
        self._set_speed(speed)
        step, memory = self._progress.step, peak_memory(dist.device()) / 1e9
        measured = {"windows_per_second": round(speed, 1), "memory_gb": round(memory, 3)}
        values = means | {"learning_rate": rate, "gradient_norm": norm} | measured
        self._log.record("train", step, values, **self.marks())
        if step == self._config.run.log_steps or time.monotonic() - self._line_at > SECONDS_BETWEEN_LINES / 2:
            self._show(f"train {means['mpjpe_mm']:.1f} mm, {speed:.0f} windows/s")

    def log_slow_step(self) -> None:
        """Log a line if the last one is old."""
        now = time.monotonic()
        if now - self._line_at > SECONDS_BETWEEN_LINES:
            seconds = now - self._clock
            if self.windows and seconds > SECONDS_BETWEEN_LINES / 2:  # else steps queued on a GPU count
                self._set_speed(self.windows / seconds)
            self._show(f"{self._speed:.1f} windows/s" if self._speed else "the first steps")

    def log_evaluation(self, evaluation: Evaluation, data: EvaluationSet, scheduled: bool, improved: bool) -> None:
        """Log an evaluation on `data` with the mean training losses of the epoch, and draw the curves."""
        step, marks = self._progress.step, self.marks()
        more = marks | ({} if scheduled else {"unscheduled": True})
        self._log.evaluation(evaluation, data.name, step, **more)
        self._log.record("train_epoch", step, self._means(self._progress.epoch), **more)
        verdict = ", best so far" if improved else ""
        logger.info(f"{self._position()}: {data.name} MPJPE {evaluation.scalars[MPJPE.name]:.2f} mm{verdict}")
        self._log.flush()
        if self._config.run.export_training_curves:
            if self._baseline is None:
                self._baseline = mean_pose_error(self._data, data)
            try:
                axis = "windows" if self._config.optim.windows else "epoch"
                draw_training_curves(self._log.folder, axis, self._baseline, data.name)
            except WriteError as error:
                logger.warning(f"{error}. The run goes on")

    def marks(self) -> dict[str, Any]:
        """Epochs, training windows and training seconds so far, for a line of metrics.jsonl."""
        step, plan = self._progress.step, self._plan
        seconds = round(self._progress.seconds, 1)
        return {"epoch": step / plan.steps_per_epoch, "windows": plan.windows_until(step), "seconds": seconds}

    def _means(self, sums: Sums) -> dict[str, float]:
        return self._loss.means(sums.terms, sums.windows, self._config.optim)

    def _position(self) -> str:
        """The progress as text: training windows if --windows sets the length, else epochs, as in metrics.jsonl."""
        step, optim = self._progress.step, self._config.optim
        position = f"epoch {step / self._plan.steps_per_epoch:.2f}/{optim.epochs}"
        if windows := optim.windows:
            position = f"{min(self._plan.windows_until(step), windows):,} windows"
        return f"step {step}/{self._last_step}, {position}"

    def _show(self, text: str) -> None:
        self._line_at = time.monotonic()
        left = f", {timedelta(seconds=round(self._windows_left() / self._speed))} left" if self._speed else ""
        self._log.show_progress(f"{self._position()}: {text}{left}", text)

    def _windows_left(self) -> int:
        return self._plan.windows_until(self._last_step) - self._plan.windows_until(self._progress.step)

    def _set_speed(self, speed: float) -> None:
        """Keep the speed, windows per second.  Log the first one."""
        if self._speed is None:
            logger.info(speed_text(speed, speed * self._share_per_rate, self._windows_left() / speed))
        self._speed = speed


def share_of_peak(precision: str, model: Model) -> float:
    """The share of the peak arithmetic rate of all processes for each training window per second.

    Rank 0 measures its hardware while the other ranks wait; assumes that all processes have equal hardware.  0 on the
    other ranks.
    """
    share = 0.0
    with dist.agree():
        if dist.is_main():
            peak = peak_flops(dist.device(), precision) * dist.world_size()
            share = TRAINING_PASSES * model.flops() / peak
    return share


def speed_text(speed: float, share: float, seconds_left: float, now: datetime | None = None) -> str:
    """Two lines about the speed in windows per second and the `share` of the peak arithmetic rate."""
    left = timedelta(seconds=round(seconds_left))
    about = f" (about {(now or datetime.now()) + left:%Y-%m-%d %H:%M})" if left < YEAR else ""
    return (
        f"Speed: {speed:,.0f} windows/s, {share:.1%} of the peak arithmetic rate\n"
        f"Training ends in {left}{about}, evaluations not counted"
    )


def mean_pose_error(data: RunData, scored: EvaluationSet) -> float:
    """MPJPE in mm, averaged as the benchmark does, if the mean training pose is predicted for every scored frame."""
    split, skeleton, frames = scored.split, get_skeleton(data.cache.skeleton), scored.frames
    mean = data.mean_pose.numpy() * MM_PER_METRE
    errors = []
    for begin in range(0, len(frames), BLOCK):
        target = split.millimetres[frames[begin : begin + BLOCK]]
        target -= target[:, skeleton.root, None]
        errors.append(joint_errors(np.broadcast_to(mean, target.shape), target))
    return scored.benchmark.mpjpe(np.concatenate(errors), split, frames)
