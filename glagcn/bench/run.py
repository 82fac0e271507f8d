"""`glagcn bench`: measure the parts that were asked for."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from glagcn.bench.gpu.command import run_gpu
from glagcn.bench.launched.scaling import measure_scaling
from glagcn.bench.launched.startup import measure_startup
from glagcn.bench.launched.streaming import measure_streaming
from glagcn.bench.machine import describe
from glagcn.bench.parts import measure_evaluation, measure_input, measure_step
from glagcn.bench.profile import profile_step
from glagcn.bench.report import table, write_report
from glagcn.bench.setting import open_setting
from glagcn.config.config import Config
from glagcn.config.resolve import to_dict
from glagcn.distributed import launcher, tuning
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
AS_PUBLISHED = {"input"}  # it comes first: the plain loader runs with memory as the system gives it
ASKED = ("batch_size", "channels", "compile", "frames", "head", "precision", "sequence_layers")


def run_bench(part: str, config: Config, repeats: int, json_file: Path | None, profile: bool = False) -> str:
    """Measure one part or "all"; -> the table.

    config   of the trainer, its data set "demo" or "3dhp": the scale.
    repeats  rounds that medians are taken of.
    profile  list the operators that the step spends its time in; only for the part "step".
    Raises UserError for invalid options and for a file that cannot be written.
    """
    if launcher.world_size() > 1:
        raise UserError(
            "glagcn bench starts the processes that it needs; call it without torchrun or accelerate launch"
        )
    if repeats < 1:
        raise UserError(f"invalid --repeats {repeats}: must be at least 1")
    if config.model.head == "mixed":
        raise UserError("invalid --head mixed: the reference has shared and unshared heads only")
    if profile and part != "step":
        raise UserError(f"--profile shows the operators of a training step and needs the part step, not {part}")
    if part == "gpu":
        return run_gpu(config, repeats, json_file)
    with open_setting(config, repeats) as setting:
        results: dict[str, dict[str, Any]] = {}
        for name, measure in PARTS.items():
            if part == name or (part == "all" and name not in BY_NAME_ONLY):
                if name not in AS_PUBLISHED:
                    tuning.keep_memory()  # as training does
                results[name] = measure(setting)
        if profile:
            results["step"]["profile"] = profile_step(setting)
        report = {
            "machine": describe(setting.device),
            "peaks": asdict(setting.peaks),
            "options": {name: to_dict(setting.config)[name] for name in ASKED}
            | {"dataset_scale": config.data.dataset, "repeats": repeats},
            "results": results,
        }
    if "input" in results and "step" in results:
        # A step of the same number of windows.
        results["input"]["share_of_step"] = results["step"]["ours"] / results["input"]["ours"]
    if json_file:
        write_report(report, json_file)
    return table(report)
