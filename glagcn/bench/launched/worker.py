"""Measurements in a new process: `python -m glagcn.bench.launched.worker JOB JSON`.

Prints one line of JSON.  startup.py, scaling.py and streaming.py start it; several processes get the environment
variables of a launcher.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from glagcn.config.resolve import changed
from glagcn.distributed import launcher

BEGIN = time.perf_counter()


def main(job: str, given: dict[str, Any]) -> dict[str, Any]:
    """Run one job: "ours", "reference", "steps" or "batches".  Returns the measurement."""
    from glagcn.config.resolve import from_dict
    from glagcn.distributed import tuning

    tuning.keep_memory()  # as training does
    work = {"ours": _start, "reference": _start_plainly, "steps": _steps, "batches": _batches}[job]
    return work(from_dict(given.pop("config")), Path(given.pop("cache")), **given)


def _start(config: Any, path: Path, repeats: int) -> dict[str, Any]:  # noqa: ARG001
    """Measure from the end of the imports to the end of the first step of a training run."""
    from glagcn.data.cache.reader import open_cache
    from glagcn.data.windows.plan import share
    from glagcn.distributed import precision
    from glagcn.distributed.ranks import Ranks
    from glagcn.training.hardware.memory import peak_memory
    from glagcn.training.optim.schedule import micro_batch
    from glagcn.training.setup import build_model, load_data
    from glagcn.training.step import Stepper

    imported = time.perf_counter()
    ranks = Ranks(config.run.workers)
    config = changed(config, precision=precision.set_up(config.optim, ranks.device))
    data = load_data(config, ranks, open_cache(path))
    stepper = Stepper(config.optim, ranks, build_model(config, data))
    batch = data.train.windows(data.plan.batch(0, 0))
    count = len(batch.inputs)
    stepper.gradient(batch, share(count, micro_batch(config.optim, count), 0, 1))
    norm = stepper.apply(config.optim.lr)
    if norm is not None:
        norm.item()  # the device has finished
    return _times(imported) | {"peak_memory_bytes": peak_memory(ranks.device)}


def _start_plainly(config: Any, path: Path, repeats: int) -> dict[str, Any]:  # noqa: ARG001
    """The same for the published code: float64 poses, a list with a tuple per window, then a batch and a step."""
    import numpy as np

    from glagcn.bench.reference.loader import ReferenceLoader
    from glagcn.bench.reference.model import ReferenceModel
    from glagcn.bench.reference.steps import ReferenceStepper
    from glagcn.data.cache.reader import open_cache
    from glagcn.data.windows.plan import WindowIds
    from glagcn.data.windows.store import Batch
    from glagcn.distributed.ranks import Ranks
    from glagcn.skeleton import get_skeleton
    from glagcn.training.hardware.memory import peak_memory
    from glagcn.widths import target_frame

    imported = time.perf_counter()
    device = Ranks(config.run.workers).device
    cache = open_cache(path)
    skeleton, split = get_skeleton(cache.skeleton), cache.train
    loader = ReferenceLoader(split, skeleton, config.model.frames)
    pairs = [
        (info.name, start + center, flip)
        for flip in (False, True)
        for info, start in zip(split.sequences, split.starts.tolist(), strict=True)
        for center in range(info.length)
    ]
    order = np.random.default_rng(config.optim.seed).permutation(len(pairs))[: config.optim.batch_size]
    chosen = [pairs[number] for number in order]
    ids = WindowIds(np.array([frame for _, frame, _ in chosen]), np.array([flip for *_, flip in chosen]))
    form = {"sequence_layers": config.model.sequence_layers, "head": config.model.head, "dropout": config.model.dropout}
    model = ReferenceModel(skeleton, config.model.widths, config.model.channels, **form).to(device)
    stepper = ReferenceStepper(
        model, config.optim.lr, config.optim.sequence_weight, target_frame(config.model.frames, False)
    )
    stepper.step(Batch(*(part.to(device) for part in loader.batch(ids))))
    return _times(imported) | {"peak_memory_bytes": peak_memory(device)}


def _steps(config: Any, path: Path, repeats: int) -> dict[str, Any]:
    """The median time of a step of all ranks together, every rank with its share of the global batch."""
    from glagcn.bench.measure import interleaved
    from glagcn.data.cache.reader import open_cache
    from glagcn.data.windows.plan import share
    from glagcn.distributed import precision
    from glagcn.distributed.ranks import Ranks
    from glagcn.training.optim.schedule import micro_batch, step_sizes
    from glagcn.training.setup import build_model, load_data
    from glagcn.training.step import Stepper

    ranks = Ranks(config.run.workers)
    config = changed(config, precision=precision.set_up(config.optim, ranks.device))
    data = load_data(config, ranks, open_cache(path, verify=False))
    stepper = Stepper(config.optim, ranks, build_model(config, data), step_sizes(config.optim, data.plan))
    whole = data.plan.batch(0, 0)
    count = len(whole.frames)
    mine = share(count, micro_batch(config.optim, count), ranks.rank, ranks.world_size)
    batch = data.train.windows(whole.part(mine.begin, mine.end))
    stepper.model.train()

    def step() -> None:
        stepper.gradient(batch, mine)
        stepper.apply(config.optim.lr)

    elapsed = interleaved({"step": step}, repeats, ranks.device, warm_up=2)["step"]
    answer = {"rank": ranks.rank, "seconds": elapsed, "windows": len(whole.frames)}
    ranks.close()
    return answer


def _batches(config: Any, path: Path, repeats: int, **given: Any) -> dict[str, Any]:  # noqa: ARG001
    """The batches of an epoch, streamed or not, without a model."""
    from glagcn.bench.launched.streaming import measure_batches

    return measure_batches(config, path, **given)


def _times(imported: float) -> dict[str, float]:
    return {"import_seconds": imported - BEGIN, "seconds": time.perf_counter() - imported}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))) + "\n")
    launcher.leave(0)
