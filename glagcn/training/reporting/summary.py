"""The summary that a run logs at its start: processes, options, data, model and plan."""

from glagcn.config.config import Config
from glagcn.config.resolve import plain_values
from glagcn.distributed.ranks import Ranks
from glagcn.model.cost import count_cost
from glagcn.model.interface import Model
from glagcn.model.registry import foreign_options
from glagcn.training.optim.schedule import last_step
from glagcn.training.rehearsal import spread_text
from glagcn.training.reporting.baselines import mean_pose_error
from glagcn.training.setup import RunData


def summary_text(config: Config, origin: dict[str, str], data: RunData, model: Model, ranks: Ranks) -> str:
    """The whole summary.  The processes come first, because a launcher may start fewer than requested."""
    processes = (
        f"Processes: {ranks.world_size}, on {ranks.device.type}, {config.optim.precision}; "
        f"{spread_text(config.optim, data.plan.batch_size, ranks)}"
    )
    return "\n".join([processes, options_text(config, origin), run_text(config, data, model)])


def options_text(config: Config, origin: dict[str, str]) -> str:
    """The options that this model uses, with their values and a mark for where each came from."""
    lines = ["Options (* given as flags, = from --config, + capped by --debug):"]
    marks = {"flag": "*", "file": "=", "debug": "+"}
    foreign = foreign_options(config.model.kind)
    values = {name: value for name, value in plain_values(config).items() if name not in foreign}
    width = max(map(len, values))
    for name, value in values.items():
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
        lines.append(f"  {marks.get(origin[name], ' ')} {name:{width}} {shown}")
    return "\n".join(lines)


def run_text(config: Config, data: RunData, model: Model) -> str:
    """The sizes of data, model and plan, and the mean-pose baseline."""
    cache, plan = data.cache, data.plan
    train, test = data.train_split, data.test.split
    parameters, flops = count_cost(model)
    steps, smallest = last_step(config.optim, plan), plan.num_windows % plan.batch_size
    lines = [
        f"Data: {cache.path} ({', '.join(filter(None, (cache.dataset, cache.keypoints, cache.annotation)))}); "
        f"train {len(train.sequences)} sequences of {sum(info.length for info in train.sequences):,} frames, "
        f"test {len(test.sequences)} of {len(test.pixels):,} frames, {len(data.test.frames):,} of them scored; "
        f"training windows {data.train.location}",
        _selection_text(config, data),
        f"Model: {parameters:,} parameters, {flops / 1e9:.3f} GFLOP per window forward, {model.describe()}",
        f"Plan: {plan.num_windows:,} windows per epoch in {plan.steps_per_epoch:,} steps"
        + (f" (the last of {smallest})" if smallest else "")
        + f", {steps:,} steps in all",
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
