"""Write the result files of an evaluation."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from glagcn import dist
from glagcn.config.options import Config
from glagcn.data.cache.reader import Cache
from glagcn.evaluation.benchmark import Evaluation
from glagcn.files import write_text
from glagcn.machine import describe, program


def write_results(evaluation: Evaluation, folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Write result.json and the files of the benchmark.  Returns the content of result.json.

    about  further entries of result.json: the checkpoint, the data, warnings.
    """
    evaluation.benchmark.write(evaluation, folder)
    result = _without_nan(evaluation.metrics | about)
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    write_text(folder / "result.json", text)
    return result


def about_evaluation(config: Config, cache: Cache, path: Path) -> dict[str, Any]:
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
        "processes": dist.world_size(),
        "program": program(),
        "machine": describe(dist.device()),
        "warnings": [],
    }


def _without_nan(value: Any) -> Any:
    """`value` with NaN replaced by None, because JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
