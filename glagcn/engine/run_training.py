"""`main_sagcn_gpus.py` without --evaluate: set up, summarise, resume or start, train, report."""

from pathlib import Path
from typing import Any

from glagcn.config import Config, to_dict
from glagcn.engine import checkpoint
from glagcn.engine.evaluation import headline, write_results
from glagcn.engine.ranks import Ranks
from glagcn.engine.runfolder import RunFolder
from glagcn.engine.runlog import RunLog
from glagcn.engine.setup import build_model, load_data, open_data
from glagcn.engine.step import Stepper
from glagcn.engine.summary import options_text, run_text
from glagcn.engine.training import RunData, Trainer, last_step
from glagcn.errors import UserError
from glagcn.model.network import LiftingNetwork


def train(config: Config, origin: dict[str, str], ranks: Ranks) -> None:
    """Train to the end, or go on where the run folder's last.pt is; then evaluate best.pt and write the result."""
    voice = RunLog() if ranks.is_main else _Silent()
    check_processes(config, ranks)
    data = load_data(config, ranks, open_data(config, ranks, voice))
    model = build_model(config, data)
    summary = f"{options_text(config, origin)}\n{run_text(config, data, model, ranks)}"
    folder = RunFolder(Path(config.checkpoint) / config.run_name)
    if config.dry_run:
        voice.say(f"{summary}\nDry run: nothing was trained; the run folder would be {folder.path}")
        return

    content = _open_folder(config, ranks, folder, data)
    done = content["progress"]["step"] if content else 0
    end = last_step(config, data.plan)
    if content and done >= end and (result := folder.finished(done)):
        voice.say(f"{folder.path} is finished at step {done}: {headline(result)}. --fresh starts over.")
        return
    log = _open_log(ranks, folder, done)
    if log:
        log.say(summary)
        log.say(f"Run folder: {folder.path}" + (f", resumed at step {done} of {end}" if content else ""))
        log.text("configuration", "\n".join("    " + line for line in summary.splitlines()))
    try:
        trainer = _start(config, ranks, data, model, folder, log, content)
        trainer.run()
        _conclude(trainer, config)
    finally:
        if log:
            log.close()


def check_processes(config: Config, ranks: Ranks) -> None:
    """Refuse what cannot work with these processes.  Raises UserError."""
    if config.batch_size < ranks.world_size:
        raise UserError(
            f"--batch_size {config.batch_size} is smaller than the {ranks.world_size} processes; "
            f"expected at least {ranks.world_size} windows, or start fewer processes"
        )
    if config.sync_bn and ranks.device.type != "cuda":
        raise UserError("--sync_bn works on CUDA devices only; leave it out on CPUs")


def _open_folder(config: Config, ranks: Ranks, folder: RunFolder, data: RunData) -> dict[str, Any] | None:
    """Rank 0 makes the folder; every rank reads last.pt in it."""
    with ranks.agree():
        if ranks.is_main and not config.fresh:
            folder.resume(config, data.plan.num_windows)  # refuse before anything is written
        if ranks.is_main:
            folder.create(config, config.fresh)
    with ranks.agree():
        content = folder.resume(config, data.plan.num_windows)
    return content


def _open_log(ranks: Ranks, folder: RunFolder, done: int) -> RunLog | None:
    if not ranks.is_main:
        return None
    folder.truncate_metrics(done)
    return RunLog(folder.path, resumed_at=done)


def _start(
    config: Config,
    ranks: Ranks,
    data: RunData,
    model: LiftingNetwork,
    folder: RunFolder,
    log: RunLog | None,
    content: dict[str, Any] | None,
) -> Trainer:
    trainer = Trainer(config, ranks, data, Stepper(config, ranks, model), folder, log)
    if content:
        trainer.restore(content)
    return trainer


def _conclude(trainer: Trainer, config: Config) -> None:
    """Evaluate best.pt and write the result beside it."""
    folder, ranks, progress = trainer.folder, trainer.ranks, trainer.progress
    ranks.barrier()  # rank 0 may still be writing best.pt
    best = checkpoint.load(folder.best)
    trainer.stepper.model.load_state_dict(best["model"])
    evaluation = trainer.evaluate()
    if evaluation is None or trainer.log is None:
        return
    cache = trainer.data.cache
    about = {
        "checkpoint": str(folder.best),
        "step": best["progress"]["step"],
        "trained_steps": progress.step,
        "selected_on": "test",
        "dataset": cache.dataset,
        "keypoints": cache.keypoints,
        "annotation": cache.annotation,
        "skeleton": cache.skeleton,
        "flip": config.test_flip,
        "all_frames": config.test_frames is None,
        "training_seconds": round(progress.seconds, 1),
        "processes": ranks.world_size,
        "warnings": [],
    }
    result = write_results(evaluation, Path(config.output) if config.output else folder.path, about)
    trainer.log.hparams(to_dict(config), evaluation.scalars)
    trainer.log.say(
        f"Done: {headline(result)}, best at step {about['step']} (chosen on the test set, as published), "
        f"{progress.seconds:.0f} s of training. Results and curves: {folder.path}"
    )


class _Silent:
    """The voice of the other ranks."""

    def say(self, text: str) -> None:
        """Nothing."""
