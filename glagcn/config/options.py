"""All options of a run, each described once: flag, default, limits, help, and where it counts.

To add an option, add a field to the group it belongs to; nothing else lists its name.  An option takes its value from
the first of: the flag, the file of --config, the preset of data set and recipe (recipes.py), the default of the field.
--debug then caps the options that make a run long.  None means off, or not restricted.  Does not import torch, so that
`--help` is fast.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from math import inf
from typing import Any, ClassVar, TypeVar

from glagcn.config.recipes import RECIPES
from glagcn.data.datasets import DATASETS
from glagcn.data.noise_levels import LEVELS
from glagcn.model.registry import FRAMES, INPUTS, MODELS, get_kind
from glagcn.model.widths import MAX_FRAMES, widths_for

REQUIRED: Any = MISSING  # always set by a preset
SHARED = ("resumable", "call", "of_model")  # attributes of a group that its options may override
ARGPARSE = ("choices", "metavar", "nargs", "const", "action")
GRAPHS = ("h36m", "humaneva15_tree", "humaneva15", "humaneva15_coco17")


@dataclass(frozen=True, kw_only=True)
class Option:
    """What the program knows about an option.  For resumable, call and of_model, None means: as its group."""

    # On the command line
    help: str
    common: bool = False  # listed by `--help`; `--help-all` lists all flags
    key: str = ""  # name in config.json and presets; default: the name of the field
    flag: str = ""  # default: two dashes and the key
    flags: tuple[str, ...] = ()  # other spellings
    switches: Mapping[Any, tuple[str, ...]] = field(default_factory=dict)  # {value: flags that set it}
    switch: bool = False  # a bool with --FLAG and --no-FLAG; a bool without it is off, and --FLAG turns it on
    off: Any = None  # the value that means None on the command line and in files of older versions
    least: float | None = None  # limits of the value: >= least, > above, <= most, < below
    above: float | None = None
    most: float | None = None
    below: float | None = None
    argparse: Mapping[str, Any] = field(default_factory=dict)  # other arguments of add_argument
    # Where it counts
    resumable: bool | None = None  # a run may be resumed with another value
    call: bool | None = None  # belongs to one call: another run does not take it from config.json
    of_model: bool | None = None  # read by models, not necessarily by all (model.registry)
    instead_of: str | None = None  # the option that it replaces
    schedules: tuple[str, ...] = ()  # the only values of --schedule that use it
    debug: int | None = None  # the most under --debug
    names_preset: bool = False  # selects the preset, whose name states it
    evaluate: str | None = None  # flag of `glagcn evaluate`; "checkpoint": by default that of the checkpoint's data
    bench: bool = False  # flag of `glagcn bench`
    not_in_study: str = ""  # why a study file must not set it
    same_in_study: bool = False  # it determines the scored frames or the selection: errors are comparable only if equal
    windows: bool = False  # training windows and their order depend on it: a study that compares it says so
    machine: bool = False  # depends on the machine, and does not make another run
    # Of the field
    name: str = ""
    type: Any = None
    default: Any = None

    @property
    def is_path(self) -> bool:
        """The value is a folder or file, which only the machine of the run has."""
        return self.argparse.get("metavar") in ("DIR", "FILE", "CHECKPOINT")


def option(default: Any = REQUIRED, **described: Any) -> Any:
    """Declare a field of an options group: the attributes of Option, and arguments of argparse's add_argument."""
    argparse = {name: described.pop(name) for name in ARGPARSE if name in described}
    return field(default=default, metadata={"option": Option(argparse=argparse, **described)})


class Group:
    """A group of options, with a title in `--help`, and the attributes that its options share."""

    title: ClassVar[str]
    prefix: ClassVar[str] = ""  # of the keys
    resumable: ClassVar[bool] = False
    call: ClassVar[bool] = False
    of_model: ClassVar[bool] = False


AnyGroup = TypeVar("AnyGroup", bound=Group)


@cache
def _described(group: Any) -> tuple[Option, ...]:
    options = []
    for found in fields(group):
        option: Option = found.metadata["option"]
        key = option.key or group.prefix + found.name
        shared = {name: getattr(group, name) for name in SHARED if getattr(option, name) is None}
        bound = {"name": found.name, "key": key, "flag": option.flag or f"--{key}", **shared}
        options.append(replace(option, type=found.type, default=found.default, **bound))
    return tuple(options)


def options_of(*groups: type[Group]) -> list[Option]:
    """The options of some groups, in order."""
    return [option for group in groups for option in _described(group)]  # type: ignore[arg-type]  # mypy: no Hashable


def filled(group: type[AnyGroup], values: Mapping[str, Any]) -> AnyGroup:
    """A group with these values, by key.  Ignores the keys of other groups."""
    found = {}
    for known in options_of(group):
        if known.key in values:
            value = values[known.key]
            found[known.name] = None if known.off is not None and value == known.off else value
    return group(**found)


# fmt: off
@dataclass(frozen=True, kw_only=True)
class DataConfig(Group):
    """Data set, selection of subjects and frames, and augmentation."""

    title: ClassVar[str] = "data"

    dataset: str = option("h36m", choices=DATASETS, common=True, flags=("-d",), evaluate="checkpoint",
        same_in_study=True, names_preset=True,
        help="; ".join(f"{dataset.name}: {dataset.title}" for dataset in DATASETS.values()))
    root_path: str = option("data", metavar="DIR", resumable=True, common=True, evaluate="flag", windows=True,
        help="folder of the data set's files and of the cache")
    cache_dir: str | None = option(None, metavar="DIR", resumable=True, evaluate="flag",
        help="folder of the cache, instead of --root_path")
    keypoints: str = option("gt", metavar="NAME", common=True, flags=("-k",), evaluate="checkpoint", windows=True,
        help="2D poses: gt (ground truth) or a name from a file name: cpn_ft_h36m_dbb reads "
        "data_2d_h36m_cpn_ft_h36m_dbb.npz")
    annotation: str = option(choices=[kind for dataset in DATASETS.values() for kind in dataset.annotations],
        evaluate="checkpoint", same_in_study=True,
        help="3D poses of 3dhp: univ_annot3 (scaled to one body size, as in papers) or annot3 (true size)")
    cameras: tuple[int, ...] | None = option(None, metavar="0,1,...", windows=True, help="train on these cameras only")
    subjects_train: tuple[str, ...] | None = option(None, metavar="S1,...", common=True, flags=("-str",), windows=True,
        help="train on these subjects only")
    subjects_test: tuple[str, ...] | None = option(None, metavar="S9,...", common=True, flags=("-ste",),
        evaluate="checkpoint", same_in_study=True, help="evaluate these subjects only")
    actions: tuple[str, ...] | None = option(None, metavar="Walk,...", common=True, flags=("-a",),
        evaluate="checkpoint", same_in_study=True,
        help="train on and evaluate only actions whose names start with one of these; * is all")
    downsample: int = option(1, least=1, evaluate="checkpoint", same_in_study=True,
        help="use every N-th frame, in training and evaluation")
    subset: float = option(1.0, metavar="SHARE", above=0, most=1, windows=True,
        help="train on only this first share of every sequence")
    stride: int = option(1, flags=("-s",), least=1, windows=True,
        help="frames between the centres of two training windows")
    flip: str = option(choices=("copy", "random", "none"), common=True,
        switches={"copy": ("-da", "--data_augmentation")}, windows=True,
        help="mirrored training windows: copy (each window also mirrored), random (each with probability 1/2) or none")
    distort_targets: bool = option(False, switch=True,
        help="augmentation of the published Human3.6M and HumanEva-I runs: rotate (-5, 0, 5 degrees) and scale (0.95, "
        "1, 1.05) the 3D target of a window, but not its 2D input")
    turn: float = option(metavar="DEGREES", least=0,
        help="augmentation: rotate each window about the vertical axis by a random angle of up to +-DEGREES and "
        "re-project the 2D")
    tilt: float = option(metavar="DEGREES", least=0,
        help="augmentation: move the camera up or down around the person by a random angle of up to +-DEGREES")
    roll: float = option(metavar="DEGREES", least=0,
        help="augmentation: rotate the camera about its axis by a random angle of up to +-DEGREES")
    distance: float = option(metavar="E", least=0,
        help="augmentation: scale the camera's distance by a random factor of e^-E to e^E")
    detections: str | None = option(None, choices=("none", *LEVELS), off="none", common=True,
        help="augmentation: 2D as of a detector, with noise, outliers, missing joints, swapped sides and other frame "
        "rates: none (default), moderate or heavy")
    test_flip: bool = option(switch=True, common=True,
        flags=("-tta", "--test_augmentation", "--test_time_augmentation"), evaluate="flag",
        help="average the predictions of a window and its mirror image in evaluation")


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Group):
    """Options of the model."""

    title: ClassVar[str] = "model"
    of_model: ClassVar[bool] = True

    kind: str = option("gla_gcn", key="model", choices=MODELS, common=True,
        help="gla_gcn (the paper's) or temporal_conv (VideoPose3D's temporal convolutions, a baseline)")
    frames: int = option(metavar="T", common=True, flags=("-f",), least=1, most=MAX_FRAMES, bench=True,
        help="frames in a window: a product of 3, 5, 7 and 9, such as 27, 81 or 243")
    architecture: tuple[int, ...] | None = option(None, metavar="3,3,3", flags=("-arc",), instead_of="frames",
        evaluate="flag", help="temporal stride of each strided module; their product is the number of frames")
    channels: int = option(flag="--channel", metavar="C", common=True, flags=("-ch", "--channels"), least=4,
        most=1 << 14, debug=16, bench=True, help="feature channels")
    sequence_layers: int = option(least=0, most=100, debug=1, bench=True,
        help="AGCN blocks of the sequence stage; 0: no sequence stage and head (the public S-AGCN)")
    head: str = option(choices=("unshared", "shared", "mixed"), bench=True,
        help="single head: a linear layer per joint (Eq. 5), one for all joints (Eq. 6), or the mean of both")
    graph: str | None = option(None, choices=GRAPHS,
        help="graph of another skeleton: h36m for 3dhp, as in the published script; humaneva15, humaneva15_coco17: as "
        "in the published HumanEva-I models")
    causal: bool = option(False, switch=True, common=True,
        help="predict the last frame of a window instead of its centre, without later frames")
    input: str = option("xy", choices=INPUTS, common=True,
        help="input channels of a joint: xy, or xyc with the confidence of a detector (0 to 1) as a third")
    frame: str = option("camera", choices=FRAMES,
        help="axes of input and output: camera, or ray: turned so that the camera looks at the person, from a standard "
        "distance; lifting then depends neither on the place of the person nor on the focal length")
    relative_input: bool = option(switch=True,
        help="input: 2D joints relative to the root joint, and the position of the root")
    dropout: float = option(common=True, flags=("-drop",), least=0, below=1, help="dropout probability")

    @property
    def widths(self) -> tuple[int, ...]:
        """The temporal stride of each strided module."""
        return self.architecture or widths_for(self.frames)


@dataclass(frozen=True, kw_only=True)
class OptimConfig(Group):
    """Length, batch, optimiser, schedule and arithmetic of training."""

    title: ClassVar[str] = "optimisation"

    recipe: str = option(choices=RECIPES, common=True, names_preset=True,
        help="weight initialisation and defaults of the optimisation options: tuned (ours; default for 3dhp, mocap, "
        "people, demo) or published (the paper's scripts; default for h36m, humaneva15)")
    epochs: int = option(resumable=True, common=True, flags=("-e",), least=1, debug=1,
        help="length of training and schedule, in passes over the training windows")
    windows: int | None = option(None, resumable=True, least=1, instead_of="epochs",
        help="length of training and schedule, in training windows, instead of --epochs")
    max_steps: int | None = option(None, resumable=True, common=True, least=1, debug=20,
        help="stop after optimiser step N; the schedule still spans --epochs")
    batch_size: int | None = option(None, common=True, flags=("-b",), least=1, debug=64, bench=True,
        help="windows per optimiser step, over all processes; default for tuned: 1/1000 of the windows of the run, "
        "within 64 to 1200 (demo: 128)")
    micro_batch: int = option(common=True, least=1,
        help="largest micro-batch: a global batch is split into equal micro-batches of at most N windows, distributed "
        "over all GPUs; BatchNorm statistics are per micro-batch (3dhp: 150)")
    accumulate: int | None = option(None, metavar="K", least=1, instead_of="micro_batch",
        help="split every global batch into K micro-batches, instead of --micro_batch")
    lr: float = option(common=True, flags=("-lr", "--learning_rate"), above=0, below=inf,
        help="initial learning rate, for the global batch, independent of the number of processes; default for tuned: "
        "0.016 up to 128 channels, 0.004 above")
    optimizer: str = option(choices=("muon", "adam", "ranger"), common=True, bench=True,
        help="Muon (orthogonalised momentum), Adam with amsgrad, or Ranger (RAdam with Lookahead)")
    schedule: str = option(choices=("exponential", "linear", "cosine", "steps"),
        help="learning rate decay: exponential or linear (per step) or cosine (per epoch) to --lr_final, or steps "
        "(factors after epochs)")
    lr_final: float | None = option(None, above=0, below=inf, schedules=("exponential", "linear", "cosine"),
        help="learning rate at the end (exponential, linear, cosine)")
    lr_decay: float | None = option(None, metavar="FACTOR", flags=("-lrd",), above=0, most=1, schedules=("steps",),
        help="factor after every epoch (steps)")
    lr_decay_large: float | None = option(None, metavar="FACTOR", above=0, most=1, schedules=("steps",),
        help="factor after every --large_decay_epoch-th epoch, instead of --lr_decay (steps)")
    large_decay_epoch: int | None = option(None, least=1, schedules=("steps",),
        help="epochs between two factors of --lr_decay_large (steps)")
    bn_momentum: float = option(0.1, metavar="M", above=0, most=1,
        help="momentum of the BatchNorm statistics in the first epoch")
    bn_momentum_final: float = option(metavar="M", above=0, most=1,
        help="momentum of the BatchNorm statistics at the end; exponential decay per epoch")
    warmup: int | None = option(None, metavar="WINDOWS", least=0, debug=320,
        help="training windows of the linear warm-up of the learning rate; default for tuned: 16 steps (demo: 1000 "
        "windows)")
    clip: float | None = option(None, metavar="NORM", off=0, least=0, help="clip the gradient norm to this value")
    weight_decay: float = option(0.0, metavar="W", least=0, below=inf,
        help="every step shrinks the weights of layers by this share of the learning rate, for every optimiser")
    ema: float | None = option(None, metavar="DECAY", off=0, least=0, below=1,
        help="evaluate and keep an exponential moving average of the weights over steps, such as 0.999")
    sequence_weight: float = option(1.0, metavar="W", least=0, of_model=True,
        help="loss weight of the sequence head; that of the single head is 1")
    seed: int = option(0, metavar="SEED", common=True, least=0, below=2**63,
        not_in_study="list the seeds under the key seeds",
        help="random seed of weights, window order, augmentation and dropout")
    precision: str = option("auto", choices=("auto", "fp32", "tf32", "bf16"), common=True, bench=True,
        help="precision of training; auto: bf16 on GPUs that support it, else fp32")
    compile: str = option("auto", nargs="?", const="on", choices=("auto", "on", "off"), resumable=True,
        switches={"off": ("--no_compile",)}, bench=True,
        help="compile training steps with torch.compile; auto: on GPUs")
    deterministic: bool = option(False, switch=True, resumable=True,
        help="bit-for-bit reproducible algorithms also on CUDA, a little slower")


@dataclass(frozen=True, kw_only=True)
class SelectionConfig(Group):
    """When a run is evaluated, and how its best checkpoint is selected."""

    title: ClassVar[str] = "evaluation and selection"

    select_on: str = option(choices=("validation", "test", "last"), common=True, same_in_study=True,
        help="set that selects best.pt: validation (held-out training sequences), test (as published) or last (no "
        "selection: train on all sequences and keep the last state)")
    validation: tuple[str, ...] | None = option(None, metavar="S4/Seq1,...", same_in_study=True,
        help="hold out the training sequences whose names start with one of these")
    validation_frames: int | None = option(2000, least=1, debug=256, same_in_study=True,
        help="validate on N evenly spaced frames of them")
    test_frames: int | None = option(None, least=1, debug=256, evaluate="flag", same_in_study=True,
        help="evaluate only N evenly spaced valid test frames; results state this")
    test_detections: str | None = option(None, choices=("none", *LEVELS), off="none", evaluate="flag",
        same_in_study=True,
        help="test on 2D as of a detector, the same for all models: none (default), moderate or heavy; results state "
        "this")
    eval_epochs: int | None = option(1, resumable=True, off=0, common=True, switches={0: ("--no_eval",)}, least=0,
        help="evaluate every N epochs and at the end; 0: only at the end.  Without it, runs shorter than five epochs "
        "are evaluated up to ten times")
    eval_windows: int | None = option(None, resumable=True, least=1, instead_of="eval_epochs",
        help="evaluate every N training windows, instead of --eval_epochs")
    patience: int | None = option(None, resumable=True, off=0, least=0,
        help="end the run after N evaluations in a row without a new best; the schedule still spans --epochs")


@dataclass(frozen=True, kw_only=True)
class RunConfig(Group):
    """Folders, mode, checkpoints and logging of a run."""

    title: ClassVar[str] = "run"
    resumable: ClassVar[bool] = True

    checkpoint: str = option("checkpoint", metavar="DIR", common=True, flags=("-c",),
        not_in_study="give --out DIR to glagcn study", help="parent of the run folders")
    name: str | None = option(None, key="run", metavar="NAME", common=True, flags=("--run_name",),
        not_in_study="the study names its runs", help="name of the run folder; default: derived from the main options")
    fresh: bool = option(False, common=True, call=True,
        not_in_study="remove the study's folder, or give another with --out DIR",
        help="start over; an existing run folder is renamed")
    resume: str | None = option(None, metavar="CHECKPOINT", common=True, flags=("-r",), call=True,
        help="start from this checkpoint, ours or a published one; not needed to resume a stopped run")
    evaluate: str | None = option(None, nargs="?", const="best.pt", metavar="CHECKPOINT", common=True, call=True,
        not_in_study="a study only trains",
        help="evaluate (or render) this checkpoint instead of training; without a value, best.pt of the run folder")
    output: str | None = option(None, metavar="DIR", common=True, call=True, evaluate="flag",
        not_in_study="results stay in the run folders; give --out DIR to glagcn study",
        help="folder of the results; default: beside the checkpoint")
    by_subject: bool = option(False, evaluate="flag", help="also print the errors of each subject (h36m, humaneva15)")
    save_steps: int | None = option(None, off=0, least=0, help="write last.pt every N optimiser steps")
    save_minutes: float | None = option(10.0, metavar="M", off=0, least=0,
        help="write last.pt every M minutes, first within one minute; 0: never")
    save_attempts: int = option(5, least=1, help="end the run after N failed writes of last.pt in a row")
    timeout: float = option(10.0, metavar="M", above=0, below=inf,
        help="end the run after a process has been missing for M minutes; preparing the data may take longer")
    check_replicas: int | None = option(None, off=0, least=0,
        help="compare the weights of all processes every N optimiser steps, and end the run if they differ")
    checkpoint_frequency: int | None = option(None, off=0, least=0,
        help="keep a checkpoint every N epochs, as epoch_<number>.pt")
    keep: int | None = option(None, least=1, help="keep only the newest N of the states of --checkpoint_frequency")
    export_training_curves: bool = option(True, switch=True, help="draw training_curves.png after every evaluation")
    log_steps: int = option(50, least=1, debug=5, help="optimiser steps between two log lines")
    log_with: str = option("tensorboard", choices=("tensorboard", "wandb", "mlflow", "none"), common=True,
        help="where the curves go beside metrics.jsonl; wandb and mlflow obey their own environment variables")
    workers: int | None = option(None, off=0, least=0, evaluate="flag", machine=True, bench=True,
        help="CPU threads per process; default: OMP_NUM_THREADS, or the cores divided by the processes, of which a "
        "single process trains on as many as a trial finds fastest (there are no loader processes)")
    debug: bool = option(False, resumable=False, common=True, flags=("-dg",), call=True,
        help="a complete run in about a minute: small model, few steps, few test frames")
    dry_run: bool = option(False, common=True, call=True, not_in_study="a study only trains",
        help="print the summary of the run, with an estimate of time and memory, and stop")


@dataclass(frozen=True, kw_only=True)
class RenderConfig(Group):
    """What to draw and where to write it.  Not part of Config: training and checkpoints do not depend on it."""

    title: ClassVar[str] = "rendering"
    prefix: ClassVar[str] = "viz_"
    call: ClassVar[bool] = True

    render: bool = option(False, common=True, key="render", not_in_study="a study only trains",
        help="draw one sequence instead of training, with best.pt or the checkpoint of --evaluate")
    subject: str | None = option(None, common=True, metavar="NAME",
        help="subject or test sequence to draw, such as S11 or TS1")
    action: str | None = option(None, common=True, metavar="NAME",
        help="action or sequence of the subject, such as Walking or Seq1")
    camera: int = option(0, help="camera number")
    output: str | None = option(None, metavar="FILE", common=True, help="write the animation here: .gif or .mp4")
    video: str | None = option(None, metavar="FILE", common=True,
        help="show the frames of this video behind the 2D poses")
    skip: int = option(0, least=0, help="start at frame N")
    limit: int | None = option(None, off=-1, least=1, help="show at most N frames; -1: all")
    downsample: int = option(1, least=1, help="show every N-th frame, at the frame rate divided by N")
    size: float = option(5.0, metavar="INCHES", least=1, most=40, help="height of the picture, at 100 pixels per inch")
    bitrate: int = option(3000, metavar="KBPS", least=1, most=1_000_000, help="bit rate of the .mp4, kbit/s")
    ground_truth: bool = option(True, flag="--viz_no_ground_truth", action="store_false",
        help="do not show the ground truth")
    export: str | None = option(None, metavar="FILE", help="write the coordinates of the frames shown: .npz or .csv")
    keypoints: str | None = option(None, metavar="FILE",
        help="lift the 2D poses of this file instead of a sequence of the data set: what detectors write, .npy, .npz")
    joints: str | None = option(None, metavar="NAME",
        help="order of the joints of --viz_keypoints, such as coco17, where the file and its format do not tell")
    image_size: tuple[int, ...] | None = option(None, metavar="W,H",
        help="size in pixels of the images of --viz_keypoints")
    fps: float | None = option(None, metavar="F", above=0, most=1000,
        help="frames per second, if poses and video do not state it or are wrong")


@dataclass(frozen=True)
class Config:
    """The resolved options of one run."""

    data: DataConfig
    model: ModelConfig
    optim: OptimConfig
    selection: SelectionConfig
    run: RunConfig

    @property
    def run_name(self) -> str:
        """The name of the run folder: --run, or derived from the main options."""
        if self.run.name:
            return self.run.name
        data, model = self.data, self.model
        source = [data.dataset, data.keypoints] + ([data.annotation] if data.annotation else [])
        network = [f"f{model.frames}", f"c{model.channels}", MODELS[model.kind].label(model)]
        network += [model.frame] if model.frame != "camera" else []
        ending = [self.optim.recipe, f"seed{self.optim.seed}"] + (["debug"] if self.run.debug else [])
        return "_".join([*source, *network, *ending])


GROUPS: dict[str, type[Group]] = {
    "data": DataConfig, "model": ModelConfig, "optim": OptimConfig, "selection": SelectionConfig, "run": RunConfig,
}
# fmt: on
OPTIONS: dict[str, Option] = {known.key: known for known in options_of(*GROUPS.values())}
# The options that make a run what it is: not where its data and its folder are, nor what the machine decides.
MAKING = tuple(
    known.key
    for known in options_of(DataConfig, ModelConfig, OptimConfig, SelectionConfig)
    if not known.is_path and not known.machine
)


def without_paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of options by key, with the defaults in place of folders and files: for others, who have none of them."""
    return {key: OPTIONS[key].default if key in OPTIONS and OPTIONS[key].is_path else values[key] for key in values}


def foreign_options(kind: str) -> set[str]:
    """The keys of the model options that the model `kind` does not read."""
    reads = get_kind(kind).options
    return {key for key, known in OPTIONS.items() if known.of_model and reads is not None and key not in reads}
