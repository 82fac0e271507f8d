"""`main_sagcn_gpus.py --evaluate` and `glagcn evaluate`: score a checkpoint on the test set."""

import logging
from pathlib import Path

from glagcn import dist
from glagcn.checkpoints import find
from glagcn.checkpoints.load import Loaded, check_skeleton, differences, load_for_test
from glagcn.config.open_data import cache_of_run, open_data
from glagcn.config.options import Config
from glagcn.config.resolve import to_dict
from glagcn.evaluate.evaluate import (
    Evaluation,
    Result,
    about_evaluation,
    evaluate,
    place_test_set,
    select_test,
    write_results,
)
from glagcn.files import make_folder
from glagcn.model.cores import full_precision
from glagcn.skeletons import get_skeleton
from glagcn.train import hardware
from glagcn.train.log import RunLog, check_tracker

logger = logging.getLogger(__name__)


def run_evaluation(config: Config, origin: dict[str, str]) -> Result | None:
    """Evaluate the checkpoint of --evaluate, print the tables and write the result files.

    Returns what is in result.json; None on other ranks than 0, and after a dry run.
    """
    check_tracker(config.run.log_with)
    hardware.set_up(config.optim, dist.device())
    with dist.agree():  # before the cache is written
        loaded = load_for_test(config, origin)
    for assumption in loaded.assumed:
        logger.info(f"note: {assumption}")
    cache = open_data(config.data, cache_of_run(loaded.content, origin))
    skeleton = get_skeleton(cache.skeleton)
    folder = results_folder(config, loaded)
    with dist.agree():
        check_skeleton(loaded, skeleton, str(cache.path))
        split, frames = select_test(config, cache)
        if dist.is_main() and not config.run.dry_run:  # before the evaluation, not after it
            name = "--output" if config.run.output else "the results folder"
            make_folder(folder, name, "give a writable folder with --output")
    model = loaded.model.to(dist.device())
    warnings = differences(loaded, cache)
    for warning in warnings:
        logger.warning(warning)
    level = config.selection.test_detections
    simulated = f" with simulated detections ({level})" if level else ""
    logger.info(
        f"Evaluating {loaded.path} on {len(frames):,} frames{simulated}, with {dist.world_size()} process(es), "
        f"{dist.device().type}"
    )
    if config.run.dry_run:
        logger.info(f"Dry run: nothing was evaluated; the results would be in {folder}")
        return None
    data = place_test_set(cache, model, split, frames)
    with full_precision():
        evaluation = evaluate(model, data, annotation=cache.annotation, flip=config.data.test_flip)
    result = None
    with dist.agree():
        if evaluation:
            about = about_evaluation(config, cache, loaded.path, data.store) | {"warnings": warnings}
            result = write_results(evaluation, folder, about)
            _report(config, evaluation, folder)
    return result


def results_folder(config: Config, loaded: Loaded) -> Path:
    """The folder of the results: --output, or the folder of the checkpoint.

    A published file or an epoch_N.pt gets its own folder beside the checkpoint, since a folder holds only one result.
    A model that comes with the program gets a folder of its name in that of the runs.
    """
    if config.run.output:
        return Path(config.run.output)
    if loaded.path.parent == find.MODELS:
        return Path(config.run.checkpoint) / loaded.path.stem
    if loaded.options is not None and not loaded.path.stem.startswith("epoch_"):
        return loaded.path.parent
    own = loaded.path.with_suffix("")
    return loaded.path.with_name(f"{loaded.path.name}_results") if own.is_file() else own


def _report(config: Config, evaluation: Evaluation, folder: Path) -> None:
    """Log the tables.  In a folder that is not a run folder, also write log files and what --log_with names."""
    benchmark, is_run_folder = evaluation.benchmark, (folder / "config.json").exists()
    log = None if is_run_folder else RunLog(folder, log_with=config.run.log_with, options=to_dict(config))
    written = f"Written to {folder}: result.json, {benchmark.files}"
    logger.info(f"{benchmark.show(evaluation, config.run.by_subject)}\n\n{evaluation.headline}. {written}")
    if log:
        log.evaluation(evaluation, "test", 0, drawn=False)
        log.result(evaluation.scalars, 0)
        log.close()
