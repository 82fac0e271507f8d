"""Timers: run two implementations alternately and take medians, on a CPU or a CUDA device."""

from statistics import median

import torch

from glagcn.training.hardware.peaks import Work, seconds


def interleaved(works: dict[str, Work], repeats: int, device: torch.device, warm_up: int = 1) -> dict[str, float]:
    """The median seconds of each work over `repeats` rounds, after `warm_up` rounds that do not count.

    A round runs every work once, so that other load on the machine affects all of them alike.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(warm_up + repeats):
        for name, work in works.items():
            elapsed = seconds(work, device)
            if number >= warm_up:
                times[name].append(elapsed)
    return {name: median(values) for name, values in times.items()}
