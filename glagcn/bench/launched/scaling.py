"""Scaling: measured with several processes of this machine, predicted for many GPUs."""

import os
from dataclasses import asdict, dataclass
from typing import Any

import torch

from glagcn.bench.launched.processes import run_worker
from glagcn.bench.setting import Setting
from glagcn.config.resolve import changed

MOST_PROCESSES = 4
PREDICTED = (8, 64, 512)
GPUS_PER_NODE = 8
BACKWARD_SHARE = 2 / 3  # of a step; the gradient exchange can overlap with it
LAST_BUCKET = 2**20  # bytes: the last DDP bucket is ready when the backward pass ends, so nothing overlaps with it


@dataclass(frozen=True)
class Link:
    """A connection: bytes per second and direction for each GPU, and seconds per hop.  Assumed, not measured."""

    bandwidth: float
    latency: float


NVLINK = Link(bandwidth=300e9, latency=3e-6)
NETWORK = Link(bandwidth=25e9, latency=10e-6)  # 200 Gbit/s for each GPU


def all_reduce_seconds(nbytes: float, processes: int, link: Link) -> float:
    """Seconds of a ring all-reduce of `nbytes` among n processes: 2 (n-1)/n nbytes per link, in 2 (n-1) hops."""
    hops = 2 * (processes - 1)
    return hops / processes * nbytes / link.bandwidth + hops * link.latency


def predict(step_seconds: float, gradient_bytes: float, processes: int) -> dict[str, float]:
    """Predict a step on `processes` GPUs with equal windows: {"processes", "exchange_ms", "step_ms", "efficiency"}.

    The slowest link limits the ring.  The exchange overlaps with the backward pass, except for the last bucket:
    exposed = max(exchange - 2/3 step, exchange of the last bucket).
    """
    link = NVLINK if processes <= GPUS_PER_NODE else NETWORK
    exchange = all_reduce_seconds(gradient_bytes, processes, link)
    last = all_reduce_seconds(min(gradient_bytes, LAST_BUCKET), processes, link)
    exposed = max(exchange - BACKWARD_SHARE * step_seconds, last)
    whole = step_seconds + exposed
    return {
        "processes": processes,
        "exchange_ms": 1000 * exchange,
        "step_ms": 1000 * whole,
        "efficiency": step_seconds / whole,
    }


def measure_scaling(setting: Setting) -> dict[str, Any]:
    """Measure steps of 1..N processes with one thread or GPU each: weak scaling (a batch each) and strong (shared)."""
    cuda = setting.device.type == "cuda"
    most = torch.cuda.device_count() if cuda else len(os.sched_getaffinity(0))
    counts = list(range(1, min(most, MOST_PROCESSES) + 1))
    config = changed(setting.config, workers=1)
    whole, rows = setting.data.plan.batch_size, []
    for count in counts:
        for kind, batch in (("weak", whole * count), ("strong", whole)):
            if batch < count or (kind, count) == ("strong", 1):
                continue
            shared = changed(config, batch_size=batch, micro_batch=-(-batch // count))
            answers = run_worker("steps", setting, shared, count)
            seconds = max(answer["seconds"] for answer in answers)
            rows.append({"kind": kind, "processes": count, "ms": 1000 * seconds, "rate": batch / seconds})
    single = rows[0]["rate"]
    for row in rows:
        row["efficiency"] = row["rate"] / single / row["processes"]
    weak = [row for row in rows if row["kind"] == "weak"][-1]
    gradient_bytes = 4 * sum(weight.numel() for weight in setting.model.parameters())
    return {
        "ours": weak["rate"],
        "reference": single * weak["processes"],  # the rate without any interference
        "ratio": weak["efficiency"],
        "unit": "windows/s",
        "fraction_of_floor": weak["efficiency"],
        "ms": weak["ms"],
        "gradient_bytes": gradient_bytes,
        "measured": rows,
        "predicted": [predict(rows[0]["ms"] / 1000, gradient_bytes, count) for count in PREDICTED],
        "links": {"nvlink": asdict(NVLINK), "network": asdict(NETWORK)},
    }
