"""Streaming: batches of a tenfold cache, from the file and from memory, in new processes."""

import os
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from glagcn.bench.launched.processes import run_worker
from glagcn.bench.setting import Setting
from glagcn.bench.synthetic_data import RepeatedMotion
from glagcn.config.config import Config
from glagcn.config.resolve import changed
from glagcn.data.cache.reader import Split, open_cache
from glagcn.data.cache.writer import write_cache
from glagcn.data.windows.block_plan import BlockPlan
from glagcn.distributed import precision
from glagcn.distributed.ranks import Ranks
from glagcn.model.floor import input_cost
from glagcn.training.hardware.memory import resident_memory
from glagcn.training.setup import load_data

COPIES = 10  # of MPI-INF-3DHP: 3.7 GB
PIECES = 10  # per sequence, to measure with more sequences
MEASURED_GROUPS = 5
MOST_REPEATS = 3  # a round takes a minute or two
WAYS: dict[str, dict[str, Any]] = {
    "resident": {"stream": "off"},
    "streamed": {"stream": "on"},
    "from_disk": {"stream": "on", "cold": True},
    "more_sequences": {"stream": "on", "pieces": PIECES},
}


def measure_streaming(setting: Setting) -> dict[str, Any]:
    """Windows per second of streamed batches; "reference" is the rate of resident ones."""
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory(prefix="glagcn_bench_") as folder:
        path = setting.data.cache.path
        if setting.config.data.dataset == "3dhp":
            path = Path(folder) / path.name
            write_cache(path, RepeatedMotion(COPIES))
        for _ in range(min(setting.repeats, MOST_REPEATS)):
            for name, way in WAYS.items():
                config = changed(setting.config, stream=way["stream"], flip="none")
                how = {"cold": way.get("cold", False), "pieces": way.get("pieces", 1)}
                answers[name] += run_worker("batches", setting, config, cache=str(path), **how)
    rates = {name: median(answer["rate"] for answer in given) for name, given in answers.items()}
    streamed = answers["streamed"][-1]
    cost = input_cost(setting.model, streamed["windows"])
    elapsed = streamed["windows"] / rates["streamed"]
    return {
        "ours": rates["streamed"],
        "reference": rates["resident"],
        "ratio": rates["streamed"] / rates["resident"],
        "unit": "windows/s",
        "fraction_of_floor": cost.seconds(setting.peaks) / elapsed,
        "ms": 1000 * elapsed,
        "windows": streamed["windows"],
        "data_bytes": streamed["data_bytes"],
        "rates": rates,
        "sequences": [streamed["sequences"], answers["more_sequences"][-1]["sequences"]],
        "memory_bytes": streamed["memory_bytes"],
        "peak_memory_bytes": max(now["anon"] + now["file"] for now in streamed["memory_bytes"]),
    }


def measure_batches(config: Config, path: Path, cold: bool, pieces: int) -> dict[str, Any]:
    """Stream the first MEASURED_GROUPS groups of an epoch.  Returns windows per second, and the memory of this process
    before and after each group.

    cold    start without the file in the page cache.
    pieces  into which every sequence is cut.
    """
    ranks = Ranks(config.run.workers)
    config = changed(config, precision=precision.set_up(config.optim, ranks.device))
    cache = open_cache(path)  # as training does: every checksum is compared
    cache = replace(cache, train=cut(cache.train, pieces))
    if cold:
        drop_from_page_cache(path)
    data = load_data(config, ranks, cache)
    windows = min(data.plan.num_windows, MEASURED_GROUPS * BlockPlan.group_blocks * BlockPlan.block_frames)
    batches = -(-windows // data.plan.batch_size)
    stops = set(np.linspace(0, batches, MEASURED_GROUPS + 1).astype(int)[1:].tolist())
    data.train.windows(data.plan.batch(0, 0))
    memory = [resident_memory()]
    begin, made = time.perf_counter(), 0
    ids = (data.plan.batch(0, index) for index in range(batches))
    for number, batch in enumerate(data.train.stream(ids, reuse=True), 1):
        made += len(batch.inputs)
        if number in stops:
            memory.append(resident_memory())
    if ranks.device.type == "cuda":
        torch.cuda.synchronize(ranks.device)
    return {
        "rate": made / (time.perf_counter() - begin),
        "windows": made,
        "memory_bytes": memory,
        "sequences": len(cache.train.sequences),
        "data_bytes": cache.train.pixels.nbytes + cache.train.millimetres.nbytes,
    }


def cut(split: Split, pieces: int) -> Split:
    """Cut every sequence into `pieces` sequences, or into single frames if it has fewer."""
    sequences, starts = [], []
    for info, start in zip(split.sequences, split.starts.tolist(), strict=True):
        edges = np.unique(np.linspace(0, info.length, pieces + 1).astype(int)).tolist()
        for begin, end in pairwise(edges):
            sequences.append(replace(info, length=end - begin))
            starts.append(start + begin)
    return replace(split, sequences=tuple(sequences), starts=np.array(starts))


def drop_from_page_cache(path: Path) -> None:
    """Ask the system to drop a file from the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
