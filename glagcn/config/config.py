"""All options of a run, in groups: flag, default and help text of each.

An option takes its value from the first of: the flag, the preset of data set and recipe, the default of the field.
`--debug` then caps the options that make a run long (resolve.py).  None means off, or not restricted.  Does not import
torch, so that `--help` is fast.
"""

import argparse
from dataclasses import dataclass
from typing import ClassVar

from glagcn.config.options import comma_separated, option
from glagcn.config.presets import GRAPHS, RECIPES
from glagcn.data.datasets import DATASETS
from glagcn.data.windows.detection_levels import LEVELS
from glagcn.model.registry import INPUTS, MODELS
from glagcn.widths import widths_for

SWITCH = argparse.BooleanOptionalAction


# fmt: off
@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Data set, selection of subjects and frames, and augmentation."""

    title: ClassVar[str] = "data"
    trains: ClassVar[bool] = True

    dataset: str = option("h36m", choices=DATASETS, common=True,
        help="; ".join(f"{dataset.name}: {dataset.title}" for dataset in DATASETS.values()))
    root_path: str = option("data", metavar="DIR", trains=False, common=True,
        help="folder of the data set's files and of the cache")
    cache_dir: str | None = option(None, metavar="DIR", trains=False,
        help="folder of the cache, instead of --root_path")
    keypoints: str = option("gt", metavar="NAME", common=True,
        help="2D poses: gt (ground truth) or a name from a file name: cpn_ft_h36m_dbb reads "
        "data_2d_h36m_cpn_ft_h36m_dbb.npz")
    annotation: str = option(choices=[kind for dataset in DATASETS.values() for kind in dataset.annotations],
        help="3D poses of 3dhp: univ_annot3 (scaled to one body size, as in papers) or annot3 (true size)")
    cameras: tuple[int, ...] | None = option(None, metavar="0,1,...", type=comma_separated(int),
        help="train on these cameras only")
    subjects_train: tuple[str, ...] | None = option(None, metavar="S1,...", type=comma_separated(str), common=True,
        help="train on these subjects only")
    subjects_test: tuple[str, ...] | None = option(None, metavar="S9,...", type=comma_separated(str), common=True,
        help="evaluate these subjects only")
    actions: tuple[str, ...] | None = option(None, metavar="Walk,...", type=comma_separated(str), common=True,
        help="train on and evaluate only actions whose names start with one of these; * is all")
    downsample: int = option(1, type=int, metavar="N",
        help="use every N-th frame, in training and evaluation")
    subset: float = option(1.0, type=float, metavar="SHARE",
        help="train on only this first share of every sequence")
    stride: int = option(1, type=int, metavar="N",
        help="frames between the centres of two training windows")
    flip: str = option(choices=("copy", "random", "none"), common=True,
        help="mirrored training windows: copy (each window also mirrored), random (each with probability 1/2) or none")
    distort_targets: bool = option(False, action=SWITCH,
        help="augmentation of the published Human3.6M and HumanEva-I runs: rotate (-5, 0, 5 degrees) and scale (0.95, "
        "1, 1.05) the 3D target of a window, but not its 2D input")
    turn: float = option(type=float, metavar="DEGREES",
        help="augmentation: rotate each window about the vertical axis by a random angle of up to +-DEGREES and "
        "re-project the 2D")
    tilt: float = option(type=float, metavar="DEGREES",
        help="augmentation: move the camera up or down around the person by a random angle of up to +-DEGREES")
    roll: float = option(type=float, metavar="DEGREES",
        help="augmentation: rotate the camera about its axis by a random angle of up to +-DEGREES")
    distance: float = option(type=float, metavar="E",
        help="augmentation: scale the camera's distance by a random factor of e^-E to e^E")
    detections: str | None = option(None, choices=("none", *LEVELS), off="none", common=True,
        help="augmentation: 2D as of a detector, with noise, outliers, missing joints, swapped sides and other frame "
        "rates: none (default), moderate or heavy")
    test_flip: bool = option(action=SWITCH, common=True,
        help="average the predictions of a window and its mirror image in evaluation")
    stream: str = option("auto", choices=("auto", "on", "off"),
        help="read training frames from the cache during training, in shuffled blocks; auto: if they fit neither "
        "device nor host memory")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Options of the model."""

    title: ClassVar[str] = "model"
    trains: ClassVar[bool] = True

    kind: str = option("gla_gcn", key="model", choices=MODELS, common=True,
        help="gla_gcn (the paper's) or temporal_conv (VideoPose3D's temporal convolutions, a baseline)")
    frames: int = option(type=int, metavar="T", common=True,
        help="frames in a window: a product of 3, 5, 7 and 9, such as 27, 81 or 243")
    architecture: tuple[int, ...] | None = option(None, metavar="3,3,3", type=comma_separated(int),
        help="temporal stride of each strided module; their product is the number of frames")
    channels: int = option(flag="--channel", type=int, metavar="C", common=True,
        help="feature channels")
    sequence_layers: int = option(type=int, metavar="N",
        help="AGCN blocks of the sequence stage; 0: no sequence stage and head (the public S-AGCN)")
    head: str = option(choices=("unshared", "shared", "mixed"),
        help="single head: a linear layer per joint (Eq. 5), one for all joints (Eq. 6), or the mean of both")
    graph: str | None = option(None, choices=GRAPHS,
        help="graph of another skeleton: h36m for 3dhp, as in the published script; humaneva15, humaneva15_coco17: as "
        "in the published HumanEva-I models")
    causal: bool = option(False, action=SWITCH, common=True,
        help="predict the last frame of a window instead of its centre, without later frames")
    input: str = option("xy", choices=INPUTS, common=True,
        help="input channels of a joint: xy, or xyc with the confidence of a detector (0 to 1) as a third")
    relative_input: bool = option(action=SWITCH,
        help="input: 2D joints relative to the root joint, and the position of the root")
    dropout: float = option(type=float, common=True,
        help="dropout probability")

    @property
    def widths(self) -> tuple[int, ...]:
        """The temporal stride of each strided module."""
        return self.architecture or widths_for(self.frames)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Length, batch, optimiser, schedule and arithmetic of training."""

    title: ClassVar[str] = "optimisation"
    trains: ClassVar[bool] = True

    recipe: str = option(choices=RECIPES, common=True,
        help="weight initialisation and defaults of the optimisation options: tuned (ours; default for 3dhp, mocap, "
        "demo) or published (the paper's scripts; default for h36m, humaneva15)")
    epochs: int = option(type=int, trains=False, common=True, metavar="N",
        help="length of training and schedule, in passes over the training windows")
    windows: int | None = option(None, type=int, metavar="N", trains=False,
        help="length of training and schedule, in training windows, instead of --epochs")
    max_steps: int | None = option(None, type=int, metavar="N", trains=False, common=True,
        help="stop after optimiser step N; the schedule still spans --epochs")
    batch_size: int | None = option(None, type=int, metavar="N", common=True,
        help="windows per optimiser step, over all processes; default for tuned: 1/1000 of the windows of the run, "
        "within 64 to 1200 (demo: 128)")
    micro_batch: int = option(type=int, metavar="N", common=True,
        help="largest micro-batch: a global batch is split into equal micro-batches of at most N windows, distributed "
        "over all GPUs; BatchNorm statistics are per micro-batch (3dhp: 150)")
    accumulate: int | None = option(None, type=int, metavar="K",
        help="split every global batch into K micro-batches, instead of --micro_batch")
    lr: float = option(type=float, common=True,
        help="initial learning rate, for the global batch, independent of the number of processes; default for tuned: "
        "0.016 up to 128 channels, 0.004 above")
    optimizer: str = option(choices=("muon", "adam", "ranger"), common=True,
        help="Muon (orthogonalised momentum), Adam with amsgrad, or Ranger (RAdam with Lookahead)")
    schedule: str = option(choices=("exponential", "linear", "cosine", "steps"),
        help="learning rate decay: exponential or linear (per step) or cosine (per epoch) to --lr_final, or steps "
        "(factors after epochs)")
    lr_final: float | None = option(None, type=float,
        help="learning rate at the end (exponential, linear, cosine)")
    lr_decay: float | None = option(None, type=float, metavar="FACTOR",
        help="factor after every epoch (steps)")
    lr_decay_large: float | None = option(None, type=float, metavar="FACTOR",
        help="factor after every --large_decay_epoch-th epoch, instead of --lr_decay (steps)")
    large_decay_epoch: int | None = option(None, type=int, metavar="N",
        help="epochs between two factors of --lr_decay_large (steps)")
    bn_momentum: float = option(0.1, type=float, metavar="M",
        help="momentum of the BatchNorm statistics in the first epoch")
    bn_momentum_final: float = option(type=float, metavar="M",
        help="momentum of the BatchNorm statistics at the end; exponential decay per epoch")
    warmup: int | None = option(None, type=int, metavar="WINDOWS",
        help="training windows of the linear warm-up of the learning rate; default for tuned: 16 steps (demo: 1000 "
        "windows)")
    clip: float | None = option(None, type=float, metavar="NORM", off=0,
        help="clip the gradient norm to this value")
    sequence_weight: float = option(1.0, type=float, metavar="W",
        help="loss weight of the sequence head; that of the single head is 1")
    seed: int = option(0, type=int, common=True,
        help="random seed of weights, window order, augmentation and dropout")
    precision: str = option("auto", choices=("auto", "fp32", "tf32", "bf16"), common=True,
        help="precision of training; auto: bf16 on GPUs that support it, else fp32")
    compile: str = option("auto", nargs="?", const="on", choices=("auto", "on", "off"), trains=False,
        help="compile training steps with torch.compile; auto: on GPUs")
    deterministic: bool = option(False, action=SWITCH, trains=False,
        help="bit-for-bit reproducible algorithms also on CUDA, a little slower")


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """When a run is evaluated, and how its best checkpoint is selected."""

    title: ClassVar[str] = "evaluation and selection"
    trains: ClassVar[bool] = True

    select_on: str = option(choices=("validation", "test", "last"), common=True,
        help="set that selects best.pt: validation (held-out training sequences), test (as published) or last (no "
        "selection: train on all sequences and keep the last state)")
    validation: tuple[str, ...] | None = option(None, metavar="S4/Seq1,...", type=comma_separated(str),
        help="hold out the training sequences whose names start with one of these")
    validation_frames: int | None = option(2000, type=int, metavar="N",
        help="validate on N evenly spaced frames of them")
    test_frames: int | None = option(None, type=int, metavar="N",
        help="evaluate only N evenly spaced valid test frames; results state this")
    test_detections: str | None = option(None, choices=("none", *LEVELS), off="none",
        help="test on 2D as of a detector, the same for all models: none (default), moderate or heavy; results state "
        "this")
    eval_epochs: int | None = option(1, type=int, metavar="N", trains=False, off=0, common=True,
        help="evaluate every N epochs and at the end; 0: only at the end.  Without it, runs shorter than five epochs "
        "are evaluated up to ten times")
    eval_windows: int | None = option(None, type=int, metavar="N", trains=False,
        help="evaluate every N training windows, instead of --eval_epochs")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Folders, mode, checkpoints and logging of a run."""

    title: ClassVar[str] = "run"
    trains: ClassVar[bool] = False

    checkpoint: str = option("checkpoint", metavar="DIR", common=True,
        help="parent of the run folders")
    name: str | None = option(None, key="run", metavar="NAME", common=True,
        help="name of the run folder; default: derived from the main options")
    fresh: bool = option(False, action="store_true", common=True,
        help="start over; an existing run folder is renamed")
    resume: str | None = option(None, metavar="CHECKPOINT", common=True,
        help="start from this checkpoint, ours or a published one; not needed to resume a stopped run")
    evaluate: str | None = option(None, nargs="?", const="best.pt", metavar="CHECKPOINT", common=True,
        help="evaluate instead of training: this checkpoint, or without a value best.pt of the run folder")
    output: str | None = option(None, metavar="DIR", common=True,
        help="folder of the results; default: beside the checkpoint")
    by_subject: bool = option(False, action="store_true",
        help="also print the errors of each subject (h36m, humaneva15)")
    save_steps: int | None = option(None, type=int, metavar="N", off=0,
        help="write last.pt every N optimiser steps")
    save_minutes: float | None = option(10.0, type=float, metavar="M", off=0,
        help="write last.pt every M minutes, first within one minute; 0: never")
    save_attempts: int = option(5, type=int, metavar="N",
        help="end the run after N failed writes of last.pt in a row")
    timeout: float = option(10.0, type=float, metavar="M",
        help="end the run after a process has been missing for M minutes; preparing the data may take longer")
    check_replicas: int | None = option(None, type=int, metavar="N", off=0,
        help="compare the weights of all processes every N optimiser steps, and end the run if they differ")
    checkpoint_frequency: int | None = option(None, type=int, metavar="N", off=0,
        help="keep a checkpoint every N epochs, as epoch_<number>.pt")
    keep: int | None = option(None, type=int, metavar="N",
        help="keep only the newest N of the states of --checkpoint_frequency")
    export_training_curves: bool = option(True, action=SWITCH,
        help="draw training_curves.png after every evaluation")
    log_steps: int = option(50, type=int, metavar="N",
        help="optimiser steps between two log lines")
    log_with: str = option("tensorboard", choices=("tensorboard", "wandb", "mlflow", "none"), common=True,
        help="where the curves go beside metrics.jsonl; wandb and mlflow obey their own environment variables")
    workers: int | None = option(None, type=int, metavar="N", off=0,
        help="CPU threads per process; default: the cores divided by the processes (there are no loader processes)")
    debug: bool = option(False, action="store_true", trains=True, common=True,
        help="a complete run in about a minute: small model, few steps, few test frames")
    dry_run: bool = option(False, action="store_true", common=True,
        help="print the summary of the run and stop")


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
        ending = [self.optim.recipe, f"seed{self.optim.seed}"] + (["debug"] if self.run.debug else [])
        return "_".join([*source, *network, *ending])


GROUPS: dict[str, type] = {
    "data": DataConfig, "model": ModelConfig, "optim": OptimConfig, "selection": SelectionConfig, "run": RunConfig,
}
