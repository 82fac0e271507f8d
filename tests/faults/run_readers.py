"""The readers of the files of a run, with a small valid file for each."""

import contextlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import safetensors.torch
import torch

from glagcn.checkpoints import checkpoint
from glagcn.checkpoints.export_safetensors import export_safetensors
from glagcn.checkpoints.load import check_skeleton, differences, load, load_model
from glagcn.commands.train import _finished_headline
from glagcn.config.config import Config
from glagcn.config.resolve import changed, parse_command_line, resolve, to_dict
from glagcn.data.windows.plan import EpochPlan
from glagcn.model.interface import Model
from glagcn.model.registry import get_kind, model_config
from glagcn.runs.curves import draw_training_curves
from glagcn.runs.folder import RunFolder
from glagcn.skeleton import get_skeleton
from glagcn.study.file import read_study
from glagcn.study.jobs import jobs_of
from glagcn.study.results import mean_curve, read_run
from glagcn.study.tables import evaluations_csv, rows_of, summary_csv
from glagcn.training.optim.optimizers import build_optimizer
from glagcn.training.optim.restore import check_best, check_state, restore_optimizer
from glagcn.training.optim.schedule import learning_rate
from glagcn.training.progress import Progress, Sums
from glagcn.training.setup import Selection, settle
from glagcn.training.warm_start import start_from
from tests.faults.mutations import spoil_array, spoil_json, spoil_value
from tests.faults.readers import Reader
from tests.published_files import write_published

WINDOWS, FINGERPRINT, STEPS = 100, "0123456789abcdef", 3
STUDY = 'title = "A study"\nseeds = [0]\ncommon = "-d demo --max_steps 3"\n[configurations]\n"plain" = ""\n'
RESULT = {
    "mpjpe_mm": 50.0, "pck": 90.0, "auc": 60.0, "protocol": "official", "frames": 40, "trained_steps": STEPS,
    "data_fingerprint": FINGERPRINT,
}  # fmt: skip
SILENT: Callable[[str], None] = lambda text: None  # noqa: E731


def _config(folder: Path) -> Config:
    given = {"dataset": "demo", "root_path": str(folder), "checkpoint": str(folder), "run": "run", "frames": 3}
    config, _ = resolve(given | {"channels": 4, "sequence_layers": 1, "batch_size": 8, "max_steps": STEPS})
    return config


def _model(config: Config) -> Model:
    return get_kind(config.model.kind).load().build(get_skeleton("mpi3dhp17"), config.model)


def _step(config: Config, model: Model, optimizer: torch.optim.Optimizer) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    optimizer.step()


def _run(folder: Path) -> Path:
    """A run folder as training leaves it; -> its path."""
    config, path = _config(folder), folder / "run"
    model = _model(config)
    optimizer = build_optimizer(config.optim, model)
    _step(config, model, optimizer)
    sums = Sums(8.0, {"mpjpe": 0.4})
    content = {
        "config": to_dict(config), "model_config": model_config(model), "model": model.state_dict(),
        "optimizer": optimizer.state_dict(), "progress": asdict(Progress(STEPS, 2, 60.0, 2, 1.5, sums, sums)),
        "num_windows": WINDOWS, "data_fingerprint": FINGERPRINT,
    }  # fmt: skip
    checkpoint.save(path / "last.pt", content)
    (path / "config.json").write_text(json.dumps(to_dict(config), indent=2))
    (path / "result.json").write_text(json.dumps(RESULT, indent=2))
    lines = [{"kind": kind, "step": step, "epoch": step, "windows": 8 * step, "seconds": 0.5 * step, "mpjpe_mm": 70.0}
             for step in (1, 2) for kind in ("train", "train_epoch", "validation")]  # fmt: skip
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _in_run(name: str) -> Callable[[Path], Path]:
    return lambda folder: _run(folder) / name


# ---------------------------------------------------------------- what lies beside the checkpoints


def _read_options(path: Path) -> None:
    """What a prolonged run takes from config.json."""
    config = changed(_config(path.parents[1]), batch_size=None)
    selection: Any = Selection(False, None, None, None, np.arange(40))  # type: ignore[arg-type]
    config = settle(config, selection, "fp32", RunFolder(path.parent).options(), None, {})
    plan = EpochPlan(np.arange(40), config.optim.batch_size or 0, "none", 0)
    assert math.isfinite(learning_rate(config.optim, plan, STEPS))


def _read_metrics(path: Path) -> None:
    RunFolder(path.parent).rewind(STEPS, STEPS, 1)
    draw_training_curves(path, path.with_suffix(".png"))
    _read_study_run(path)


def _read_study_run(path: Path) -> None:
    (path.parents[1] / "study.toml").write_text(STUDY)
    study = read_study(path.parents[1] / "study.toml")
    runs = [read_run(path.parent, "plain", 0)]
    summary_csv(rows_of(study, runs))
    evaluations_csv(runs)
    mean_curve(runs)


def _read_result(path: Path) -> None:
    _finished_headline(_config(path.parents[1]), RunFolder(path.parent), STEPS)
    _read_study_run(path)


def _finished(folder: Path) -> Path:
    path = folder / "study.toml"
    path.write_text(STUDY)
    job = jobs_of(read_study(path), folder, None, None)[0]
    job.run_folder.mkdir(parents=True)
    job.mark_finished()
    (job.run_folder / "result.json").write_text(json.dumps(RESULT))
    return next(job.folder.glob("*.finished.json"))


def _read_finished(path: Path) -> bool:
    job = jobs_of(read_study(path.parents[1] / "study.toml"), path.parents[1], None, None)[0]
    return job.is_finished


# ---------------------------------------------------------------- checkpoints


def _read_state(path: Path) -> None:
    """A run that goes on from last.pt."""
    config = _config(path.parents[1])
    model = _model(config)

    def fits(path: Path, content: dict) -> None:
        check_state(path, content, model, config.optim)

    state = RunFolder(path.parent).resume(config, WINDOWS, FINGERPRINT, SILENT, fits)
    assert state is not None
    _go_on(config, model, state)
    check_best(path, checkpoint.load(path), model)


def _go_on(config: Config, model: Model, state: dict[str, Any]) -> None:
    progress = Progress.of(state["progress"])
    plan = EpochPlan(np.arange(WINDOWS), 8, "none", 0)
    plan.windows_until(progress.step)
    learning_rate(config.optim, plan, progress.step)
    optimizer = build_optimizer(config.optim, model)
    model.load_state_dict(state["model"])
    restore_optimizer(optimizer, state["optimizer"])
    _step(config, model, optimizer)
    checkpoint.digest(state | {"optimizer": optimizer.state_dict()})


def _read_start(path: Path) -> None:
    """A run that starts from a checkpoint with --resume."""
    config = _config(path.parents[1])
    model = _model(config)
    start = start_from(path, config, model, WINDOWS, FINGERPRINT)
    if start.content:
        _go_on(config, model, start.content)


def _read_weights(path: Path) -> None:
    """Evaluation, rendering and exports."""
    loaded = load(path)
    loaded.model.eval()(torch.zeros(1, loaded.model.frames, loaded.model.skeleton.num_input_joints, 2))
    cache: Any = SimpleNamespace(dataset="demo", keypoints="gt", annotation="")
    differences(loaded, cache)
    check_skeleton(loaded, loaded.model.skeleton, "the data")
    if loaded.content:
        checkpoint.epochs_done(loaded.content)
        export_safetensors(path, path.with_name("exported.safetensors"))


def _spoil_checkpoint(rng: Random, path: Path) -> None:
    """A value anywhere in a checkpoint; the digest is made to fit, or left out."""
    content = torch.load(path, weights_only=False)
    where = rng.choice(("", "config", "model_config", "model", "optimizer", "progress", "progress", "optimizer"))
    if where in content:
        content[where] = spoil_value(rng, content[where], spoil_array)
    else:
        content = spoil_value(rng, content, spoil_array)
    if where == "model_config" and rng.random() < 0.5:
        content[where] |= {rng.choice(("channels", "sequence_layers")): rng.choice((10**3, 10**4, 10**6))}
    content.pop("digest", None)
    if rng.random() < 0.5:
        content["digest"] = checkpoint.digest(content)
    torch.save(content, path)


def _published(folder: Path) -> Path:
    path = folder / "96_gt_27_supervised.bin"
    write_published(path, "h36m17", 3, 4)
    return path


def _spoil_published(rng: Random, path: Path) -> None:
    content = torch.load(path, weights_only=False)
    where = "model_pos" if rng.random() < 0.8 else ""
    if where:
        content[where] = spoil_value(rng, dict(content[where]), spoil_array)
    else:
        content = spoil_value(rng, content, spoil_array)
    torch.save(content, path)


def _safetensors(folder: Path) -> Path:
    export_safetensors(_run(folder) / "last.pt", folder / "run/exported.safetensors")
    (folder / "run/exported.safetensors").rename(folder / "model.safetensors")
    return folder / "model.safetensors"


def _spoil_safetensors(rng: Random, path: Path) -> None:
    with safetensors.safe_open(path, "pt") as file:
        told, weights = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if rng.random() < 0.5:
        weights = spoil_value(rng, weights, spoil_array)
    else:
        name = rng.choice(list(told))
        values = [json.dumps(rng.choice((None, [], {}, 10**6, -1, "x"))), "", "[" * 50_000]
        with contextlib.suppress(ValueError):
            values += [json.dumps(spoil_value(rng, json.loads(told[name])))] * 6
        told[name] = rng.choice(values)
        del told["digest"]
        told["digest"] = "x"
    safetensors.torch.save_file(weights, path, told)


# ---------------------------------------------------------------- files of flags


def _read_flags(path: Path) -> object:
    return parse_command_line(["--config", str(path)])


def _flags(folder: Path) -> Path:
    (folder / "flags.toml").write_text(
        'dataset = "demo"\n[model]\nframes = 27\ncausal = true\ndropout = 0.1\n[data]\nsubjects_train = ["S1", "S2"]\n'
    )
    return folder / "flags.toml"


def _study(folder: Path) -> Path:
    (folder / "study.toml").write_text(STUDY)
    return folder / "study.toml"


RUN_READERS = {
    "config.json": Reader(_in_run("config.json"), _read_options, spoil_json),
    "metrics.jsonl": Reader(_in_run("metrics.jsonl"), _read_metrics, spoil_json),
    "result.json": Reader(_in_run("result.json"), _read_result, spoil_json),
    "finished.json of a study": Reader(_finished, _read_finished, spoil_json),
    "last.pt, resumed": Reader(_in_run("last.pt"), _read_state, _spoil_checkpoint),
    "last.pt, --resume": Reader(_in_run("last.pt"), _read_start, _spoil_checkpoint),
    "last.pt, evaluated": Reader(_in_run("last.pt"), _read_weights, _spoil_checkpoint),
    "published .bin": Reader(_published, _read_weights, _spoil_published),
    "published .bin, load_model": Reader(_published, load_model, _spoil_published),
    "safetensors": Reader(_safetensors, _read_weights, _spoil_safetensors),
    "--config TOML": Reader(_flags, _read_flags),
    "--config JSON": Reader(_in_run("config.json"), _read_flags, spoil_json),
    "study TOML": Reader(_study, read_study),
}
