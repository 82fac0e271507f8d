"""`main_sagcn_gpus.py` without --evaluate: start or resume a run, train it and write the result."""

import logging
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from glagcn import dist, signals
from glagcn.checkpoints import ours as checkpoint
from glagcn.checkpoints.find import find_checkpoint
from glagcn.checkpoints.load import check_weights
from glagcn.config.open_data import cache_of_run, open_data
from glagcn.config.options import Config
from glagcn.config.resolve import given_options, to_dict
from glagcn.data.plan import share
from glagcn.errors import UserError
from glagcn.evaluate.benchmarks import benchmark_of
from glagcn.evaluate.evaluate import Result, about_evaluation, predict_frames, write_results
from glagcn.files import make_folder
from glagcn.model.cores import full_precision
from glagcn.model.interface import Model
from glagcn.train import hardware
from glagcn.train.hardware import peak_memory, seconds
from glagcn.train.log import RunLog, check_tracker
from glagcn.train.loop import Stepper, Trainer
from glagcn.train.optim import last_step, micro_batch, next_evaluation
from glagcn.train.reports import end_text, mean_pose_error, summary_text
from glagcn.train.resume import Progress, is_over, other_length, start_from
from glagcn.train.run_folder import RunFolder, finished_result, run_lock
from glagcn.train.setup import RunData, build_model, load_data, select_data, settle

logger = logging.getLogger(__name__)

TRIAL_S, TRIAL_FRAMES = 6.0, (2, 16, 256)  # of the estimate of --dry_run: more frames where fewer took no third of it


def train(config: Config, origin: dict[str, str]) -> Result | None:
    """Train a run, resuming from its last.pt if there is one; then evaluate best.pt and write the result.

    Returns what is in result.json; None on other ranks than 0, and after a dry run.
    """
    check_tracker(config.run.log_with)
    folder = RunFolder(Path(config.run.checkpoint) / config.run_name)
    chosen = hardware.set_up(config.optim, dist.device())
    begun = folder.origin() if dist.is_main() and not config.run.fresh else {}
    cache = open_data(config.data, _known_data(config, begun, origin) if dist.is_main() else None)
    selection = select_data(config, cache)
    earlier = dist.from_main(begun.get("config", {}))
    config = settle(config, selection, chosen, earlier, _start_of(config, folder), origin)
    batch_size, processes = config.optim.batch_size, dist.world_size()
    if batch_size is not None and batch_size < processes:
        raise UserError(
            f"--batch_size {batch_size} is smaller than the {processes} processes; give --batch_size {processes} or "
            "more, or start fewer processes"
        )
    data = load_data(config, cache, selection)
    model = build_model(config, data)
    summary = summary_text(config, origin, data, model) if dist.is_main() else ""
    if config.run.dry_run:
        logger.info(f"{summary}\n{_estimate(config, data, model)}")
        logger.info(f"Dry run: nothing was trained; the run folder would be {folder.path}")
        return None

    with ExitStack() as until_end:
        with dist.agree(), dist.waiting_for_main():
            if dist.is_main():
                until_end.enter_context(run_lock(folder.path))
        content, state, note = _open_folder(config, folder, data, model)
        progress = Progress.of(content["progress"]) if content else Progress()
        done, end = progress.step, last_step(config.optim, data.plan)
        if is_over(config, data.plan, progress) and (finished := _finished(config, folder, done)):
            logger.info(f"{folder.path} is finished at step {done}: {finished.headline}. --fresh starts over.")
            return finished
        log = _open_log(config, origin, folder, content)
        logger.info(summary)
        logger.info(f"Run folder: {folder.path}" + (f", resumed at step {done} of {end}" if content else ""))
        if note:
            logger.info(note)
        if state and (change := other_length(state, config, data.plan)):
            logger.info(f"note: {change}")
            if dist.is_main():
                folder.remember("length", state["progress"]["step"], change)
        log.text("configuration", "\n".join("    " + line for line in summary.splitlines()))
        try:
            trainer = Trainer(config, data, model, folder, log, state)
            trainer.rehearse()
            with signals.deferred():
                trainer.run()
                return _conclude(trainer, _output_folder(config, folder))
        except signals.Stopped as request:
            if dist.is_main():
                folder.mark_stopped(request.signal, trainer.progress.step)
            raise
        finally:
            log.close()


def _estimate(config: Config, data: RunData, model: Model) -> str:
    """Time and memory of the run by a few steps and predictions, which take some seconds.

    Starts with a few windows and doubles them up to a whole batch, as far as that stays short: 256 channels on a CPU
    need minutes for a batch.
    """
    if dist.world_size() > 1:
        return "Estimate: only with one process"
    optim, plan, device = config.optim, data.plan, dist.device()
    stepper = Stepper(optim, model)
    whole = data.train.windows(plan.batch(0, 0))
    count, size, taken = len(whole.inputs), 0, 0.0
    while taken < TRIAL_S / 3 and size < count:
        size = min(max(2, 2 * size), count)
        part, mine = whole.part(slice(0, size)), share(size, micro_batch(optim, plan.batch_size), 0, 1)

        def step() -> None:
            stepper.gradient(part, mine)  # noqa: B023  # called in this round only
            stepper.apply(optim.lr)

        taken = seconds(step, device)
    rate = size / min([taken] + [seconds(step, device) for _ in range(2) if taken < TRIAL_S / 3])
    end, steps = last_step(optim, plan), [0]
    while steps[-1] < end:
        steps.append(min(end, next_evaluation(config, plan, steps[-1])))
    sets = [data.test] + [data.validation or data.test] * (config.selection.select_on != "last") * (len(steps) - 1)
    store, flip, each, taken = data.test.store, config.data.test_flip, 0.0, 0.0
    for frames in (data.test.frames[:most] for most in TRIAL_FRAMES):
        if taken < TRIAL_S / 3:
            with full_precision():
                predict = partial(predict_frames, model, store, frames, flip=flip, zero_root=True)
                taken = seconds(predict, device)
            each = taken / len(frames)
    training, evaluating = plan.windows_until(end) / rate, each * sum(len(part.frames) for part in sets)
    both, speed = timedelta(seconds=round(training + evaluating)), f"{rate:,.{1 if rate < 10 else 0}f} windows/s"
    kind = "GPU memory" if device.type == "cuda" else "memory"
    return (
        f"Estimate: {both} in all, {timedelta(seconds=round(training))} of it training ({speed}) and "
        f"{timedelta(seconds=round(evaluating))} {len(sets)} evaluations; {peak_memory(device) / 1e9:.1f} GB of {kind}"
        + (f", more with whole batches: tried with {size} of {count} windows" if size < count else "")
    )


def _finished(config: Config, folder: RunFolder, step: int) -> Result | None:
    """The result of a run that ended at `step`; None without one, or if it is damaged."""
    target = _output_folder(config, folder)
    result = finished_result(target, step)
    try:
        return Result(result, benchmark_of(config.data.dataset).headline(result), target) if result else None
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):  # from another program
        return None


def _output_folder(config: Config, folder: RunFolder) -> Path:
    """The folder of result.json and its tables: --output, or the run folder."""
    return Path(config.run.output) if config.run.output else folder.path


def _start_of(config: Config, folder: RunFolder) -> str | None:
    """The checkpoint of --resume; None if it is the last.pt that the run resumes from anyway."""
    if not config.run.resume or config.run.fresh or not folder.last.exists():
        return config.run.resume
    with suppress(UserError):
        if find_checkpoint(config, "--resume", config.run.resume).samefile(folder.last):
            return None
    return config.run.resume


def _known_data(config: Config, begun: dict[str, Any], origin: dict[str, str]) -> Path | None:
    """The cache of the run that this one goes on from (`begun`), or of --resume; None where flags name one."""
    if not begun and config.run.resume:
        with suppress(UserError):  # what is wrong with the file is reported where it is needed
            begun = checkpoint.load(find_checkpoint(config, "--resume", config.run.resume))
    return cache_of_run(begun, origin)


def _open_folder(
    config: Config, folder: RunFolder, data: RunData, model: Model
) -> tuple[dict[str, Any] | None, dict[str, Any] | None, str]:
    """Read last.pt, or the checkpoint of --resume for a new run, on every rank.  Then rank 0 makes the folder.

    Returns the content of last.pt or None, the training state to go on from or None, and a line for the log.
    """
    note = ""
    with dist.agree():  # raise errors before anything is written
        now = data.plan.num_windows, data.cache.fingerprint
        content = state = None if config.run.fresh else folder.resume(config, *now)
        if content:
            check_weights(folder.path, content["model"], model)
        if content is None and config.run.resume:
            path = find_checkpoint(config, "--resume", config.run.resume)
            state, note = start_from(path, config, model, *now)
    steps = dist.gather_objects(content["progress"]["step"] if content else None)
    if len(set(steps)) > 1:
        raise UserError(
            f"the processes see different states in {folder.last} (steps {steps}, by rank); "
            "use -c DIR on a file system that all nodes share"
        )
    with dist.agree():
        if dist.is_main() and config.run.output:
            make_folder(Path(config.run.output), "--output")
        if dist.is_main():
            folder.create(config, fresh=config.run.fresh)
    return content, state, note


def _open_log(config: Config, origin: dict[str, str], folder: RunFolder, content: dict[str, Any] | None) -> RunLog:
    """Undo everything after last.pt and open the log of the run; it is silent on all ranks except rank 0."""
    progress = content["progress"] if content else {"step": 0, "evaluated_step": 0, "best_step": 0}
    with dist.agree():
        if dist.is_main():
            folder.rewind(*(progress[name] for name in ("step", "evaluated_step", "best_step")))
        log_with, step = config.run.log_with, progress["step"]
        # TensorBoard compares runs by their options: fifty that are the same in all would hide the one that differs.
        options = given_options(config, origin) if log_with == "tensorboard" else to_dict(config)
        return RunLog(folder.path, resumed_at=step, log_with=log_with, options=options)


def _best_state(trainer: Trainer) -> tuple[Path, dict[str, Any]]:
    """Path and content of best.pt, or of last.pt if best.pt is damaged on any rank.  Raises UserError on all ranks."""
    problem, content = None, None
    try:
        content = checkpoint.load(trainer.folder.best)
    except UserError as error:
        problem = str(error)
    problem = next(filter(None, dist.gather_objects(problem)), None)
    if content and not problem:
        return trainer.folder.best, content
    logger.warning(f"{problem}; evaluating {trainer.folder.last} instead")
    with dist.agree():
        content = checkpoint.load(trainer.folder.last)
    return trainer.folder.last, content


def _conclude(trainer: Trainer, target: Path) -> Result | None:
    """Evaluate best.pt and write the result to the folder `target`; None on other ranks than 0."""
    config, data, progress, log = trainer.config, trainer.data, trainer.progress, trainer.log
    path, best = _best_state(trainer)
    trainer.stepper.model.load_state_dict(best["model"])
    evaluation = trainer.evaluate(data.test)
    if evaluation is None:
        return None
    trainer.folder.remember("test", progress.step)
    marks = trainer.reports.marks()
    if trainer.selection_set is not data.test:
        # Marked unscheduled: a prolonged run removes it, because only the end of a run uses the test set.
        log.record("test", progress.step, evaluation.scalars, **marks, drawn=False, unscheduled=True)
    select_on, step = config.selection.select_on, best["progress"]["step"]
    # last.pt may be tested instead of best.pt; the lowest validation error is then that of another state.
    is_validated = select_on == "validation" and 0 < best["progress"]["best_step"] == step
    about = about_evaluation(config, data.cache, path, data.test.store) | {
        "step": step,
        "trained_steps": progress.step,
        "other_lengths": trainer.folder.remembered("length"),
        "test_evaluations": len(trainer.folder.remembered("test")),
        "selected_on": select_on,
        "validation_mm": best["progress"]["best_mm"] if is_validated else None,
        "windows": data.plan.windows_until(step),
        "trained_windows": marks["windows"],
        "ended_early": progress.step < trainer.last_step,
        "training_seconds": marks["seconds"],
        "training_threads": progress.threads,
        "mean_pose_mm": mean_pose_error(data, data.test),
        "parameters": sum(weights.numel() for weights in trainer.stepper.model.parameters()),
    }
    result = write_results(evaluation, target, about)
    log.result(evaluation.scalars, progress.step)
    logger.info(end_text(evaluation.headline, result, trainer.folder.path, target, config.run.log_with))
    return result
