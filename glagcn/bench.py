"""`glagcn bench`: how fast this machine makes batches, trains and evaluates, on a CPU or a GPU.

Each part is a function that does the work once; `interleaved` times it and, with --reference, the plain implementation
of a checkout's tests beside it.
"""

import copy
import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
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
from glagcn.data.dataset import Sequence, SequenceInfo, Source, SplitName, cache_name
from glagcn.data.mocap.motion import demo_source
from glagcn.data.mpi_inf_3dhp.facts import (
    DEFAULT_CAMERAS,
    TEST_FPS,
    TEST_IMAGE_SIZES,
    TRAIN_IMAGE_SIZE,
    TRAIN_SEQUENCES,
)
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
from glagcn.train.hardware import TRAINING_PASSES, peak_flops, peak_memory, percent, seconds
from glagcn.train.loop import Stepper
from glagcn.train.optim import micro_batch, step_sizes
from glagcn.train.setup import RunData, build_model, load_data

EVALUATED_FRAMES = 512
REFERENCE_WINDOWS = 64  # the plain loader makes a few hundred a second
SHOWN_OPERATORS = 15
# Frames of TS1..TS6 of MPI-INF-3DHP, and how many of them are valid.
TEST_FRAMES = {"TS1": 6151, "TS2": 6080, "TS3": 5838, "TS4": 6007, "TS5": 320, "TS6": 492}
VALID_FRAMES = {"TS1": 603, "TS2": 540, "TS3": 506, "TS4": 558, "TS5": 276, "TS6": 392}

Work = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """What every part measures: one machine, one data set, one model."""

    config: Config
    data: RunData
    model: Model
    reference: Any  # the module tests.reference_model; None: measure our code alone


@dataclass(frozen=True, kw_only=True)
class Part:
    """The work of a part, to be timed."""

    ours: Work
    windows: int  # made, trained or scored by a call of `ours`
    flops: int = 0  # of a call of `ours`; 0 if they do not count
    reference: Work | None  # None without --reference
    reference_windows: int
    found: dict[str, Any]  # values that a call leaves for the report


def input_part(setting: Setting) -> Part:
    """Make training batches on the device."""
    plan, store, device = setting.data.plan, setting.data.train, dist.device()
    windows = min(plan.batch_size, plan.num_windows)
    fewer = min(REFERENCE_WINDOWS, windows)
    room = store.allocate(windows)
    first, other = count(), count(plan.steps_per_epoch // 2)  # different windows of one epoch; the plan keeps its order

    def make() -> None:
        store.windows(plan.batch(0, next(first) % plan.steps_per_epoch), room)

    reference = None
    if setting.reference:
        loader = setting.reference.ReferenceLoader(setting.data.train_split, store.skeleton, store.num_frames)

        def reference() -> None:
            batch = loader.batch(plan.batch(0, next(other) % plan.steps_per_epoch).part(0, fewer))
            _ = [part.to(device) for part in batch]

    found = {"windows_in_epoch": plan.num_windows}
    return Part(ours=make, windows=windows, reference=reference, reference_windows=fewer, found=found)


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

    reference = None
    if setting.reference:
        network = setting.reference.reference_of(model)
        plain = setting.reference.ReferenceStepper(network, optim.lr, optim.sequence_weight, model.target_frame)

        def reference() -> None:
            with full_precision():
                plain.step(batch)

    flops = TRAINING_PASSES * model.flops() * windows
    return Part(ours=step, windows=windows, flops=flops, reference=reference, reference_windows=windows, found={})


def evaluation_part(setting: Setting) -> Part:
    """Score frames, with test-time flip; "mpjpe_mm" is the error of the untrained model."""
    data, model = setting.data.test, setting.model
    skeleton = data.store.skeleton
    frames = data.frames[:: max(1, len(data.frames) // EVALUATED_FRAMES)][:EVALUATED_FRAMES]
    target = data.split.millimetres[frames].astype(np.float64)
    target -= target[:, skeleton.root : skeleton.root + 1]
    found: dict[str, float] = {}

    def evaluate() -> None:
        with full_precision():
            predicted = predict_frames(model, data.store, frames, flip=True, zero_root=True)
        found["mpjpe_mm"] = float(joint_errors(predicted, target).mean())

    reference = None
    if setting.reference:
        loader = setting.reference.ReferenceLoader(data.split, skeleton, setting.config.model.frames)
        plain = setting.reference.reference_of(model)
        how = {"frame": model.target_frame, "batch_size": setting.data.plan.batch_size}

        def reference() -> None:
            with full_precision():
                error = setting.reference.reference_mpjpe(plain, loader, skeleton, frames, **how)
            found["reference_mpjpe_mm"] = error

    flops = 2 * len(frames) * model.for_prediction().flops()
    count = len(frames)
    return Part(ours=evaluate, windows=count, flops=flops, reference=reference, reference_windows=count, found=found)


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
    module = _reference_module() if reference else None
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
        setting = Setting(config, data, model, module)
        results = {}
        for name in PARTS if part == "all" else (part,):
            work = PARTS[name](setting)
            results[name] = _measure(work, repeats, peak)
            if profiled:
                text = "\n\n" + _operators(work.ours, dist.device())
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


def _measure(part: Part, repeats: int, peak: float) -> dict[str, Any]:
    """An entry of the report: the rates in windows/s, the time of a call, and the share of the peak arithmetic rate."""
    works = {"ours": part.ours} | ({"reference": part.reference} if part.reference else {})
    times = interleaved(works, repeats, dist.device())
    elapsed = times["ours"]
    result = {
        "ours": part.windows / elapsed,
        "unit": "windows/s",
        "ms": 1000 * elapsed,
        "windows": part.windows,
        "peak_memory_bytes": peak_memory(dist.device()),
        **part.found,
    }
    if part.flops:
        result |= {"flops_per_second": part.flops / elapsed, "share_of_peak": part.flops / elapsed / peak}
    if part.reference:
        result["reference"] = part.reference_windows / times["reference"]
        result["ratio"] = result["ours"] / result["reference"]
    return result


def interleaved(works: dict[str, Work], repeats: int, device: torch.device) -> dict[str, float]:
    """The median seconds of a call of each function over `repeats` rounds, after rounds that are not counted.

    A round calls every function, so that other load on the machine affects all of them equally.  On a GPU it calls each
    several times in a row, as training does, so that the host runs ahead.
    """
    warm_up, in_a_row = (3, 10) if device.type == "cuda" else (1, 1)
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(warm_up + repeats):
        for name, work in works.items():
            elapsed = seconds(partial(_repeat, work, in_a_row), device) / in_a_row
            if number >= warm_up:
                times[name].append(elapsed)
    return {name: median(values) for name, values in times.items()}


def _repeat(work: Work, times: int) -> None:
    for _ in range(times):
        work()


def _operators(work: Work, device: torch.device) -> str:
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
    head = (
        f"{where}; torch {machine['torch']}, Python {machine['python']}, {machine['date']}\n"
        f"peak of a matrix product: {report['peak_flops_per_second'] / 1e9:.0f} GFLOP/s\n"
    )
    table = Table("part", "ours", "reference", "unit", "ratio", "of peak", "ms", "GFLOP/s", "peak GB")
    for part, result in report["results"].items():

        def cell(name: str, form: str = ".1f", scale: float = 1.0, result: dict[str, Any] = result) -> str:
            return format(result[name] / scale, form) if name in result else "-"

        of_peak = percent(result["share_of_peak"]) if "share_of_peak" in result else "-"
        table.add(
            part, cell("ours"), cell("reference"), result["unit"], cell("ratio", ".2f"), of_peak, cell("ms"),
            cell("flops_per_second", scale=1e9), cell("peak_memory_bytes", ".2f", 1e9),
        )  # fmt: skip
    return f"{head}\n{table.text()}"


class RepeatedMotion:
    """A Source with the official lengths, cameras, image sizes and numbers of valid frames of MPI-INF-3DHP.

    All sequences repeat one short motion.
    """

    dataset, keypoints, annotation, skeleton = "3dhp", "gt", "univ", "mpi3dhp17"

    def __init__(self) -> None:
        self.notes = ["one recorded motion repeated to the size of MPI-INF-3DHP: for measuring speed, nothing else"]
        demo = next(demo_source().read("train"))
        there_and_back = np.concatenate([np.arange(demo.info.length), np.arange(demo.info.length)[::-1]])
        longest = max(*(length for length, _ in TRAIN_SEQUENCES.values()), *TEST_FRAMES.values())
        order = np.resize(there_and_back, longest)
        self._pixels, self._millimetres = demo.pixels[order], demo.millimetres[order]

    def infos(self, split: SplitName) -> list[SequenceInfo]:
        """The sequences of "train" or "test", in the order of `read`."""
        if split == "test":
            return [
                SequenceInfo(name, name, -1, length, TEST_FPS, *TEST_IMAGE_SIZES[name])
                for name, length in TEST_FRAMES.items()
            ]
        return [
            SequenceInfo(f"{name}/cam{camera}", name.split("/")[0], camera, length, fps, *TRAIN_IMAGE_SIZE)
            for name, (length, fps) in TRAIN_SEQUENCES.items()
            for camera in DEFAULT_CAMERAS
        ]

    def read(self, split: SplitName) -> Iterator[Sequence]:
        """The sequences of a split; all start with the same poses."""
        for info in self.infos(split):
            valid, activity = np.ones(info.length, dtype=bool), None
            if split == "test":
                valid[:] = False
                valid[np.linspace(0, info.length - 1, VALID_FRAMES[info.name]).astype(int)] = True
                activity = (1 + np.arange(info.length) * 7 // info.length).astype(np.uint8)
            yield Sequence(info, self._pixels[: info.length], self._millimetres[: info.length], valid, activity)

    def provenance(self) -> dict:
        """What determines the data."""
        return {"kind": "synthetic", "version": 1, "cameras": list(DEFAULT_CAMERAS)}
