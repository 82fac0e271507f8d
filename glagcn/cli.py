"""The commands: `main_sagcn_gpus.py`, and `glagcn` with the verbs beside training."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from glagcn import __version__, launcher
from glagcn.config import Config, Parser, add_options, comma_separated, parse_command_line, resolve
from glagcn.errors import UserError

EVALUATION_OPTIONS = {
    "dataset", "root_path", "cache_dir", "annotation", "keypoints", "test_flip", "test_frames", "output", "workers",
}  # fmt: skip


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
    """Run a command; a UserError becomes one message for all ranks, and exit code 2."""
    try:
        work()
    except UserError as error:
        launcher.report(error)
        if launcher.world_size() > 1:
            launcher.leave_after_failure(2)
        return 2
    except Exception:
        if launcher.world_size() > 1:
            launcher.leave_after_failure(1)
        raise
    return 0


def _run(config: Config, origin: dict[str, str]) -> None:
    from glagcn.engine import numerics
    from glagcn.engine.ranks import Ranks
    from glagcn.engine.run_evaluation import run_evaluation
    from glagcn.engine.run_training import train

    ranks = Ranks(config)
    config = numerics.set_up(config, ranks.device)
    (run_evaluation if config.evaluate else train)(config, origin, ranks)
    ranks.close()  # only now: it waits for every rank, and after an error some may never come


def _parser() -> Parser:
    parser = Parser(prog="glagcn", description="Verbs beside training. Train with main_sagcn_gpus.py.")
    parser.add_argument("--version", action="version", version=f"glagcn {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    prepare = verbs.add_parser("prepare", help="make the cache of a data set from its published files")
    prepare.add_argument("dataset", choices=("3dhp",))
    source = prepare.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--raw", type=Path, metavar="DIR", help="the official release: S1..S8 and mpi_inf_3dhp_test_set"
    )
    source.add_argument("--npz", type=Path, metavar="DIR", help="data_train_3dhp.npz and data_test_3dhp.npz, or *_ori")
    prepare.add_argument("--annotation", choices=("univ", "annot3"), help="3D reference (default univ, *_ori: annot3)")
    prepare.add_argument(
        "--cameras",
        type=comma_separated(int),
        default=argparse.SUPPRESS,
        metavar="0,1,...",
        help="default: the eight that everyone uses",
    )
    prepare.add_argument("--out", type=Path, metavar="FILE", help="default: 3dhp_gt_<annotation>[_cam...].h5 in DIR")
    prepare.set_defaults(verb=_prepare)

    evaluate = verbs.add_parser("evaluate", help="score a checkpoint on a test set")
    evaluate.add_argument(
        "evaluate",
        metavar="CHECKPOINT",
        help="last.pt, best.pt, an export, or a published file of the data set's joints",
    )
    add_options(evaluate, EVALUATION_OPTIONS)
    evaluate.set_defaults(verb=_evaluate)

    export = verbs.add_parser("export", help="write a checkpoint's weights without the optimiser")
    export.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    export.add_argument("--out", type=Path, required=True, metavar="FILE")
    export.set_defaults(verb=_export)
    return parser


def _prepare(options: dict) -> None:
    from glagcn.data.prepare import prepare_3dhp

    options.pop("dataset")
    path = prepare_3dhp(**options)
    annotation = path.name.removeprefix("3dhp_gt_").removesuffix(".h5")
    if annotation in ("univ", "annot3"):  # the name that training looks for
        chosen = "" if annotation == "univ" else f" --annotation {annotation}"
        print(f"Train with: accelerate launch main_sagcn_gpus.py --dataset 3dhp --root_path {path.parent}{chosen}")


def _evaluate(options: dict) -> None:
    from glagcn.engine import checkpoint
    from glagcn.engine.published import check_is_zip

    path = Path(options["evaluate"])
    check_is_zip(path)  # a bad path is the first thing to say
    if content := checkpoint.load_ours(path):
        trained = content["config"]
        if options.get("dataset", trained.get("dataset")) == trained.get("dataset"):
            options = {name: trained.get(name) for name in ("dataset", "keypoints", "annotation")} | options
    _run(*resolve(options))


def _export(options: dict) -> None:
    from glagcn.engine import checkpoint

    checkpoint.export(options["checkpoint"], options["out"])
    print(f"{options['out']}: the weights of {options['checkpoint']}, for sharing")


if __name__ == "__main__":
    sys.exit(main())
