"""The commands: `main_sagcn_gpus.py`, and `glagcn` with the verbs beside training."""

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glagcn import __version__, launcher
from glagcn.config import Config, from_dict, parse_command_line, resolve
from glagcn.errors import UserError
from glagcn.options import Parser, add_options, comma_separated

EVALUATION_OPTIONS = {
    "dataset", "root_path", "cache_dir", "annotation", "keypoints", "subjects_test", "actions", "downsample",
    "architecture", "test_flip", "test_frames", "by_subject", "output", "workers",
}  # fmt: skip
PARTS_HELP = (
    "all: all but gpu, which measures three models on a GPU in at most four minutes, and stream, which writes ten "
    "times the data (3.7 GB) into a temporary folder"
)
BENCH_OPTIONS = {"channels", "frames", "batch_size", "precision", "compile", "sequence_layers", "head", "workers"}
# A model and a batch that two CPU cores measure in minutes; the input and the step of the published recipe.
BENCH_DEFAULTS = {
    "frames": 27, "channels": 32, "batch_size": 128, "optimizer": "adam", "relative_input": False, "dropout": 0.1,
    "turn": 0.0, "tilt": 0.0, "roll": 0.0, "distance": 0.0,
}  # fmt: skip
GPU_BENCH_OPTIONS = {"precision", "workers"}  # models and batches are its own, as the trainer's defaults train them
# What an evaluation takes from the training of a checkpoint of the same data set, where no flag says otherwise.
SAME_DATA = ("dataset", "keypoints", "annotation", "subjects_test", "actions", "downsample")


def train_main(arguments: list[str] | None = None) -> int:
    """The trainer's command; -> its exit code: 0, or 2 after a message about something the user gave."""

    def work() -> None:
        _run(*parse_command_line(arguments))

    return _speak(work)


def main(arguments: list[str] | None = None) -> int:
    """The `glagcn` command; -> its exit code."""

    def work() -> None:
        options = vars(_parser().parse_args(arguments))
        options.pop("verb")(options)

    return _speak(work)


def _speak(work: Callable[[], None]) -> int:
    """Run a command; a UserError becomes one message for all ranks, and exit code 2.  One of many ends in here."""
    launcher.spin_briefly()
    code, one_of_many = 0, launcher.world_size() > 1
    try:
        work()
    except UserError as error:
        launcher.report(error)
        code = 2
    except Exception:
        if not one_of_many:
            raise
        traceback.print_exc()
        code = 1
    if one_of_many:
        launcher.leave(code)
    return code


def _run(config: Config, origin: dict[str, str]) -> None:
    from glagcn.engine import allocator, numerics
    from glagcn.engine.ranks import Ranks
    from glagcn.engine.run_evaluation import run_evaluation
    from glagcn.engine.run_render import render
    from glagcn.engine.run_training import train

    allocator.keep_memory()
    ranks = Ranks(config)
    config = numerics.set_up(config, ranks.device)
    work = render if config.render else run_evaluation if config.evaluate else train
    work(config, origin, ranks)
    ranks.close()  # only now: it waits for every rank, and after an error some may never come


def _parser() -> Parser:
    parser = Parser(prog="glagcn", description="Verbs beside training. Train with main_sagcn_gpus.py.")
    parser.add_argument("--version", action="version", version=f"glagcn {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    prepare = verbs.add_parser("prepare", help="make the cache of a data set from its published files")
    prepare.add_argument("dataset", choices=("3dhp", "h36m", "humaneva15"))
    source = prepare.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--raw", type=Path, metavar="DIR", help="the official release: S1..S8 and mpi_inf_3dhp_test_set"
    )
    source.add_argument(
        "--npz",
        type=Path,
        metavar="DIR",
        help="3dhp: data_train_3dhp.npz and data_test_3dhp.npz, or *_ori; h36m and humaneva15: "
        "data_3d_DATASET.npz and data_2d_DATASET_KEYPOINTS.npz",
    )
    prepare.add_argument("-k", "--keypoints", default="gt", metavar="NAME", help="2D source, such as cpn_ft_h36m_dbb")
    prepare.add_argument(
        "--annotation", choices=("univ", "annot3"), help="3dhp: 3D reference (default univ, *_ori: annot3)"
    )
    prepare.add_argument(
        "--cameras",
        type=comma_separated(int),
        metavar="0,1,...",
        help="3dhp: default the eight that everyone uses",
    )
    prepare.add_argument(
        "--out", type=Path, metavar="FILE", help="default in DIR: DATASET_KEYPOINTS[_ANNOTATION][_cam...].h5"
    )
    prepare.set_defaults(verb=_prepare)

    evaluate = verbs.add_parser("evaluate", help="score a checkpoint on a test set")
    evaluate.add_argument(
        "evaluate",
        metavar="CHECKPOINT",
        help="last.pt, best.pt, an export, or a published file of the data set's joints",
    )
    add_options(evaluate, Config, EVALUATION_OPTIONS)
    evaluate.set_defaults(verb=_evaluate)

    export = verbs.add_parser("export", help="write a checkpoint's weights without the optimiser")
    export.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    export.add_argument(
        "--layout",
        choices=("ours", "published"),
        default="ours",
        help="published: what the published code reads (FILE.bin with model_pos, or FILE.pth)",
    )
    export.add_argument("--out", type=Path, required=True, metavar="FILE")
    export.set_defaults(verb=_export)
    _add_bench(verbs)
    _add_study(verbs)
    return parser


def _add_bench(verbs: Any) -> None:
    bench = verbs.add_parser("bench", help="measure this machine: ours, the plain way, and the hardware's limits")
    bench.add_argument(
        "part", choices=("input", "step", "eval", "startup", "scaling", "stream", "gpu", "all"), help=PARTS_HELP
    )
    bench.add_argument(
        "--dataset_scale",
        "--dataset-scale",
        choices=("demo", "3dhp"),
        help="how much data: the demo, or sequences as many and as long as in MPI-INF-3DHP (370 MB; the default, but "
        "for gpu)",
    )
    bench.add_argument("--repeats", type=int, default=5, metavar="N", help="rounds that a median is of (default 5)")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    bench.add_argument("--profile", action="store_true", help="step: which operators the time goes to, of both ways")
    add_options(bench, Config, BENCH_OPTIONS)
    bench.set_defaults(verb=_bench)


def _add_study(verbs: Any) -> None:
    study = verbs.add_parser("study", help="train several configurations with the same seeds, and compare them")
    study.add_argument("file", type=Path, metavar="FILE", help="the study: configurations and seeds, in TOML")
    study.add_argument("--out", type=Path, metavar="DIR", help="runs and results (default study/NAME, as the file)")
    study.add_argument(
        "--jobs", type=int, metavar="N", help="runs at the same time (default one for each CUDA device, or 1)"
    )
    study.add_argument("--root_path", "--root-path", metavar="DIR", help="where the data is, instead of FILE's")
    study.add_argument(
        "--only", type=comma_separated(str), metavar="NAME,...", help="run these configurations; report all"
    )
    study.set_defaults(verb=_study)


def _prepare(options: dict) -> None:
    dataset = options.pop("dataset")
    given = {name: value for name, value in options.items() if value is not None}
    if dataset == "3dhp":
        path, named, chosen = _prepare_3dhp(given)
    else:
        path, named, chosen = _prepare_videopose3d(dataset, given)
    if path.name == named:  # the name that training looks for
        root = path.parent
        print(f"Train with: accelerate launch main_sagcn_gpus.py --dataset {dataset} --root_path {root}{chosen}")


def _prepare_3dhp(given: dict) -> tuple[Path, str, str]:
    """-> the cache, the name it must have to be found by training, and the flags that choose it there."""
    from glagcn.data.prepare import prepare_3dhp

    keypoints = given.pop("keypoints")
    if keypoints != "gt":
        raise UserError(f"--keypoints {keypoints}: 3dhp has one 2D source, gt; others are for h36m and humaneva15")
    path = prepare_3dhp(**given)
    annotation = "annot3" if path.name == "3dhp_gt_annot3.h5" else "univ"
    return path, f"3dhp_gt_{annotation}.h5", "" if annotation == "univ" else f" --annotation {annotation}"


def _prepare_videopose3d(dataset: str, given: dict) -> tuple[Path, str, str]:
    """The same for h36m and humaneva15."""
    from glagcn.data.prepare import prepare_videopose3d

    foreign = [f"--{name}" for name in ("raw", "annotation", "cameras") if name in given]
    if foreign:
        raise UserError(
            f"{', '.join(foreign)}: for 3dhp only; {dataset} is read from VideoPose3D's files, all cameras: "
            f"glagcn prepare {dataset} --npz DIR [-k NAME] [--out FILE]"
        )
    keypoints = given["keypoints"]
    path = prepare_videopose3d(dataset, **given)
    return path, f"{dataset}_{keypoints}.h5", "" if keypoints == "gt" else f" -k {keypoints}"


def _evaluate(options: dict) -> None:
    from glagcn.engine import checkpoint
    from glagcn.engine.published import check_is_zip

    path = Path(options["evaluate"])
    check_is_zip(path)  # a bad path is the first thing to say
    if content := checkpoint.load_ours(path):
        trained = content["config"]
        if options.get("dataset", trained.get("dataset")) == trained.get("dataset"):
            held = from_dict(trained)
            options = {name: getattr(held, name) for name in SAME_DATA} | options
    _run(*resolve(options))


def _export(options: dict) -> None:
    from glagcn.engine import checkpoint
    from glagcn.engine.published_export import export_published

    write = export_published if options["layout"] == "published" else checkpoint.export
    write(options["checkpoint"], options["out"])
    print(f"{options['out']}: the weights of {options['checkpoint']}, for sharing")


def _bench(options: dict) -> None:
    part, repeats, json_file, profile = (options.pop(name) for name in ("part", "repeats", "json", "profile"))
    scale = options.pop("dataset_scale", None) or ("demo" if part == "gpu" else "3dhp")
    foreign = [f"--{name}" for name in sorted(options.keys() - GPU_BENCH_OPTIONS)] if part == "gpu" else []
    if foreign:
        raise UserError(
            f"{', '.join(foreign)}: glagcn bench gpu measures models and batches of its own; it takes --precision, "
            "--workers, --repeats, --dataset_scale and --json"
        )
    config, _ = resolve(({} if part == "gpu" else BENCH_DEFAULTS) | {"dataset": scale} | options)

    from glagcn.bench.run import run_bench

    print(run_bench(part, config, repeats, json_file, profile))


def _study(options: dict) -> None:
    from glagcn.study.run import run_study

    run_study(options["file"], options["out"], options["jobs"], options["root_path"], options["only"], say=_say)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
