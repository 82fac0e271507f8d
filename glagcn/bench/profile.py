"""The operators of a training step and their times, from PyTorch's profiler."""

from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from glagcn.bench.parts import training_steps
from glagcn.bench.setting import Setting
from glagcn.training.hardware.memory import peak_memory
from glagcn.training.hardware.peaks import Work

WARM_UP = 2
SHOWN = 15  # operators in the table


def profile_step(setting: Setting) -> dict[str, list[dict[str, Any]]]:
    """The operators of one step of ours and of the reference, the most expensive first; see `operators`."""
    steps, _ = training_steps(setting)
    return {name: operators(step, setting.device) for name, step in steps.items()}


def operators(work: Work, device: torch.device) -> list[dict[str, Any]]:
    """The self time of each operator of `work`; on CUDA device time.

    Returns [{"operator": name, "share": share of the total, "self_ms": milliseconds, "calls": count}], the most
    expensive first.
    """
    cuda = device.type == "cuda"
    for _ in range(WARM_UP):
        work()
    if not cuda:
        # Allocate the peak memory first: the profiler's records fragment the reused memory, and new pages take time.
        torch.ones(peak_memory(device), dtype=torch.uint8)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda
    # acc_events: without it PyTorch 2.11 warns that a second cycle would clear the events.
    with profile(activities=activities, acc_events=True) as profiler:
        work()
        if cuda:
            torch.cuda.synchronize(device)
    # Leave out the rows of device kernels; their time is included in the operators that started them.
    rows = [row for row in profiler.key_averages() if row.device_type == DeviceType.CPU]
    times = [row.self_device_time_total if cuda else row.self_cpu_time_total for row in rows]  # microseconds
    whole = sum(times) or 1.0  # a profiler without permission for device counters returns 0
    counted = [
        {"operator": row.key, "share": time / whole, "self_ms": time / 1000, "calls": row.count}
        for row, time in zip(rows, times, strict=True)
    ]
    return sorted(counted, key=lambda row: row["self_ms"], reverse=True)


def profile_lines(found: dict[str, list[dict[str, Any]]] | None) -> list[str]:
    """The most expensive operators as lines of text; empty if nothing was profiled."""
    lines = []
    for name, rows in (found or {}).items():
        total = sum(row["self_ms"] for row in rows)
        lines += ["", f"one step, {name}: {total:.1f} ms in {sum(row['calls'] for row in rows)} calls of operators"]
        lines += ["  of the whole    self ms    calls  operator"]
        lines += [
            f"  {100 * row['share']:10.1f} % {row['self_ms']:10.2f} {row['calls']:8}  {row['operator']}"
            for row in rows[:SHOWN]
        ]
    return lines
