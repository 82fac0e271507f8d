"""All options of a run, in groups.

A value comes from, in this order: a flag, the preset of the data set and recipe, the default of the field; `--debug`
then caps whatever would make a run long (resolve.py).  Nothing here imports torch, so that `--help` is immediate.
None means off, or not restricted.
"""

import argparse
from dataclasses import dataclass
from typing import ClassVar

from glagcn.config.options import comma_separated, option
from glagcn.config.presets import GRAPHS, RECIPES
from glagcn.data.datasets import DATASETS
from glagcn.model.registry import MODELS
from glagcn.widths import widths_for

SWITCH = argparse.BooleanOptionalAction


# fmt: off
@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is read, selected and augmented."""

    title: ClassVar[str] = "data"
    trains: ClassVar[bool] = True

    dataset: str = option("h36m", choices=DATASETS, common=True,
        help="; ".join(f"{dataset.name}: {dataset.title}" for dataset in DATASETS.values()))
    root_path: str = option("data", metavar="DIR", trains=False, common=True,
        help="folder of the data set's files, and of the cache made of them")
    cache_dir: str | None = option(None, metavar="DIR", trains=False,
        help="folder of the cache, if it is not to be in --root_path")
    keypoints: str = option("gt", metavar="NAME", common=True,
        help="2D poses: gt is the ground truth; others as in the file name: cpn_ft_h36m_dbb reads "
        "data_2d_h36m_cpn_ft_h36m_dbb.npz")
    annotation: str = option(choices=[kind for dataset in DATASETS.values() for kind in dataset.annotations],
        help="3D poses of 3dhp: univ_annot3 (scaled to one size, as in papers) or annot3 (true size)")
    cameras: tuple[int, ...] | None = option(None, metavar="0,1,...", type=comma_separated(int),
        help="train on these cameras only")
    subjects_train: tuple[str, ...] | None = option(None, metavar="S1,...", type=comma_separated(str), common=True,
        help="train on these subjects only")
    subjects_test: tuple[str, ...] | None = option(None, metavar="S9,...", type=comma_separated(str), common=True,
        help="evaluate these subjects only")
    actions: tuple[str, ...] | None = option(None, metavar="Walk,...", type=comma_separated(str), common=True,
        help="train on and evaluate actions whose names begin so; * is all")
    downsample: int = option(1, type=int, metavar="N",
        help="use every N-th frame, in training and evaluation")
    subset: float = option(1.0, type=float, metavar="SHARE",
        help="train on this leading share of every sequence")
    stride: int = option(1, type=int, metavar="N",
        help="frames between the centres of two training windows")
    flip: str = option(choices=("copy", "random", "none"), common=True,
        help="mirrored training windows: every window twice (copy), by chance (random), or none")
    distort_targets: bool = option(False, action=SWITCH,
        help="augmentation of the published Human3.6M and HumanEva-I runs: rotate (-5, 0, 5 degrees) and scale (0.95, "
        "1, 1.05) the 3D target of a window, but not its 2D")
    turn: float = option(type=float, metavar="DEGREES",
        help="augmentation: rotate each window about the vertical axis by a random angle of up to +-DEGREES, and "
        "project it again")
    tilt: float = option(type=float, metavar="DEGREES",
        help="augmentation: move the camera up or down around the person by a random angle of up to +-DEGREES")
    roll: float = option(type=float, metavar="DEGREES",
        help="augmentation: rotate the camera about its axis by a random angle of up to +-DEGREES")
    distance: float = option(type=float, metavar="E",
        help="augmentation: scale the camera's distance by a random factor of e^-E to e^E")
    test_flip: bool = option(action=SWITCH, common=True,
        help="evaluation averages the predictions of a window and of its mirror image")
    stream: str = option("auto", choices=("auto", "on", "off"),
        help="read training frames from the cache in shuffled blocks; auto: if they fit neither device nor host memory")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network."""

    title: ClassVar[str] = "model"
    trains: ClassVar[bool] = True

    kind: str = option("gla_gcn", key="model", choices=MODELS, common=True,
        help="gla_gcn: the paper's; temporal_conv: VideoPose3D's temporal convolutions, a baseline")
    frames: int = option(type=int, metavar="T", common=True,
        help="frames in a window: a product of 3, 5, 7 and 9, such as 27, 81 or 243")
    architecture: tuple[int, ...] | None = option(None, metavar="3,3,3", type=comma_separated(int),
        help="temporal stride of each strided module, instead of --frames, which is their product")
    channels: int = option(flag="--channel", type=int, metavar="C", common=True,
        help="feature channels")
    sequence_layers: int = option(type=int, metavar="N",
        help="AGCN blocks of the sequence stage; 0 leaves out the stage and its head (the public S-AGCN)")
    head: str = option(choices=("unshared", "shared", "mixed"),
        help="single head: a linear layer per joint (Eq. 5), one for all joints (Eq. 6), or the mean of both")
    graph: str | None = option(None, choices=GRAPHS,
        help="links of the graph convolution, if not those of the data's joints: h36m for 3dhp, as in the published "
        "script; humaneva15, humaneva15_coco17: as in the published HumanEva-I models")
    causal: bool = option(False, action=SWITCH, common=True,
        help="predict the last frame of a window, not its centre: no later frames are needed")
    relative_input: bool = option(action=SWITCH,
        help="feed 2D joints relative to the root, and the root's own position")
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
        help="initial weights, and the defaults of this group: tuned (ours; 3dhp, demo) or published (the paper's "
        "scripts; h36m, humaneva15)")
    epochs: int = option(type=int, trains=False, common=True, metavar="N",
        help="passes over the training windows; the schedule spans them")
    windows: int | None = option(None, type=int, metavar="N", trains=False,
        help="length as a number of training windows, instead of --epochs")
    max_steps: int | None = option(None, type=int, metavar="N", trains=False, common=True,
        help="stop at optimiser step N; the schedule stays that of --epochs")
    batch_size: int | None = option(None, type=int, metavar="N", common=True,
        help="windows per optimiser step, over all processes; tuned fits it to the length of the run: 64 to 1200 "
        "(demo: 128)")
    micro_batch: int = option(type=int, metavar="N", common=True,
        help="most windows computed at once: a batch is cut into equal parts of at most N, shared out over all GPUs; "
        "BatchNorm takes its statistics over each (3dhp: 150)")
    accumulate: int | None = option(None, type=int, metavar="K",
        help="cut every batch into K parts, instead of --micro_batch")
    lr: float = option(type=float, common=True,
        help="learning rate at the start, for the global batch, whatever the number of processes; tuned: 0.016 up to "
        "128 channels, 0.004 beyond")
    optimizer: str = option(choices=("muon", "adam", "ranger"), common=True,
        help="Muon (orthogonalised momentum), Adam with amsgrad, or Ranger (RAdam with Lookahead)")
    schedule: str = option(choices=("exponential", "linear", "cosine", "steps"),
        help="decay of the learning rate: exponential or linear (by step), cosine (by epoch) to --lr_final, or by "
        "factors after epochs (steps)")
    lr_final: float | None = option(None, type=float,
        help="learning rate at the end (exponential, linear, cosine)")
    lr_decay: float | None = option(None, type=float, metavar="FACTOR",
        help="factor after every epoch (steps)")
    lr_decay_large: float | None = option(None, type=float, metavar="FACTOR",
        help="factor after every --large_decay_epoch-th epoch instead (steps)")
    large_decay_epoch: int | None = option(None, type=int, metavar="N",
        help="see --lr_decay_large (steps)")
    bn_momentum: float = option(0.1, type=float, metavar="M",
        help="momentum of the BatchNorm statistics in the first epoch")
    bn_momentum_final: float = option(type=float, metavar="M",
        help="momentum at the end; it falls exponentially, by epoch")
    warmup: int | None = option(None, type=int, metavar="WINDOWS",
        help="windows over which the learning rate rises from 0; tuned: 16 steps (demo: 1000 windows)")
    clip: float | None = option(None, type=float, metavar="NORM", off=0,
        help="clip the gradient to this norm")
    sequence_weight: float = option(1.0, type=float, metavar="W",
        help="weight of the sequence head's loss; the single head's is 1")
    seed: int = option(0, type=int, common=True,
        help="seed of all draws: weights, order, augmentation, dropout")
    precision: str = option("auto", choices=("auto", "fp32", "tf32", "bf16"), common=True,
        help="arithmetic of training; auto: bf16 on GPUs that have it, else fp32")
    compile: str = option("auto", nargs="?", const="on", choices=("auto", "on", "off"), trains=False,
        help="compile training steps with torch.compile; auto: on GPUs")
    deterministic: bool = option(False, action=SWITCH, trains=False,
        help="algorithms that repeat bit for bit on CUDA too, a little slower")


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """When a run is evaluated, and what chooses its best state."""

    title: ClassVar[str] = "evaluation and selection"
    trains: ClassVar[bool] = True

    select_on: str = option(choices=("validation", "test", "last"), common=True,
        help="what chooses best.pt: held-out training sequences, the test set (as published), or nothing: train on "
        "all, keep the last state")
    validation: tuple[str, ...] | None = option(None, metavar="S4/Seq1,...", type=comma_separated(str),
        help="the held-out training sequences, by the beginnings of their names")
    validation_frames: int | None = option(2000, type=int, metavar="N",
        help="validate on N of their frames, evenly spread")
    test_frames: int | None = option(None, type=int, metavar="N",
        help="evaluate on N valid test frames only, evenly spread; results say so")
    eval_epochs: int | None = option(1, type=int, metavar="N", trains=False, off=0, common=True,
        help="evaluate after every N epochs, and at the end; 0: at the end only")
    eval_windows: int | None = option(None, type=int, metavar="N", trains=False,
        help="evaluate after every N training windows, instead of --eval_epochs")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Folders, mode, saving and logging of a run."""

    title: ClassVar[str] = "run"
    trains: ClassVar[bool] = False

    checkpoint: str = option("checkpoint", metavar="DIR", common=True,
        help="folder of run folders")
    name: str | None = option(None, key="run", metavar="NAME", common=True,
        help="name of the run folder; by default made of the main options")
    fresh: bool = option(False, action="store_true", common=True,
        help="start over; the old run folder is kept under another name")
    resume: str | None = option(None, metavar="CHECKPOINT", common=True,
        help="start from this checkpoint, ours or a published one; a stopped run goes on without this flag")
    evaluate: str | None = option(None, nargs="?", const="best.pt", metavar="CHECKPOINT", common=True,
        help="evaluate instead of training: best.pt of the run folder, or this checkpoint")
    output: str | None = option(None, metavar="DIR", common=True,
        help="folder for results; by default beside the checkpoint")
    by_subject: bool = option(False, action="store_true",
        help="print the errors of every subject too (h36m, humaneva15)")
    save_steps: int | None = option(None, type=int, metavar="N", off=0,
        help="write last.pt every N optimiser steps")
    save_minutes: float | None = option(10.0, type=float, metavar="M", off=0,
        help="write last.pt every M minutes, the first time in the first minute; 0: never")
    save_attempts: int = option(5, type=int, metavar="N",
        help="end the run when last.pt could not be written N times in a row")
    timeout: float = option(10.0, type=float, metavar="M",
        help="end the run when a process was missing for M minutes; preparing the data may take longer")
    checkpoint_frequency: int | None = option(None, type=int, metavar="N", off=0,
        help="keep the state after every N epochs as epoch_<number>.pt")
    export_training_curves: bool = option(True, action=SWITCH,
        help="draw training_curves.png after every evaluation")
    log_steps: int = option(50, type=int, metavar="N", common=True,
        help="optimiser steps between two lines of the log")
    workers: int | None = option(None, type=int, metavar="N", off=0,
        help="CPU threads of each process; by default the cores are shared out (there are no loader processes)")
    debug: bool = option(False, action="store_true", trains=True, common=True,
        help="run everything in about a minute: small model, few steps, few test frames")
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
        """The run folder's name: --run, or made of the options that define the run."""
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
