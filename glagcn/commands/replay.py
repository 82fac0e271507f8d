"""`glagcn replay`: repeat a training step that was not finite, and name what is not."""

import logging
from pathlib import Path
from typing import Any

from glagcn import dist, precision
from glagcn.checkpoints import checkpoint
from glagcn.config.resolve import changed, from_dict
from glagcn.errors import UserError
from glagcn.open_data import open_data
from glagcn.training.cadence import Cadence
from glagcn.training.failed_step import explain, window_names
from glagcn.training.setup import build_model, load_data
from glagcn.training.step import Stepper

logger = logging.getLogger(__name__)


def replay(options: dict[str, Any]) -> None:
    """Repeat the step of `options["file"]`, a failed_step.pt, on one process, and log what is not finite.

    Raises UserError where the file is something else, or the data differ from those of the run.
    """
    path: Path = options["file"]
    content = checkpoint.load(path)
    if not isinstance(content.get("failed_step"), dict):
        raise UserError(f"{path} holds no failed step; expected the failed_step.pt of a run folder")
    folders = {name: options[name] for name in ("root_path", "cache_dir") if options[name]}
    config = changed(from_dict(content["config"]), compile="off", **folders)
    dist.start(config.run.workers)
    arithmetic = precision.set_up(config.optim, dist.device())
    cache = open_data(config.data)
    if not checkpoint.same_data(content, cache.fingerprint):
        raise UserError(f"{cache.path} holds other data than {path} was trained on; give --root_path of those data")
    data = load_data(config, cache)
    stepper = Stepper(config.optim, build_model(config, data))
    stepper.model.load_state_dict(content["model"])
    step = content["failed_step"]["step"]
    epoch, index = divmod(step - 1, data.plan.steps_per_epoch)
    cadence = Cadence(config, data.plan)
    ids = cadence.windows(epoch, index)
    names = window_names(content["failed_step"]["frames"], data.train_split)
    logger.info(f"Step {step} (epoch {epoch + 1}): {len(names)} windows, on {dist.device().type} in {arithmetic}")
    counters = config.optim.seed, epoch, index
    lines = explain(stepper, data.train.windows(ids), cadence.share(index), counters, names)
    for line in lines:
        logger.info(f"  {line}")
    if not lines:
        logger.info(
            "  All is finite here: the failure depends on the device, its arithmetic or the number of processes"
        )
