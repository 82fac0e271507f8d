"""`glagcn bench`: measure the requested parts."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from glagcn.bench.gpu.command import run_gpu
from glagcn.bench.launched.scaling import measure_scaling
from glagcn.bench.launched.startup import measure_startup
from glagcn.bench.launched.streaming import measure_streaming
from glagcn.bench.parts import measure_evaluation, measure_input, measure_step
from glagcn.bench.profile import profile_step
from glagcn.bench.report import table, write_report
from glagcn.bench.setting import open_setting
from glagcn.config.config import Config
from glagcn.config.resolve import to_dict
from glagcn.distributed import launcher, tuning
from glagcn.distributed.machine import describe
from glagcn.errors import UserError

PARTS = {
    "input": measure_input,
    "step": measure_step,
    "eval": measure_evaluation,
    "startup": measure_startup,
    "scaling": measure_scaling,
    "stream": measure_streaming,
}
BY_NAME_ONLY = {"stream"}  # it writes gigabytes
DEFAULT_ALLOCATOR = {"input"}  # measured first: the plain loader uses the default memory allocator
REPORTED = ("batch_size", "channels", "compile", "frames", "head", "precision", "sequence_layers")


def run_bench(part: str, config: Config, repeats: int, json_file: Path | None, profile: bool = False) -> str:
    """Measure one part or "all".  Returns the table.

    config   options of the trainer; the data set, "demo" or "3dhp", is the scale.
    repeats  rounds per median.
    profile  also profile the operators; only for the part "step".
    Raises UserError for invalid options or a file that cannot be written.
    """
    if launcher.world_size() > 1:
        raise UserError("glagcn bench starts its own processes; call it without torchrun or accelerate launch")
    if repeats < 1:
        raise UserError(f"invalid --repeats {repeats}: must be at least 1")
    if config.model.head == "mixed":
        raise UserError("invalid --head mixed: the reference has shared and unshared heads only")
    if profile and part != "step":
        raise UserError(f"--profile has no effect on the part {part}; give the part step")
    if part == "gpu":
        return run_gpu(config, repeats, json_file)
    with open_setting(config, repeats) as setting:
        results: dict[str, dict[str, Any]] = {}
        for name, measure in PARTS.items():
            if part == name or (part == "all" and name not in BY_NAME_ONLY):
                if name not in DEFAULT_ALLOCATOR:
                    tuning.keep_memory()  # as training does
                results[name] = measure(setting)
        if profile:
            results["step"]["profile"] = profile_step(setting)
        report = {
            "machine": describe(setting.device),
            "peaks": asdict(setting.peaks),
            "options": {name: to_dict(setting.config)[name] for name in REPORTED}
            | {"dataset_scale": config.data.dataset, "repeats": repeats},
            "results": results,
        }
    if "input" in results and "step" in results:
        # The step is on the same number of windows.
        results["input"]["share_of_step"] = results["step"]["ours"] / results["input"]["ours"]
    if json_file:
        write_report(report, json_file)
    return table(report)
