"""Start-up time from the end of the imports to the end of the first step, in new processes."""

from statistics import median
from typing import Any

from glagcn.bench.launched.processes import run_worker
from glagcn.bench.setting import Setting

MOST_REPEATS = 3  # a start takes seconds


def measure_startup(setting: Setting) -> dict[str, Any]:
    """Seconds to the first step, checksums included; the ratio is the reference's time over ours."""
    answers: dict[str, list[dict[str, Any]]] = {"ours": [], "reference": []}
    for _ in range(min(setting.repeats, MOST_REPEATS)):
        for name, given in answers.items():
            given += run_worker(name, setting, setting.config)
    seconds = {name: median(answer["seconds"] for answer in given) for name, given in answers.items()}
    memory = {name: max(answer["peak_memory_bytes"] for answer in given) for name, given in answers.items()}
    floor = setting.data.cache.path.stat().st_size / setting.peaks.bytes
    return {
        "ours": seconds["ours"],
        "reference": seconds["reference"],
        "ratio": seconds["reference"] / seconds["ours"],
        "unit": "s to the first step",
        "fraction_of_floor": floor / seconds["ours"],  # of reading the cache once
        "ms": 1000 * seconds["ours"],
        "floor_ms": 1000 * floor,
        "import_seconds": median(answer["import_seconds"] for answer in answers["ours"]),
        "peak_memory_bytes": memory["ours"],
        "reference_peak_memory_bytes": memory["reference"],
    }
