"""The summary that a run logs at its start: processes, options, data, model and plan."""

from pathlib import Path
from typing import Any

from glagcn import dist
from glagcn.config.options import OPTIONS, Config, foreign_options
from glagcn.config.resolve import plain_values
from glagcn.model.interface import Model
from glagcn.training.optim.schedule import last_step
from glagcn.training.rehearsal import spread_text
from glagcn.training.reporting.baselines import mean_pose_error
from glagcn.training.setup import RunData

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
        f"Processes: {dist.world_size()}, on {dist.device().type}, {config.optim.precision}; "
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
