"""The parts measured in this process: input, step, evaluation.  Each alternates ours with the reference."""

import copy
from itertools import count
from typing import Any

import numpy as np

from glagcn.bench.measure import interleaved
from glagcn.bench.reference.loader import ReferenceLoader
from glagcn.bench.reference.steps import ReferenceStepper, reference_mpjpe
from glagcn.bench.reference.weights import reference_of
from glagcn.bench.setting import Setting
from glagcn.data.windows.plan import share
from glagcn.distributed import precision
from glagcn.evaluation.metrics import joint_errors
from glagcn.evaluation.predict import predict_frames
from glagcn.model.floor import Cost, evaluation_cost, input_cost, training_cost
from glagcn.training.hardware.memory import peak_memory
from glagcn.training.hardware.peaks import Work
from glagcn.training.optim.schedule import micro_batch, step_sizes
from glagcn.training.step import Stepper

REFERENCE_WINDOWS = 64  # the plain loader makes a few hundred a second
EVALUATED_FRAMES = 512


def measure_input(setting: Setting) -> dict[str, Any]:
    """Windows per second of making training batches on the device."""
    plan, store = setting.plan, setting.data.train
    loader = ReferenceLoader(setting.data.train_split, store.skeleton, store.num_frames)
    windows = min(plan.batch_size, plan.num_windows)
    fewer = min(REFERENCE_WINDOWS, windows)
    room = store.allocate(windows)
    ours, plain = count(), count(plan.steps_per_epoch // 2)  # different windows of one epoch; the plan caches its order

    def make() -> None:
        store.windows(plan.batch(0, next(ours) % plan.steps_per_epoch), room)

    def make_plainly() -> None:
        batch = loader.batch(plan.batch(0, next(plain) % plan.steps_per_epoch).part(0, fewer))
        _ = [part.to(setting.device) for part in batch]

    # More rounds: batches are cheap, and their times vary with the state of the CPU caches.
    times = interleaved({"ours": make, "reference": make_plainly}, 5 * setting.repeats, setting.device)
    plan_seconds = interleaved({"plan": lambda: plan.batch(2, 0)}, 5 * setting.repeats, setting.device)["plan"]
    cost = input_cost(setting.model, windows)
    result = _result(setting, windows, times["ours"], fewer / times["reference"], cost)
    return result | {"plan_ms": 1000 * plan_seconds, "windows_in_epoch": plan.num_windows}


def measure_step(setting: Setting) -> dict[str, Any]:
    """Windows per second of one optimiser step, on an existing batch."""
    steps, windows = training_steps(setting)
    times = interleaved(steps, setting.repeats, setting.device)
    cost = training_cost(setting.model, windows, precision.number_bytes(setting.config.optim.precision))
    gradient_bytes = 4 * sum(weight.numel() for weight in setting.model.parameters())
    result = _result(setting, windows, times["ours"], windows / times["reference"], cost)
    return result | {"gradient_bytes": gradient_bytes}


def training_steps(setting: Setting) -> tuple[dict[str, Work], int]:
    """({"ours", "reference"}: functions that make one optimiser step on the same batch and weights, its windows)."""
    config = setting.config
    reference = reference_of(setting.model)
    plan = setting.plan
    stepper = Stepper(config.optim, setting.ranks, copy.deepcopy(setting.model), step_sizes(config.optim, plan))
    plain = ReferenceStepper(reference, config.optim.lr, config.optim.sequence_weight, setting.model.target_frame)
    batch = setting.data.train.windows(plan.batch(0, 0))
    windows = len(batch.inputs)
    mine = share(windows, micro_batch(config.optim, plan.batch_size), 0, 1)
    stepper.model.train()

    def step() -> None:
        stepper.gradient(batch, mine)
        stepper.apply(config.optim.lr)

    def step_plainly() -> None:
        with precision.full_precision():
            plain.step(batch)

    return {"ours": step, "reference": step_plainly}, windows


def measure_evaluation(setting: Setting) -> dict[str, Any]:
    """Scored frames per second, with test-time flip, and the MPJPE of both implementations."""
    data, model = setting.data.test, copy.deepcopy(setting.model)
    skeleton = data.store.skeleton
    frames = data.frames[:: max(1, len(data.frames) // EVALUATED_FRAMES)][:EVALUATED_FRAMES]
    loader = ReferenceLoader(data.split, skeleton, setting.config.model.frames)
    plain = reference_of(setting.model)
    target = data.split.millimetres[frames].astype(np.float64)
    target -= target[:, skeleton.root : skeleton.root + 1]
    found: dict[str, float] = {}

    def evaluate() -> None:
        predicted = predict_frames(model, data.store, frames, setting.ranks, flip=True, zero_root=True)
        found["ours"] = float(joint_errors(predicted, target).mean())

    def evaluate_plainly() -> None:
        found["reference"] = reference_mpjpe(
            plain,
            loader,
            skeleton,
            frames,
            frame=setting.model.target_frame,
            batch_size=setting.data.plan.batch_size,
        )

    with precision.full_precision():
        times = interleaved({"ours": evaluate, "reference": evaluate_plainly}, setting.repeats, setting.device)
    cost = evaluation_cost(setting.model, len(frames), flip=True)
    result = _result(setting, len(frames), times["ours"], len(frames) / times["reference"], cost)
    return result | {"mpjpe_mm": found["ours"], "reference_mpjpe_mm": found["reference"]}


def _result(setting: Setting, windows: int, elapsed: float, reference: float, cost: Cost) -> dict[str, Any]:
    """An entry of the report: rates, and the share of the hardware limit.

    elapsed    seconds for `windows` windows.
    reference  windows per second of the reference.
    """
    return {
        "ours": windows / elapsed,
        "reference": reference,
        "ratio": windows / elapsed / reference,
        "unit": "windows/s",
        "fraction_of_floor": cost.seconds(setting.peaks) / elapsed,
        "ms": 1000 * elapsed,
        "windows": windows,
        "floor_ms": 1000 * cost.seconds(setting.peaks),
        "flops_per_second": cost.flops / elapsed,
        "bytes_per_second": cost.bytes / elapsed,
        "peak_memory_bytes": peak_memory(setting.device),
    }
