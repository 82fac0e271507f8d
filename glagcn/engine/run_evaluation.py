"""`main_sagcn_gpus.py --evaluate` and `glagcn evaluate`: score a checkpoint on the test set."""

import logging
from pathlib import Path
from typing import Any

from glagcn.config import Config
from glagcn.data.cache import Cache
from glagcn.data.windows import FrameStore
from glagcn.engine import checkpoint, numerics, reports
from glagcn.engine.evaluation import about_evaluation, evaluate, headline, scored_frames, write_results
from glagcn.engine.files import make_folder
from glagcn.engine.inference import load_model
from glagcn.engine.ranks import Ranks
from glagcn.engine.runlog import RunLog
from glagcn.engine.setup import open_data
from glagcn.errors import UserError
from glagcn.model.network import LiftingNetwork
from glagcn.skeleton import get_skeleton


def run_evaluation(config: Config, origin: dict[str, str], ranks: Ranks) -> None:
    """Evaluate the checkpoint that --evaluate names; print the tables and write the result files."""
    log = RunLog(silent=not ranks.is_main)
    if not ranks.is_main:
        logging.getLogger("glagcn").setLevel(logging.ERROR)
    with ranks.agree():
        path = find_checkpoint(config)
        content = checkpoint.load_ours(path)
        trained = content["config"] if content else None
        model = load_model(path, widths=config.architecture)
        check_flags(config, origin, model, path)
    cache = open_data(config, ranks, log)
    with ranks.agree():
        check_skeleton(model, cache, path)
        if config.output and ranks.is_main:
            make_folder(Path(config.output), "--output")
        frames = scored_frames(cache.test, config.test_frames)
    warnings = differences(trained, cache, path)
    for warning in warnings:
        log.say(f"WARNING: {warning}")
    log.say(f"Evaluating {path} on {len(frames):,} frames with {ranks.world_size} process(es), {ranks.device.type}")

    model.to(ranks.device)
    store = FrameStore(cache.test, get_skeleton(cache.skeleton), model.frames, ranks.device)
    with numerics.full_precision():
        evaluation = evaluate(model, cache, store, frames, ranks, flip=config.test_flip)
    with ranks.agree():
        if evaluation:
            about = about_evaluation(config, cache, path, ranks) | {"warnings": warnings}
            folder = Path(config.output) if config.output else path.parent
            result = write_results(evaluation, folder, about)
            log.say(reports.format_tables(evaluation.tables))
            log.say("\n" + reports.format_scores(evaluation.figures) + "\n")
            log.say(f"{headline(result)}. Written to {folder}: result.json, the CSV tables, inference_data.mat")


def find_checkpoint(config: Config) -> Path:
    """The file that --evaluate names: in the run folder, in the -c folder, or a path.  Raises UserError."""
    name = Path(config.evaluate)
    parent = Path(config.checkpoint)
    places = list(dict.fromkeys((parent / config.run_name / name, parent / name, name)))
    for place in places:
        if place.is_file():
            return place
    listed = ", ".join(map(str, places))
    raise UserError(
        f"--evaluate {name}: no such checkpoint; looked for {listed}. Train first, or give the path of a file"
    )


def check_flags(config: Config, origin: dict[str, str], model: LiftingNetwork, path: Path) -> None:
    """Refuse flags of the model that contradict the checkpoint.  Raises UserError with both values."""
    held = {
        "frames": model.frames,
        "channels": model.channels,
        "architecture": model.widths,
        "head": model.head_kind,
        "sequence_layers": len(model.sequence),
        "graph": {"h36m17": "h36m"}.get(model.graph.name, model.graph.name),
    }
    for name, value in held.items():
        given = getattr(config, name)
        if origin[name] == "flag" and given is not None and given != value:
            raise UserError(
                f"{path} was trained with {name} {value}, and the flag says {given}; "
                "leave the flag out, or name another checkpoint"
            )


def check_skeleton(model: LiftingNetwork, cache: Cache, path: Path) -> None:
    """Refuse a model of another joint set than the data's.  Raises UserError with both."""
    data = get_skeleton(cache.skeleton)
    if model.skeleton.name != data.name:
        raise UserError(
            f"{path} predicts the skeleton {model.skeleton.name} ({model.skeleton.num_joints} joints), "
            f"and {cache.path} holds {data.name} ({data.num_joints} joints); "
            "evaluate it on the data set that it was trained for"
        )


def differences(trained: dict[str, Any] | None, cache: Cache, path: Path) -> list[str]:
    """What makes the figures not comparable to the training: said aloud and kept in result.json."""
    if trained is None:
        return [
            f"{path} is a published file, which does not say what data it was trained on; "
            f"assumed to be {cache.dataset} with {cache.keypoints} 2D poses"
        ]
    held = {"dataset": cache.dataset, "keypoints": cache.keypoints, "annotation": cache.annotation}
    return [
        f"{path} was trained with {name} {trained.get(name) or 'none'} and is evaluated with {name} {value or 'none'}"
        for name, value in held.items()
        if trained.get(name) != value
    ]
