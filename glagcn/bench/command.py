"""The arguments of `glagcn bench`.  Does not import torch, so that `--help` is fast."""

from pathlib import Path
from typing import Any

from glagcn.config.config import GROUPS
from glagcn.config.parser import add_options
from glagcn.config.resolve import resolve
from glagcn.errors import UserError

PARTS_HELP = (
    "all: every part except gpu (three models on a GPU, at most four minutes) and stream (writes 3.7 GB, ten times the "
    "data, to a temporary folder)"
)


BENCH_OPTIONS = {"channels", "frames", "batch_size", "precision", "compile", "sequence_layers", "head", "workers"}


# A small model and batch, measured on two CPU cores in minutes, with input and step of the published recipe.
BENCH_DEFAULTS = {
    "frames": 27, "channels": 32, "batch_size": 128, "optimizer": "adam", "relative_input": False, "dropout": 0.1,
    "turn": 0.0, "tilt": 0.0, "roll": 0.0, "distance": 0.0,
}  # fmt: skip


GPU_BENCH_OPTIONS = {"precision", "workers"}  # models and batch sizes are fixed, with the trainer's defaults


def add_bench(verbs: Any) -> None:
    """Add the verb and its arguments to the subparsers `verbs`."""
    bench = verbs.add_parser(
        "bench", help="measure this machine's speed, beside a plain reference and the hardware's limits"
    )
    bench.add_argument(
        "part", choices=("input", "step", "eval", "startup", "scaling", "stream", "gpu", "all"), help=PARTS_HELP
    )
    bench.add_argument(
        "--dataset_scale",
        "--dataset-scale",
        choices=("demo", "3dhp"),
        help="amount of data: the demo, or synthetic data of the size of MPI-INF-3DHP (370 MB; default for all parts "
        "except gpu)",
    )
    bench.add_argument("--repeats", type=int, default=5, metavar="N", help="rounds per median (default 5)")
    bench.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    bench.add_argument(
        "--profile", action="store_true", help="step: list the most expensive operators, ours and the reference's"
    )
    add_options(bench, *GROUPS.values(), keys=BENCH_OPTIONS)
    bench.set_defaults(verb=_bench)


def _bench(options: dict) -> None:
    part, repeats, json_file, profile = (options.pop(name) for name in ("part", "repeats", "json", "profile"))
    scale = options.pop("dataset_scale", None) or ("demo" if part == "gpu" else "3dhp")
    foreign = [f"--{name}" for name in sorted(options.keys() - GPU_BENCH_OPTIONS)] if part == "gpu" else []
    if foreign:
        raise UserError(
            f"{', '.join(foreign)}: no effect on glagcn bench gpu, whose models and batch sizes are fixed; it takes "
            "--precision, --workers, --repeats, --dataset_scale and --json"
        )
    config, _ = resolve(({} if part == "gpu" else BENCH_DEFAULTS) | {"dataset": scale} | options)

    from glagcn.bench.run import run_bench

    print(run_bench(part, config, repeats, json_file, profile))
