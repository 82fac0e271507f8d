"""Times several implementations alternately and takes medians, on a CPU or a CUDA device."""

from statistics import median

import torch

from glagcn.training.hardware.peaks import Work, seconds


def interleaved(works: dict[str, Work], repeats: int, device: torch.device, warm_up: int = 1) -> dict[str, float]:
    """The median seconds of each function over `repeats` rounds, after `warm_up` rounds that are not counted.

    A round calls every function once, so that other load on the machine affects all of them equally.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(warm_up + repeats):
        for name, work in works.items():
            elapsed = seconds(work, device)
            if number >= warm_up:
                times[name].append(elapsed)
    return {name: median(values) for name, values in times.items()}
