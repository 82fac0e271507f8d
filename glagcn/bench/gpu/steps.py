"""Training steps for `glagcn bench gpu`: ours and the plain reference.

Every function also runs on a CPU, where host time, kernel counts and memory are None.
"""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from glagcn.bench.reference.steps import ReferenceStepper
from glagcn.bench.reference.weights import reference_of
from glagcn.bench.setting import Setting
from glagcn.config.resolve import changed
from glagcn.data.windows.plan import share
from glagcn.data.windows.store import Batch
from glagcn.distributed import precision
from glagcn.errors import UserError
from glagcn.model.floor import training_cost
from glagcn.model.interface import Model
from glagcn.training.hardware.peaks import Work, seconds
from glagcn.training.step import Stepper

WARM_UP = 3  # steps: the second one records the graph of the optimiser's step
ROUND_S, MOST_STEPS = 0.5, 20  # duration and most steps of a round, which is timed as a whole
REFERENCE_ROUNDS = 2  # one plain step may take a second


def measure_ours(setting: Setting, batches: tuple[int, ...], compiled: bool) -> list[dict[str, Any]]:
    """Measure steps on global batches of `batches` windows, in micro-batches of --micro_batch.  Returns their entries.

    The time to the first step is that of the first entry; all batches use the same compiled micro-batch.
    Raises UserError if compilation fails.
    """
    config = changed(setting.config, compile="on" if compiled else "off")
    device, most = setting.device, config.optim.micro_batch
    _reset_peak(device)
    begin = time.perf_counter()
    sizes = frozenset(size for windows in batches for size in share(windows, most, 0, 1).sizes)
    stepper = Stepper(config.optim, setting.ranks, copy.deepcopy(setting.model), sizes)
    stepper.model.train()
    entries: list[dict[str, Any]] = []
    for windows in batches:
        batch, mine = random_batch(setting.model, windows, device), share(windows, most, 0, 1)

        def step(batch: Batch = batch, mine: Any = mine) -> None:
            stepper.gradient(batch, mine)
            stepper.apply(config.optim.lr)

        first = None
        if not entries:
            problem = stepper.rehearse(batch, mine)
            if problem:
                raise UserError(f"torch.compile failed ({problem})")
            step()
            _wait(device)
            first = time.perf_counter() - begin
        found = measure_steps(step, windows, _floor(setting, windows), device, setting.repeats)
        entries.append(found | {"seconds_to_first_step": first, "peak_memory_bytes": cuda_peak(device)})
    return entries


def measure_reference(setting: Setting, windows: int, tf32: bool) -> dict[str, Any]:
    """Measure reference steps on `windows` windows, in float32, or with TF32 as by PyTorch's defaults."""
    device = setting.device
    with pytorch_defaults() if tf32 else precision.full_precision():
        _reset_peak(device)
        begin = time.perf_counter()
        model, config = setting.model, setting.config
        plain = ReferenceStepper(reference_of(model), config.optim.lr, config.optim.sequence_weight, model.target_frame)
        batch = random_batch(model, windows, device)

        def step() -> None:
            plain.step(batch)

        step()
        _wait(device)
        first = time.perf_counter() - begin
        rounds = min(setting.repeats, REFERENCE_ROUNDS)
        found = measure_steps(step, windows, _floor(setting, windows), device, rounds, warm_up=0)
        return found | {"seconds_to_first_step": first, "peak_memory_bytes": cuda_peak(device)}


def measure_steps(
    step: Work, windows: int, floor: float, device: torch.device, rounds: int, warm_up: int = WARM_UP
) -> dict[str, Any]:
    """Measure the speed of consecutive steps, the host time per step and the number of kernels.

    floor  lower bound of the seconds per step on this hardware.
    """
    for _ in range(warm_up):
        step()
    many = max(1, min(MOST_STEPS, int(ROUND_S / seconds(step, device))))

    def row() -> None:
        for _ in range(many):
            step()

    elapsed = median(seconds(row, device) for _ in range(rounds)) / many
    return {
        "windows": windows,
        "windows_per_second": windows / elapsed,
        "fraction_of_floor": floor / elapsed,
        "ms": 1000 * elapsed,
        "host_ms": host_ms(step, device, rounds),
        "kernels": count_kernels(step, device),
    }


def host_ms(step: Work, device: torch.device, rounds: int) -> float | None:
    """Milliseconds until the host has launched a step, without waiting for the device; None on a CPU."""
    if device.type != "cuda":
        return None
    times = []
    for _ in range(rounds):
        _wait(device)
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return 1000 * median(times)


def count_kernels(step: Work, device: torch.device) -> int | None:
    """The number of kernels of a step, without copies and fills; None on a CPU."""
    if device.type != "cuda":
        return None
    _wait(device)
    # acc_events: without it PyTorch 2.11 warns that a second cycle would clear the events.
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True) as profiler:
        step()
        _wait(device)
    return sum(_is_kernel(event) for event in profiler.events())


def _is_kernel(event: Any) -> bool:
    """Whether a profiler event is a kernel, not a copy, a fill or an annotation."""
    on_device = event.device_type == DeviceType.CUDA
    return on_device and not event.is_user_annotation and not event.name.startswith(("Memcpy", "Memset"))


def random_batch(model: Model, windows: int, device: torch.device) -> Batch:
    """Random windows in the value range of poses."""
    draws = torch.Generator(device).manual_seed(0)
    inputs = torch.rand(windows, *model.window_shape, device=device, generator=draws)
    targets = torch.rand(windows, model.frames, model.skeleton.num_joints, 3, device=device, generator=draws)
    return Batch(inputs * 2 - 1, targets * 2 - 1)


@contextmanager
def pytorch_defaults() -> Iterator[None]:
    """Use PyTorch's defaults: TF32 for convolutions, not for matrix products."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = False, True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def cuda_peak(device: torch.device) -> int | None:
    """Peak device memory since `_reset_peak`, bytes; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def _floor(setting: Setting, windows: int) -> float:
    """Lower bound of the seconds per step in the precision of training; the same for the reference, to compare."""
    return training_cost(setting.model, windows, precision.number_bytes(setting.config.optim.precision)).seconds(
        setting.peaks
    )


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
