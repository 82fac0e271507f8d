"""`glagcn bench`: how fast this machine makes batches, trains and evaluates, on a CPU or a GPU.

Each part is a function that makes the work to be timed.  With --reference, the work of the plain implementation in the
tests of a checkout is timed beside it.
"""

import copy
import importlib
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from glagcn import dist
from glagcn.config.options import OPTIONS, Config
from glagcn.config.resolve import changed, to_dict
from glagcn.data.cache import open_cache, write_cache
from glagcn.data.dataset import Source, SplitName, cache_name
from glagcn.data.mocap.motion import MocapSource, Take, demo_source, joints_of
from glagcn.data.mpi_inf_3dhp.facts import DEFAULT_CAMERAS, TRAIN_SEQUENCES
from glagcn.data.plan import share
from glagcn.errors import UserError
from glagcn.evaluate.evaluate import predict_frames
from glagcn.evaluate.metrics import joint_errors
from glagcn.files import write_text
from glagcn.machine import describe
from glagcn.model.cores import full_precision
from glagcn.model.interface import Model
from glagcn.tables import Table
from glagcn.train import hardware
from glagcn.train.hardware import TRAINING_PASSES, peak_flops, peak_memory, seconds
from glagcn.train.loop import Stepper
from glagcn.train.optim import micro_batch, step_sizes
from glagcn.train.setup import RunData, build_model, load_data

EVALUATED_FRAMES = 512
SHOWN_OPERATORS = 15
# {column of the table: (value of a part, its unit, format)}
COLUMNS = {
    "ours": ("ours", 1, ".1f"),
    "reference": ("reference", 1, ".1f"),
    "ratio": ("ratio", 1, ".2f"),
    "% of peak": ("share_of_peak", 0.01, ".1f"),
    "ms": ("ms", 1, ".1f"),
    "GFLOP/s": ("flops_per_second", 1e9, ".1f"),
    "peak GB": ("peak_memory_bytes", 1e9, ".2f"),
}


@dataclass(frozen=True)
class Setting:
    """What every part measures: one data set, one model."""

    config: Config
    data: RunData
    model: Model


@dataclass(frozen=True)
class Part:
    """The work of a part, to be timed."""

    work: Callable[[], object]
    windows: int  # made, trained or scored by a call
    flops: int = 0  # of a call; 0 if they do not count
    found: dict[str, Any] = field(default_factory=dict)  # values that a call leaves for the report


def input_part(setting: Setting) -> Part:
    """Make training batches on the device."""
    plan, store = setting.data.plan, setting.data.train
    windows = min(plan.batch_size, plan.num_windows)
    room, numbers = store.allocate(windows), count()

    def make() -> None:
        store.windows(plan.batch(0, next(numbers) % plan.steps_per_epoch), room)

    return Part(make, windows)


def step_part(setting: Setting) -> Part:
    """Make optimiser steps on a batch in memory."""
    optim, plan, model = setting.config.optim, setting.data.plan, setting.model
    batch = setting.data.train.windows(plan.batch(0, 0))
    windows = len(batch.inputs)
    mine = share(windows, micro_batch(optim, plan.batch_size), 0, 1)
    stepper = Stepper(optim, copy.deepcopy(model), step_sizes(optim, plan))
    if problem := stepper.rehearse(batch, mine):
        raise UserError(f"torch.compile failed ({problem}); --compile off measures without it")

    def step() -> None:
        stepper.gradient(batch, mine)
        stepper.apply(optim.lr)

    return Part(step, windows, TRAINING_PASSES * model.flops() * windows)


def evaluation_part(setting: Setting) -> Part:
    """Score frames, with test-time flip; "mpjpe_mm" is the error of the untrained model."""
    data, model, frames = setting.data.test, setting.model, evaluated_frames(setting)
    root = data.store.skeleton.root
    target = data.split.millimetres[frames].astype(np.float64)
    target -= target[:, root : root + 1]
    found: dict[str, float] = {}

    def evaluate() -> None:
        with full_precision():
            predicted = predict_frames(model, data.store, frames, flip=True, zero_root=True)
        found["mpjpe_mm"] = float(joint_errors(predicted, target).mean())

    return Part(evaluate, len(frames), 2 * len(frames) * model.for_prediction().flops(), found)


def evaluated_frames(setting: Setting) -> np.ndarray:
    """The test frames that the part "eval" scores."""
    frames = setting.data.test.frames
    return frames[:: max(1, len(frames) // EVALUATED_FRAMES)][:EVALUATED_FRAMES]


PARTS = {"input": input_part, "step": step_part, "eval": evaluation_part}


def run_bench(
    part: str, config: Config, repeats: int, json_file: Path | None, *, profiled: bool, reference: bool
) -> str:
    """Measure one part or "all".  Returns the table.

    config     options of the trainer; the data set, "demo" or "3dhp", is the amount of data.
    repeats    rounds per median.
    profiled   also list the most expensive operators of a step; only for the part "step".
    reference  also measure the plain implementation of this repository's tests.
    Raises UserError for invalid options or a file that cannot be written.
    """
    if dist.world_size() > 1:
        raise UserError("glagcn bench measures one process; call it without torchrun or accelerate launch")
    if repeats < 1:
        raise UserError(f"invalid --repeats {repeats}: must be at least 1")
    if profiled and part != "step":
        raise UserError(f"--profile has no effect on the part {part}; give the part step")
    if reference and config.model.head == "mixed":
        raise UserError("invalid --head mixed: the reference has shared and unshared heads only")
    plain = _reference_module() if reference else None
    dist.keep_memory()  # as training does
    dist.start(config.run.workers)
    config = changed(config, precision=hardware.set_up(config.optim, dist.device()))
    peak = peak_flops(dist.device(), config.optim.precision)
    text = ""
    source: Source = demo_source() if config.data.dataset == "demo" else RepeatedMotion()
    with tempfile.TemporaryDirectory(prefix="glagcn_bench_") as folder:
        path = Path(folder) / cache_name(source.dataset, source.keypoints, source.annotation)
        write_cache(path, source)
        data = load_data(config, open_cache(path))
        model = build_model(config, data).to(dist.device())
        setting, results = Setting(config, data, model), {}
        for name in PARTS if part == "all" else (part,):
            ours = PARTS[name](setting)
            results[name] = _measure(ours, plain.PARTS[name](setting) if plain else None, repeats, peak)
            if profiled:
                text = "\n\n" + _operators(ours.work, dist.device())
    report = {
        "machine": describe(dist.device()),
        "peak_flops_per_second": peak,
        "options": {key: value for key, value in to_dict(config).items() if OPTIONS[key].bench}
        | {"dataset_scale": config.data.dataset, "repeats": repeats},
        "results": results,
    }
    if json_file:
        write_text(json_file, json.dumps(report, indent=2, allow_nan=False) + "\n")
    return _text(report) + text


def _reference_module() -> Any:
    """The module tests.reference_model.  Raises UserError unless this program runs from a checkout."""
    root = Path(__file__).parents[1]
    if not (root / "tests/reference_model.py").exists():
        raise UserError(f"--reference needs the tests of a checkout of the repository; {root} has none")
    sys.path.insert(0, str(root))
    return importlib.import_module("tests.reference_model")


def _measure(ours: Part, plain: Part | None, repeats: int, peak: float) -> dict[str, Any]:
    """An entry of the report: the rates in windows/s, the median time of a call, and the share of the peak rate.

    A round calls both parts, so that other load on the machine affects both equally; the first rounds do not count.  On
    a GPU it calls each several times in a row, as training does, so that the host runs ahead.
    """
    device = dist.device()
    warm_up, in_a_row = (3, 10) if device.type == "cuda" else (1, 1)
    parts = [ours] + ([plain] if plain else [])
    rounds = [[seconds(part.work, device, in_a_row) for part in parts] for _ in range(warm_up + repeats)]
    elapsed, *others = (median(times) for times in zip(*rounds[warm_up:], strict=True))
    result = {
        "ours": ours.windows / elapsed,
        "unit": "windows/s",
        "ms": 1000 * elapsed,
        "windows": ours.windows,
        "peak_memory_bytes": peak_memory(device),
        **ours.found,
    }
    if ours.flops:
        result |= {"flops_per_second": ours.flops / elapsed, "share_of_peak": ours.flops / elapsed / peak}
    if plain:
        result |= {"reference": plain.windows / others[0], **plain.found}
        result["ratio"] = result["ours"] / result["reference"]
    return result


def _operators(work: Callable[[], object], device: torch.device) -> str:
    """PyTorch's table of the most expensive operators of a call, by their own time (on CUDA: on the device)."""
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda, acc_events=True) as profiler:
        work()
        if cuda:
            torch.cuda.synchronize(device)
    order = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    return profiler.key_averages().table(sort_by=order, row_limit=SHOWN_OPERATORS, max_name_column_width=50)


def _text(report: dict[str, Any]) -> str:
    """The report as a table, below a line on the machine."""
    machine = report["machine"]
    where = machine["gpu"] or f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores"
    table = Table("part", *COLUMNS)
    for part, result in report["results"].items():
        cells = (format(result[key] / unit, form) if key in result else "-" for key, unit, form in COLUMNS.values())
        table.add(part, *cells)
    return (
        f"{where}; torch {machine['torch']}, Python {machine['python']}, {machine['date']}\n"
        f"peak of a matrix product: {report['peak_flops_per_second'] / 1e9:.0f} GFLOP/s; ours and reference in "
        f"windows/s\n\n{table.text()}"
    )


class RepeatedMotion(MocapSource):
    """The demo with as many training sequences as MPI-INF-3DHP and of the same lengths: their motion is repeated."""

    annotation = "univ"

    def __init__(self) -> None:
        demo = demo_source()
        train = [
            Take(name, take.trial, length)
            for (name, (length, _)), take in zip(TRAIN_SEQUENCES.items(), demo.takes["train"], strict=True)
        ]
        cameras: dict[SplitName, int] = {"train": len(DEFAULT_CAMERAS), "test": 1}
        super().__init__("3dhp", demo.takes | {"train": train}, cameras, "gt", demo.seed)

    def _world(self, take: Take) -> np.ndarray:
        joints = joints_of(take.trial, self.skeleton)
        return joints[np.arange(take.frames or 0) % len(joints)]
