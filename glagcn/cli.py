"""Entry points: `main_sagcn_gpus.py`, and `glagcn` with all commands."""

import logging
import re
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glagcn import dist, signals
from glagcn.commands.export import export
from glagcn.commands.lift import add_lift
from glagcn.commands.live import add_live
from glagcn.commands.prepare import add_prepare
from glagcn.config.options import GROUPS, OPTIONS, Config, RenderConfig
from glagcn.config.parse import Parser, add_options, comma_separated, in_home
from glagcn.config.recipes import BENCH
from glagcn.config.resolve import from_dict, parse_command_line, plain_values, resolve
from glagcn.errors import UserError
from glagcn.progress import flush_streams, print_messages
from glagcn.version import __version__

if TYPE_CHECKING:
    from glagcn.evaluate.evaluate import Result

logger = logging.getLogger(__name__)

# {verb: flags of the trainer that it stands for}; it takes the others too
TRAINER_VERBS: dict[str, list[str]] = {"train": [], "render": ["--render"]}


def train_main(arguments: list[str] | None = None) -> int:
    """Run main_sagcn_gpus.py.  Returns the exit code: 0, 2 after a UserError, 75 if stopped by a signal, 76 if a rank
    was lost."""

    return _run_command(lambda: run(*parse_command_line(arguments)))


def main(arguments: list[str] | None = None) -> int:
    """Run the `glagcn` command.  Returns the exit code."""

    words = sys.argv[1:] if arguments is None else arguments

    def work() -> None:
        if not words:
            _parser().print_help()
        elif words[0] in TRAINER_VERBS:
            run(*parse_command_line([*TRAINER_VERBS[words[0]], *words[1:]], f"glagcn {words[0]}"))
        else:
            options = vars(_parser().parse_args(words))
            options.pop("verb")(options)

    return _run_command(work)


def _run_command(work: Callable[[], object]) -> int:
    """Run a command.  Returns its exit code, or exits here if this is one process of several.

    A UserError is printed once for all ranks.
    """
    try:
        dist.prepare()
    except UserError as error:  # ranks and their number are not known
        dist.fail(f"error: {error}")
        return 2
    signals.die_with_launcher()
    signals.print_stacks_on_signal()
    code, one_of_many = 0, dist.world_size() > 1
    try:
        with print_messages(quiet=not dist.is_main()), signals.watch():
            work()
    except UserError as error:
        dist.report(error)
        code = 2
    except signals.Stopped as request:
        if dist.is_main():
            dist.print_error(str(request))
        if request.agreed:
            signals.keep_launcher_from_restarting()
        code = signals.EXIT_CODE
    except Exception as error:
        if not one_of_many:
            raise
        code = _report_failure(error)
    finally:
        flush_streams()
    if one_of_many:
        dist.leave(code)
    return code


def _report_failure(error: Exception) -> int:
    """Print the error that ended this process, one of several.  Returns its exit code."""
    if not dist.is_lost_connection(error):
        dist.print_error(traceback.format_exc().rstrip())
        dist.record(f"{type(error).__name__}: {error}")
        return 1
    reason = re.sub(r"^\[\S+\] ", "", str(error).splitlines()[0]).partition(". ")[0]  # without the C++ location
    dist.report(
        f"the connection to another process is lost ({reason[:200]}); see the log of that process. The same command "
        "resumes from the last checkpoint"
    )
    return dist.LOST_RANK_CODE


def run(config: Config, origin: dict[str, str], drawing: RenderConfig | None = None) -> "Result | None":
    """Train, evaluate or render as the options say.  Returns what is in result.json on rank 0."""
    dist.keep_memory()
    if (ignored := dist.ignored_requests()) and dist.is_main():
        dist.print_error(f"WARNING: {ignored}")
    dist.start(config.run.workers, timedelta(minutes=config.run.timeout))
    result = None
    if drawing:
        from glagcn.commands.render import render

        render(config, drawing, origin)
    elif config.run.evaluate:
        from glagcn.commands.evaluate import run_evaluation

        result = run_evaluation(config, origin)
    else:
        from glagcn.commands.train import train

        result = train(config, origin)
    dist.finish()  # only now: it waits for every rank, and after an error some may never come
    return result


def _parser() -> Parser:
    parser = Parser(prog="glagcn", description="GLA-GCN, a network that lifts 2D to 3D human poses.")
    parser.add_argument("--version", action="version", version=f"glagcn {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    verbs.add_parser("train", help="train a model, or go on with a run")  # parsed in main
    verbs.add_parser("render", help="draw a sequence of a data set as a trained model lifts it")
    add_prepare(verbs)
    evaluate = verbs.add_parser("evaluate", help="score a checkpoint on a test set")
    files = "a run folder, last.pt, best.pt, an export, centred or causal (of this program), or a published file"
    evaluate.add_argument("evaluate", type=in_home, metavar="CHECKPOINT", help=f"{files} of the data set's joints")
    add_options(evaluate, *GROUPS.values(), keys=[key for key, option in OPTIONS.items() if option.evaluate])
    evaluate.set_defaults(verb=_evaluate)

    add_lift(verbs)
    add_live(verbs)
    export_parser = verbs.add_parser("export", help="write a checkpoint's weights without the optimiser")
    export_parser.add_argument(
        "checkpoint", type=in_home, nargs="+", metavar="CHECKPOINT",
        help="a checkpoint; several become one model that lifts to the mean of their poses",
    )  # fmt: skip
    layouts = "onnx: for ONNX Runtime (FILE.onnx); safetensors: FILE.safetensors, which this program reads too"
    export_parser.add_argument("--layout", choices=("ours", "onnx", "safetensors"), default="ours", help=layouts)
    export_parser.add_argument("--half", action="store_true", help="weights in half precision (safetensors)")
    export_parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    export_parser.set_defaults(verb=export)
    _add_bench(verbs)
    _add_study(verbs)
    report = verbs.add_parser("report", help="a run as Markdown: options, data, machine, results")
    report.add_argument("run", type=Path, metavar="RUN", help="the folder of a run, such as checkpoint/NAME")
    report.add_argument("--out", type=Path, metavar="FILE", help="write it here (FILE.md) instead of printing it")
    report.set_defaults(verb=_report)
    _add_compare(verbs)
    return parser


def _add_bench(verbs: Any) -> None:
    bench = verbs.add_parser("bench", help="measure this machine's speed")
    parts = "input: make training batches; step: optimiser steps; eval: score frames"
    bench.add_argument("part", choices=("input", "step", "eval", "all"), help=parts)
    scale = "amount of data: the demo, or its motion repeated to the size of MPI-INF-3DHP (360 MB; default)"
    scales = {"choices": ("demo", "3dhp"), "default": "3dhp", "help": scale}
    bench.add_argument("--dataset_scale", "--dataset-scale", **scales)
    bench.add_argument("--repeats", type=int, default=5, metavar="N", help="rounds per median (default 5)")
    bench.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    bench.add_argument("--profile", action="store_true", help="step: list the most expensive operators")
    plain = "beside the plain implementation in the tests of a checkout"
    bench.add_argument("--reference", action="store_true", help=plain)
    add_options(bench, *GROUPS.values(), keys=[key for key, option in OPTIONS.items() if option.bench])
    bench.set_defaults(verb=_bench)


def _add_study(verbs: Any) -> None:
    study = verbs.add_parser("study", help="train several configurations with the same seeds, and compare them")
    study.add_argument("file", type=Path, metavar="FILE", help="the study: configurations and seeds, in TOML")
    study.add_argument("--out", type=Path, metavar="DIR", help="folder of runs and results (default study/NAME)")
    study.add_argument("--jobs", type=int, metavar="N", help="parallel runs (default: one per CUDA device, or 1)")
    root = "data folder, instead of that in FILE"
    study.add_argument("--root_path", "--root-path", type=in_home, metavar="DIR", help=root)
    only = "run only these configurations; report all"
    study.add_argument("--only", type=comma_separated(str), metavar="NAME,...", help=only)
    study.set_defaults(verb=_study)


def _add_compare(verbs: Any) -> None:
    runs = verbs.add_parser("runs", help="list training runs: what differs, their state and errors")
    folder = "where they are, or up to three folders below (default checkpoint)"
    runs.add_argument("folder", nargs="?", type=Path, default=Path("checkpoint"), metavar="DIR", help=folder)
    runs.set_defaults(verb=_runs)
    compare = verbs.add_parser("compare", help="compare the results of runs, by action and sequence, with the first")
    folders = "folders of runs or of results; one alone: all finished runs in it"
    compare.add_argument("folders", nargs="+", type=Path, metavar="RUN", help=folders)
    compare.add_argument("--csv", type=Path, metavar="FILE", help="write all metrics to this file")
    compare.add_argument("--html", type=Path, metavar="FILE", help="write a page with the tables and the curves")
    compare.set_defaults(verb=_compare)


def evaluation_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options of `glagcn evaluate`, with those of the data that the checkpoint was trained on."""
    from glagcn.checkpoints.find import model_path
    from glagcn.checkpoints.ours import as_glagcn, read

    path = model_path(options["evaluate"])
    if content := as_glagcn(read(path), path):  # a bad path is the first thing to say
        trained = content["config"]
        if options.get("dataset", trained.get("dataset")) == trained.get("dataset"):
            values = plain_values(from_dict(trained))
            followed = [key for key, option in OPTIONS.items() if option.evaluate == "checkpoint"]
            return {key: values[key] for key in followed} | options
    return options


def _evaluate(options: dict) -> None:
    run(*resolve(evaluation_options(options)))


def _bench(options: dict) -> None:
    part, scale, repeats, file, profiled, reference = (
        options.pop(name) for name in ("part", "dataset_scale", "repeats", "json", "profile", "reference")
    )
    config, _ = resolve(BENCH | {"dataset": scale} | options)

    from glagcn.bench import run_bench

    logger.info(run_bench(part, config, repeats, file, profiled=profiled, reference=reference))


def _study(options: dict) -> None:
    from glagcn.study.run import run_study

    run_study(options["file"], options["out"], options["jobs"], options["root_path"], options["only"])


def _report(options: dict) -> None:
    from glagcn.commands.report import report

    report(options["run"], options["out"])


def _runs(options: dict) -> None:
    from glagcn.compare import runs_table

    logger.info(runs_table(options["folder"]))


def _compare(options: dict) -> None:
    from glagcn.compare import compare

    logger.info(compare(options["folders"], options["csv"], options["html"]))


if __name__ == "__main__":
    sys.exit(main())
