"""`glagcn bench gpu`: measures the training speed of the papers' models on a GPU, in at most four minutes.

Eager measurements come first, compiled ones last.  The JSON file is written after every entry, so that a killed bench
keeps its results.  A failed measurement becomes an entry with its error.
"""

import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from glagcn.bench.gpu.steps import cuda_peak, measure_ours, measure_reference
from glagcn.bench.parts import measure_evaluation, measure_input
from glagcn.bench.report import columns, heading, write_report
from glagcn.bench.setting import Setting
from glagcn.bench.synthetic_data import make_cache
from glagcn.config.config import Config
from glagcn.config.presets import tuned_rate
from glagcn.config.resolve import changed, to_dict
from glagcn.data.cache.reader import Cache
from glagcn.distributed import precision
from glagcn.distributed.machine import describe
from glagcn.distributed.ranks import Ranks
from glagcn.errors import UserError
from glagcn.model.floor import Peaks
from glagcn.training.hardware.peaks import measure_peaks
from glagcn.training.setup import build_model, load_data

LIMIT_S = 230  # no measurement starts later
QUICK_S, COMPILED_S = 10, 75  # expected time of a measurement, until a compiled one has taken longer
OTHER_REPEATS = 2  # rounds of input and evaluation
CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
HEAD = (
    "model", "way", "windows", "windows/s", "plain", "of floor", "ms", "host ms", "kernels", "peak GB", "first step, s",
)  # fmt: skip

Entry = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A model to measure, and how many windows a step takes: all of `batches`, in parts of `micro_batch`.

    name  channels/frames, and the form of the model.
    """

    name: str
    channels: int
    frames: int
    batches: tuple[int, ...] = (150,)
    micro_batch: int = 150
    sequence_layers: int = 3
    head: str = "unshared"

    def config(self, config: Config) -> Config:
        """The options of `config` with this model and the largest batch."""
        return changed(
            config,
            channels=self.channels,
            frames=self.frames,
            sequence_layers=self.sequence_layers,
            head=self.head,
            batch_size=max(self.batches),
            micro_batch=self.micro_batch,
            lr=tuned_rate(self.channels),
        )


CASES = (
    Case("256/81 full", 256, 81, batches=(150, 1200)),  # a GPU's share of the published batch, and all of it
    Case("96/243 public", 96, 243, sequence_layers=0, head="shared"),
    Case("32/27 full", 32, 27),
)


def run_gpu(config: Config, repeats: int, json_file: Path | None) -> str:
    """Measure `CASES` on the GPU.  Returns the table.  Raises UserError without a GPU."""
    if not torch.cuda.is_available():
        raise UserError("glagcn bench gpu needs a CUDA device, and there is none; glagcn bench all measures a CPU")
    return table(measure_gpu(config, repeats, CASES, json_file))


def measure_gpu(config: Config, repeats: int, cases: tuple[Case, ...], json_file: Path | None = None) -> dict[str, Any]:
    """Measure every case in every way, on a GPU (or a CPU, for tests).  Returns the report, also written to a file."""
    began, longest = time.monotonic(), float(COMPILED_S)
    ranks = Ranks(config.run.workers)
    config = changed(config, precision=precision.set_up(config.optim, ranks.device))
    with tempfile.TemporaryDirectory(prefix="glagcn_bench_", ignore_cleanup_errors=True) as folder, cold(folder):
        cache = make_cache(config.data.dataset, Path(folder))
        peaks = {"training": measure_peaks(ranks.device, config.optim.precision)}
        with precision.full_precision():
            peaks["float32"] = measure_peaks(ranks.device, "fp32")
        report: dict[str, Any] = {
            "machine": describe(ranks.device),
            "peaks": {name: asdict(each) for name, each in peaks.items()},
            "options": {name: to_dict(config)[name] for name in ("precision", "optimizer", "dataset")}
            | {"repeats": repeats},
            "results": [],
        }

        def keep() -> None:
            report["seconds"] = time.monotonic() - began
            if json_file:
                write_report(report, json_file)

        keep()  # report an unwritable file before measuring
        plan = [(case, way) for case in cases for way in WAYS if way != "compiled"]
        for case, way in plan + [(case, "compiled") for case in cases if "compiled" in WAYS]:
            now = time.monotonic()
            if now - began + (longest if way == "compiled" else QUICK_S) > LIMIT_S:
                found = [{"error": f"left out: {now - began:.0f} of {LIMIT_S} s were over"}]
            else:
                given = Given(case.config(config), repeats, ranks, cache, peaks)
                found = attempt(partial(WAYS[way], case, given))
                longest = max(longest, time.monotonic() - now if way == "compiled" else 0.0)
            clear(ranks.device, compiled=way == "compiled")
            about = asdict(case) | {"batches": list(case.batches), "way": way}
            report["results"] += [about | entry for entry in found]
            keep()
    return report


@dataclass(frozen=True)
class Given:
    """The input of every measurement."""

    config: Config
    repeats: int
    ranks: Ranks
    cache: Cache
    peaks: dict[str, Peaks]

    def setting(self, peaks: str = "training") -> Setting:
        """A new model and the data, with the peak rates of "training" or "float32"."""
        data = load_data(self.config, self.ranks, self.cache)
        model = build_model(self.config, data).to(self.ranks.device)
        return Setting(self.config, self.repeats, self.ranks, data, model, self.peaks[peaks])


def _input(case: Case, given: Given) -> list[Entry]:  # noqa: ARG001
    given = replace(given, repeats=min(given.repeats, OTHER_REPEATS))
    return [_beside(measure_input(given.setting()), given)]


def _evaluation(case: Case, given: Given) -> list[Entry]:  # noqa: ARG001
    given = replace(given, repeats=min(given.repeats, OTHER_REPEATS))
    return [_beside(measure_evaluation(given.setting("float32")), given)]


def _beside(result: dict[str, Any], given: Given) -> Entry:
    """Convert a result of another part to an entry of this report."""
    kept = ("windows", "fraction_of_floor", "ms", "ratio")
    return {
        "windows_per_second": result["ours"],
        "reference_windows_per_second": result["reference"],
        "peak_memory_bytes": cuda_peak(given.ranks.device),
    } | {name: result[name] for name in kept}


# In the order of the table; compiled ones are measured last.
WAYS: dict[str, Callable[[Case, Given], list[Entry]]] = {
    "compiled": lambda case, given: measure_ours(given.setting(), case.batches, compiled=True),
    "eager": lambda case, given: measure_ours(given.setting(), case.batches, compiled=False),
    "reference float32": lambda case, given: [measure_reference(given.setting(), case.batches[0], tf32=False)],
    "reference TF32": lambda case, given: [measure_reference(given.setting(), case.batches[0], tf32=True)],
    "input": _input,
    "evaluation": _evaluation,
}


def attempt(measure: Callable[[], list[Entry]]) -> list[Entry]:
    """The result of `measure`, or an entry with its error, so that the other measurements continue."""
    try:
        return measure()
    except Exception as error:  # noqa: BLE001
        lines = str(error).strip().splitlines() or ["no message"]
        return [{"error": f"{type(error).__name__}: {lines[0][:200]}"}]


def clear(device: torch.device, compiled: bool) -> None:
    """Free the memory, compiled code and CUDA graphs of a measurement."""
    gc.collect()
    if compiled:
        torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


@contextmanager
def cold(folder: str) -> Iterator[None]:
    """Use empty compiler caches in `folder`, so that the first step includes compilation."""
    before = {name: os.environ.get(name) for name in CACHES}
    os.environ |= {name: str(Path(folder) / name.lower()) for name in CACHES}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def table(report: dict[str, Any]) -> str:
    """The entries as a table, model by model, below a description of the machine."""
    order, ways = list(dict.fromkeys(entry["name"] for entry in report["results"])), list(WAYS)
    entries = sorted(report["results"], key=lambda entry: (order.index(entry["name"]), ways.index(entry["way"])))
    head = heading(report["machine"], report["peaks"]["training"])
    errors = [f"{entry['name']}, {entry['way']}: {entry['error']}" for entry in entries if "error" in entry]
    return "\n".join([head, *columns([HEAD, *map(_row, entries)]), *([""] if errors else []), *errors])


def _row(entry: Entry) -> tuple[str, ...]:
    def cell(name: str, scale: float = 1.0, form: str = ".1f") -> str:
        value = entry.get(name)
        return "-" if value is None else format(value / scale, form)

    return (
        entry["name"],
        entry["way"],
        cell("windows", form=",.0f"),
        cell("windows_per_second", form=",.0f"),
        cell("reference_windows_per_second", form=",.0f"),
        cell("fraction_of_floor", 0.01) + " %" if "fraction_of_floor" in entry else "failed",
        cell("ms"),
        cell("host_ms"),
        cell("kernels", form=",.0f"),
        cell("peak_memory_bytes", 1e9, ".2f"),
        cell("seconds_to_first_step"),
    )
