"""Write the result files of an evaluation."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from glagcn.config.options import Config
from glagcn.data.cache.reader import Cache
from glagcn.distributed.machine import describe, program
from glagcn.distributed.ranks import Ranks
from glagcn.evaluation.benchmark import Evaluation
from glagcn.files import write_text

NOT_A_GPU = dict.fromkeys(("machine.gpu", "machine.cuda"), "the device is not a GPU")


def write_results(evaluation: Evaluation, folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Write result.json and the files of the benchmark.  Returns the content of result.json.

    about  further entries of result.json: the checkpoint, the data, warnings; "reasons" explains entries that are None.

    "reasons" of result.json gives a reason for each null, by its path, such as "actions.Walking.velocity_mm".
    """
    evaluation.benchmark.write(evaluation, folder)
    result = _without_nan(evaluation.metrics | about)
    result["reasons"] = _reasons(result, NOT_A_GPU | about.get("reasons", {}))
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    write_text(folder / "result.json", text)
    return result


def about_evaluation(config: Config, cache: Cache, path: Path, ranks: Ranks) -> dict[str, Any]:
    """The entries of result.json that describe the checkpoint at `path`, the data and the settings."""
    return {
        "checkpoint": str(path),
        "dataset": cache.dataset,
        "keypoints": cache.keypoints,
        "annotation": cache.annotation,
        "skeleton": cache.skeleton,
        "data_fingerprint": cache.fingerprint,
        "flip": config.data.test_flip,
        "all_frames": config.selection.test_frames is None,
        "simulated_detections": config.selection.test_detections or "none",
        "processes": ranks.world_size,
        "program": program(),
        "machine": describe(ranks.device),
        "warnings": [],
    }


def _without_nan(value: Any) -> Any:
    """`value` with NaN replaced by None, because JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value


def _reasons(entries: dict[str, Any], known: dict[str, str], path: str = "") -> dict[str, str]:
    """A reason for each null in nested entries, by its path; `known` has those that are not about scored frames."""
    reasons: dict[str, str] = {}
    for key, value in entries.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            reasons |= _reasons(value, known, here)
        elif value is None:
            empty = entries.get("frames") == 0 or "velocity" not in key
            frames = "no frame was scored" if empty else "no two consecutive frames were scored"
            reasons[here] = known.get(here, frames)
    return reasons
