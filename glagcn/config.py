"""Every option of the trainer once: its flags, its meaning, and the presets of the paper.

A value comes from, in this order: a flag, the preset of the data set and recipe, the default of the field;
`--debug` then caps whatever would make a run long.  Nothing here imports torch, so that `--help` is immediate.
"""

import argparse
from dataclasses import asdict, dataclass, field, fields, replace
from math import inf, prod
from typing import Any, NoReturn

from glagcn.errors import UserError
from glagcn.widths import check_widths, widths_for

DATASETS = ("3dhp", "demo")
RECIPES = ("tuned", "published")


def option(default: Any, *flags: str, help: str, group: str, trains: bool = False, **parse: Any) -> Any:
    """A field of Config and its command line flags.

    default  None where the preset fills it in.
    trains   the value shapes what is trained or which state is the best, so a resumed run must agree with it.
    parse    further keywords of argparse's add_argument.
    """
    meta = {"flags": flags, "help": help, "group": group, "trains": trains, "parse": parse}
    return field(default=default, metadata=meta)


def comma_separated(kind: type) -> Any:
    """An argparse type: a tuple of `kind`, written with commas."""

    def parse(text: str) -> tuple:
        values = tuple(kind(part) for part in text.split(",") if part)
        if not values:
            raise ValueError(text)
        return values

    parse.__name__ = f"comma separated {kind.__name__}s"
    return parse


# fmt: off
@dataclass(frozen=True)
class Config:
    """The resolved options of one run."""

    dataset: str = option(None, "-d", "--dataset", choices=DATASETS, group="data", trains=True,
        help="3dhp: MPI-INF-3DHP; demo: synthetic people, made on the spot")
    root_path: str = option("data", "--root_path", metavar="DIR", group="data",
        help="where the published files are, and the cache made of them")
    cache_dir: str | None = option(None, "--cache_dir", metavar="DIR", group="data",
        help="keep the cache here instead, for instance when --root_path is read-only")
    keypoints: str = option("gt", "-k", "--keypoints", choices=("gt",), group="data", trains=True,
        help="source of the 2D poses; gt is the ground truth")
    annotation: str = option(None, "--annotation", choices=("univ", "annot3"), group="data", trains=True,
        help="3D reference of 3dhp: univ_annot3 (the field's protocol) or annot3 (true scale)")
    cameras: tuple[int, ...] | None = option(None, "--cameras", metavar="0,1,...", type=comma_separated(int),
        group="data", trains=True,
        help="train on these cameras only")
    subjects_train: tuple[str, ...] | None = option(None, "-str", "--subjects_train", metavar="S1,...",
        type=comma_separated(str), group="data", trains=True,
        help="train on these subjects only")
    subset: float = option(1.0, "--subset", type=float, group="data", trains=True,
        help="train on this leading fraction of every sequence")
    stride: int = option(1, "-s", "--stride", type=int, group="data", trains=True,
        help="frames between the centres of training windows")
    flip: str = option(None, "--flip", choices=("copy", "random", "none"), group="data", trains=True,
        help="horizontal flips in training: a second copy of every window, a random draw per window, or none")
    test_flip: bool = option(True, "-tta", "--test_flip", "--test_augmentation",
        group="data", trains=True, action=argparse.BooleanOptionalAction,
        help="average the predictions of a window and of its mirror image when evaluating")

    frames: int = option(None, "-f", "--frames", type=int, metavar="T", group="model", trains=True,
        help="frames in a window, a product of 3, 5, 7 and 9, such as 27, 81 or 243")
    architecture: tuple[int, ...] | None = option(None, "-arc", "--architecture", metavar="3,3,3",
        type=comma_separated(int), group="model", trains=True,
        help="temporal stride of each strided module; their product is --frames, which they replace")
    channels: int = option(None, "-ch", "--channel", "--channels", type=int, metavar="C", group="model", trains=True,
        help="feature channels")
    sequence_layers: int = option(None, "--sequence_layers", type=int, metavar="N", group="model", trains=True,
        help="AGCN blocks of the sequence stage; 0 leaves the stage and its head out (the public S-AGCN)")
    head: str = option(None, "--head", choices=("unshared", "shared", "mixed"), group="model", trains=True,
        help="single head: one linear layer per joint (Eq. 5), one for all (Eq. 6), or both averaged")
    graph: str | None = option(None, "--graph", choices=("h36m",), group="model", trains=True,
        help="use Human3.6M's links on the joints of the data set, as the published 3DHP script does")
    dropout: float = option(0.1, "-drop", "--dropout", type=float, group="model", trains=True,
        help="dropout probability")

    recipe: str = option("tuned", "--recipe", choices=RECIPES, group="optimisation", trains=True,
        help="how weights start and the learning rate decays: tuned (ours) or published (the paper's script)")
    epochs: int = option(None, "-e", "--epochs", type=int, group="optimisation",
        help="passes over the training windows; the schedule spans them")
    max_steps: int | None = option(None, "--max_steps", type=int, metavar="N", group="optimisation",
        help="end at optimiser step N, counted from the start of the run; the schedule stays that of --epochs")
    batch_size: int = option(None, "-b", "--batch_size", type=int, metavar="N", group="optimisation", trains=True,
        help="windows per optimiser step over all processes")
    accumulate: int = option(1, "--accumulate", type=int, metavar="K", group="optimisation", trains=True,
        help="compute every batch in K parts, to save memory")
    lr: float = option(None, "-lr", "--lr", "--learning_rate", type=float, group="optimisation", trains=True,
        help="learning rate at the start, for the global batch: never divided by the number of processes")
    lr_final: float | None = option(None, "--lr_final", type=float, group="optimisation", trains=True,
        help="learning rate at the end of --epochs (recipe tuned)")
    warmup: int = option(None, "--warmup", type=int, metavar="STEPS", group="optimisation", trains=True,
        help="optimiser steps over which the learning rate rises from 0")
    clip: float = option(0.0, "--clip", type=float, metavar="NORM", group="optimisation", trains=True,
        help="clip the gradient to this norm; 0 does not")
    sequence_weight: float = option(1.0, "--sequence_weight", type=float, group="optimisation", trains=True,
        help="weight of the sequence head's loss beside the single head's")
    seed: int = option(0, "--seed", type=int, group="optimisation", trains=True,
        help="every draw follows from it: weights, order, flips, dropout")

    precision: str = option("auto", "--precision", choices=("auto", "fp32", "tf32", "bf16"),
        group="machine", trains=True,
        help="arithmetic of training; auto is bf16 on GPUs that have it and fp32 elsewhere")
    compile: bool = option(False, "--compile", group="machine", action=argparse.BooleanOptionalAction,
        help="compile the model with torch.compile")
    sync_bn: bool = option(False, "--sync_bn", group="machine", trains=True, action=argparse.BooleanOptionalAction,
        help="batch statistics over all GPUs instead of each GPU's share")
    deterministic: bool = option(False, "--deterministic", group="machine", action=argparse.BooleanOptionalAction,
        help="choose algorithms that repeat bit for bit on CUDA too, at some cost in speed")
    workers: int = option(0, "--workers", type=int, metavar="N", group="machine",
        help="CPU threads of each process; 0 shares the cores out evenly (there are no loader processes)")

    checkpoint: str = option("checkpoint", "-c", "--checkpoint", metavar="DIR", group="run",
        help="folder of run folders")
    run: str | None = option(None, "--run", "--run_name", metavar="NAME", group="run",
        help="name of the run folder; by default it follows from the flags that define the run "
        "(torchrun takes --run for an option of its own: use --run_name there)")
    fresh: bool = option(False, "--fresh", group="run", action="store_true",
        help="start over; the old run folder is kept under another name")
    evaluate: str | None = option(None, "--evaluate", nargs="?", const="best.pt", metavar="CHECKPOINT", group="run",
        help="evaluate instead of training: best.pt of the run folder, or this checkpoint")
    output: str | None = option(None, "--output", metavar="DIR", group="run",
        help="write results here instead of beside the checkpoint")
    save_steps: int = option(0, "--save_steps", type=int, metavar="N", group="run",
        help="write last.pt every N optimiser steps")
    save_minutes: float = option(10.0, "--save_minutes", type=float, metavar="M", group="run",
        help="write last.pt every M minutes; 0 does not")
    eval_epochs: int = option(1, "--eval_epochs", type=int, metavar="N", group="run",
        help="evaluate after every N epochs, and at the end")
    log_steps: int = option(50, "--log_steps", type=int, metavar="N", group="run",
        help="optimiser steps between two lines of the log")
    test_frames: int | None = option(None, "--test_frames", type=int, metavar="N", group="run", trains=True,
        help="evaluate on N valid test frames only, evenly spread; results say so")
    debug: bool = option(False, "--debug", group="run", action="store_true", trains=True,
        help="the whole way in about a minute: a small model, few steps, few test frames")
    dry_run: bool = option(False, "--dry_run", group="run", action="store_true",
        help="stop after the summary of what would run")

    @property
    def widths(self) -> tuple[int, ...]:
        """The temporal stride of each strided module."""
        return self.architecture or widths_for(self.frames)

    @property
    def run_name(self) -> str:
        """The run folder's name: --run, or the flags that define the run."""
        if self.run:
            return self.run
        source = [self.dataset, self.keypoints] + ([self.annotation] if self.annotation else [])
        model = [f"f{self.frames}", f"c{self.channels}", f"{self.head}{self.sequence_layers}"]
        return "_".join([*source, *model, self.recipe, f"seed{self.seed}"] + (["debug"] if self.debug else []))


# The paper's numbers and ours.  3dhp: 81 frames, 256 channels and 1,200 windows a step are the published command;
# 49 epochs, Adam, flips as copies are what its script does.  Its rate of 1e-3 is divided by the world size there:
# 1.25e-4 on its eight GPUs, which is the global rate.
PRESETS: dict[str, dict[str, Any]] = {
    "3dhp": {
        "annotation": "univ", "flip": "copy", "frames": 81, "channels": 256, "sequence_layers": 3, "head": "unshared",
        "epochs": 49, "batch_size": 1200,
    },
    "demo": {
        "annotation": "", "flip": "random", "frames": 27, "channels": 32, "sequence_layers": 1, "head": "unshared",
        "epochs": 2, "batch_size": 128, "log_steps": 10,
    },
}
RECIPE_PRESETS: dict[str, dict[str, Any]] = {
    "tuned": {"lr": 4e-3, "lr_final": 2e-4, "warmup": 100},
    "published": {"lr": 1.25e-4, "lr_final": None, "warmup": 0},
}
DEBUG_CAPS: dict[str, Any] = {
    "channels": 16, "sequence_layers": 1, "batch_size": 64, "epochs": 1, "max_steps": 20, "warmup": 5, "log_steps": 5,
    "test_frames": 256,
}
# fmt: on


def resolve(given: dict[str, Any]) -> tuple[Config, dict[str, str]]:
    """Fill in presets and check.  -> (config, where each value came from: "flag", "preset", "default" or "debug").

    `given` holds the values of flags only, by field name.  Raises UserError naming flag, value and fix.
    """
    if given.get("dataset") not in DATASETS:
        found = f"--dataset {given['dataset']} is unknown" if given.get("dataset") else "--dataset is missing"
        raise UserError(f"{found}; expected one of {', '.join(DATASETS)} (demo needs no data)")
    recipe = given.get("recipe", "tuned")
    preset = PRESETS[given["dataset"]] | RECIPE_PRESETS[recipe]
    if given.get("architecture") and "frames" not in given:
        check_widths(given["architecture"])
        preset["frames"] = prod(given["architecture"])
    config = Config(**(preset | given))
    origin = (
        {f.name: "default" for f in fields(Config)} | dict.fromkeys(preset, "preset") | dict.fromkeys(given, "flag")
    )
    if config.debug:
        capped = {name: cap for name, cap in DEBUG_CAPS.items() if _exceeds(getattr(config, name), cap)}
        config = replace(config, **capped)
        origin |= dict.fromkeys(capped, "debug")
    check(config)
    return config, origin


def _exceeds(value: float | None, cap: float) -> bool:
    return value is None or value > cap


def check(config: Config) -> None:
    """Refuse values that cannot work.  Raises UserError naming flag, value and what is expected."""
    check_widths(config.widths, config.frames)
    if config.channels < 4:
        raise UserError(f"--channel {config.channels} is too small; expected at least 4")
    for name in ("epochs", "batch_size", "accumulate", "stride", "eval_epochs", "log_steps"):
        _expect(config, name, getattr(config, name) >= 1, "at least 1")
    not_negative = (
        "sequence_layers",
        "warmup",
        "workers",
        "save_steps",
        "save_minutes",
        "clip",
        "sequence_weight",
        "seed",
    )
    for name in not_negative:
        _expect(config, name, getattr(config, name) >= 0, "0 or more")
    for name in ("max_steps", "test_frames"):
        _expect(config, name, getattr(config, name) is None or getattr(config, name) >= 1, "at least 1")
    _expect(config, "lr", 0 < config.lr < inf, "a rate above 0")
    _expect(config, "seed", config.seed < 2**63, "a number below 2^63")
    _expect(config, "lr_final", config.lr_final is None or config.lr_final > 0, "a rate above 0")
    _expect(config, "dropout", 0 <= config.dropout < 1, "a probability from 0 to below 1")
    _expect(config, "subset", 0 < config.subset <= 1, "a fraction above 0 and up to 1")
    if config.dataset != "3dhp" and config.annotation:
        raise UserError(f"--annotation {config.annotation} is for --dataset 3dhp; {config.dataset} has one kind only")
    if config.recipe == "published" and config.lr_final is not None:
        raise UserError("--lr_final is for --recipe tuned; the published decay has fixed factors")
    if config.run and (config.run in {".", ".."} or "/" in config.run):
        raise UserError(f"--run {config.run} must be a plain folder name; -c sets the folder that it lies in")


def _expect(config: Config, name: str, holds: bool, expected: str) -> None:
    if not holds:
        raise UserError(f"--{name} {getattr(config, name)} cannot work; expected {expected}")


def _spellings(flag: str) -> list[str]:
    """A long flag with underscores and with hyphens: the published scripts use both styles."""
    return [flag, flag.replace("_", "-")] if "_" in flag else [flag]


def add_options(parser: argparse.ArgumentParser, names: set[str] | None = None) -> None:
    """Add the flags of Config (or of the fields `names`) to a parser; flags that are not given leave no value."""
    wanted = [f for f in fields(Config) if names is None or f.name in names]
    groups = {name: parser.add_argument_group(name) for name in dict.fromkeys(f.metadata["group"] for f in wanted)}
    for f in wanted:
        meta = f.metadata
        shown = "" if f.default is None or isinstance(f.default, bool) else f" (default {f.default})"
        flags = [spelling for flag in meta["flags"] for spelling in _spellings(flag)]
        groups[meta["group"]].add_argument(
            *flags, dest=f.name, default=argparse.SUPPRESS, help=meta["help"] + shown, **meta["parse"]
        )


class Parser(argparse.ArgumentParser):
    """argparse that raises UserError instead of printing usage and exiting, and takes no abbreviated flags."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**({"allow_abbrev": False} | settings))

    def error(self, message: str) -> NoReturn:
        """Called by argparse for every bad command line."""
        raise UserError(f"{message}; `{self.prog} --help` lists the flags")


def parse_command_line(arguments: list[str] | None = None) -> tuple[Config, dict[str, str]]:
    """The trainer's command line -> (config, origins).  Raises UserError; `--help` prints and exits."""
    parser = Parser(
        prog="main_sagcn_gpus.py",
        description="Train or evaluate GLA-GCN, a graph convolutional network that lifts 2D to 3D human poses.",
        epilog="The same command resumes a run that was stopped. `glagcn --help` lists the verbs beside training.",
    )
    add_options(parser)
    return resolve(vars(parser.parse_args(arguments)))


def to_dict(config: Config) -> dict[str, Any]:
    """Plain values for JSON and checkpoints."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}


def from_dict(values: dict[str, Any]) -> Config:
    """The inverse of to_dict; unknown names, from a newer version, are ignored."""
    known = {f.name for f in fields(Config)}
    return Config(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name in known})


def training_differences(ours: Config, theirs: Config) -> list[tuple[str, Any, Any]]:
    """(flag, value now, value then) for every option that shaped what was trained and now differs."""
    differing = [f for f in fields(Config) if f.metadata["trains"] and getattr(ours, f.name) != getattr(theirs, f.name)]
    return [(long_flag(f.metadata["flags"]), getattr(ours, f.name), getattr(theirs, f.name)) for f in differing]


def long_flag(flags: tuple[str, ...]) -> str:
    """The flag to name in a message: the first with two dashes."""
    return next(flag for flag in flags if flag.startswith("--"))
