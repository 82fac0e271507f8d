"""Every option of the trainer once: its flags, its meaning, and what it may be.

A value comes from, in this order: a flag, the preset of the data set and recipe, the default of the field;
`--debug` then caps whatever would make a run long.  Nothing here imports torch, so that `--help` is immediate.
"""

import argparse
from dataclasses import dataclass

from glagcn.config.parser import comma_separated, option
from glagcn.config.presets import DATASETS, GRAPHS, RECIPES
from glagcn.widths import widths_for


# fmt: off
@dataclass(frozen=True)
class Config:
    """The resolved options of one run."""

    dataset: str = option("h36m", "-d", "--dataset", choices=DATASETS, group="data", trains=True,
        help="h36m: Human3.6M; humaneva15: HumanEva-I; 3dhp: MPI-INF-3DHP; demo: synthetic people, made on the spot")
    root_path: str = option("data", "--root_path", metavar="DIR", group="data",
        help="where the published files are, and the cache made of them")
    cache_dir: str | None = option(None, "--cache_dir", metavar="DIR", group="data",
        help="keep the cache here instead, for instance when --root_path is read-only")
    keypoints: str = option("gt", "-k", "--keypoints", metavar="NAME", group="data", trains=True,
        help="source of the 2D poses: gt is the ground truth; others as their files are named, "
        "data_2d_h36m_cpn_ft_h36m_dbb.npz is cpn_ft_h36m_dbb")
    annotation: str = option(None, "--annotation", choices=("univ", "annot3"), group="data", trains=True,
        help="3D reference of 3dhp: univ_annot3 (the field's protocol) or annot3 (true scale)")
    cameras: tuple[int, ...] | None = option(None, "--cameras", metavar="0,1,...", type=comma_separated(int),
        group="data", trains=True,
        help="train on these cameras only")
    subjects_train: tuple[str, ...] | None = option(None, "-str", "--subjects_train", metavar="S1,...",
        type=comma_separated(str), group="data", trains=True,
        help="train on these subjects only")
    subjects_test: tuple[str, ...] | None = option(None, "-ste", "--subjects_test", metavar="S9,...",
        type=comma_separated(str), group="data", trains=True,
        help="evaluate these subjects only")
    actions: tuple[str, ...] | None = option(None, "-a", "--actions", metavar="Walk,...",
        type=comma_separated(str), group="data", trains=True,
        help="train on and evaluate the actions that begin with these words; * is all")
    downsample: int = option(1, "--downsample", type=int, metavar="N", group="data", trains=True,
        help="use every N-th frame of every sequence, in training and evaluation")
    subset: float = option(1.0, "--subset", type=float, group="data", trains=True,
        help="train on this leading fraction of every sequence")
    stride: int = option(1, "-s", "--stride", type=int, group="data", trains=True,
        help="frames between the centres of training windows")
    flip: str = option(None, "--flip", choices=("copy", "random", "none"), group="data", trains=True,
        short_for={"copy": ("-da", "--data_augmentation")},
        help="horizontal flips in training: a second copy of every window, a random draw per window, or none")
    distort_targets: bool = option(False, "--distort_targets", group="data", trains=True,
        action=argparse.BooleanOptionalAction,
        help="turn (-5, 0, 5 degrees) and scale (0.95, 1, 1.05) the 3D target of every training window by a draw, and "
        "not its 2D: the published runs on Human3.6M and HumanEva-I did")
    turn: float = option(None, "--turn", type=float, metavar="DEGREES", group="data", trains=True,
        help="turn the person of every training window about the vertical by a draw up to this, either way, and "
        "project again; 180 is anything")
    tilt: float = option(None, "--tilt", type=float, metavar="DEGREES", group="data", trains=True,
        help="likewise look at it from higher or lower")
    roll: float = option(None, "--roll", type=float, metavar="DEGREES", group="data", trains=True,
        help="likewise turn the camera about its axis")
    distance: float = option(None, "--distance", type=float, metavar="E", group="data", trains=True,
        help="likewise move the camera nearer or away, by a factor of e^-E to e^E")
    test_flip: bool = option(None, "-tta", "--test_flip", "--test_augmentation", "--test_time_augmentation",
        group="data", trains=True, action=argparse.BooleanOptionalAction,
        help="average the predictions of a window and of its mirror image when evaluating")
    stream: str = option("auto", "--stream", choices=("auto", "on", "off"), group="data", trains=True,
        help="read training frames from the cache in shuffled blocks; auto: where they fit neither device nor host")

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
    graph: str | None = option(None, "--graph", choices=GRAPHS, group="model", trains=True,
        help="links of the graph convolution where they are not those of the data's joints: h36m for 3dhp, as in the "
        "published script; humaneva15, humaneva15_coco17: as in the published HumanEva-I models")
    causal: bool = option(False, "--causal", group="model", trains=True, action=argparse.BooleanOptionalAction,
        help="lift the last frame of a window instead of its centre: no frames to come are needed")
    relative_input: bool = option(None, "--relative_input", group="model", trains=True,
        action=argparse.BooleanOptionalAction,
        help="read the 2D joints relative to the root, and the root as it is, instead of all as they are")
    dropout: float = option(None, "-drop", "--dropout", type=float, group="model", trains=True,
        help="dropout probability")

    recipe: str = option(None, "--recipe", choices=RECIPES, group="optimisation", trains=True,
        help="how weights start, and the defaults of this group: tuned (ours; 3dhp, demo) or published (the paper's "
        "scripts; h36m, humaneva15)")
    resume: str | None = option(None, "-r", "--resume", metavar="CHECKPOINT", group="optimisation",
        help="start from this checkpoint, ours or a published one; a run that was stopped goes on without this flag")
    epochs: int = option(None, "-e", "--epochs", type=int, group="optimisation",
        help="passes over the training windows; the schedule spans them")
    windows: int | None = option(None, "--windows", type=int, metavar="N", group="optimisation",
        help="train on this many windows instead of --epochs; the schedule spans them")
    max_steps: int | None = option(None, "--max_steps", type=int, metavar="N", group="optimisation",
        help="end at optimiser step N, counted from the start of the run; the schedule stays that of --epochs")
    batch_size: int | None = option(None, "-b", "--batch_size", type=int, metavar="N", group="optimisation",
        trains=True,
        help="windows per optimiser step over all processes; by default tuned fits it to --windows or --epochs, 64 in "
        "short runs and up to 1200 in long ones (demo: 128)")
    micro_batch: int = option(None, "--micro_batch", type=int, metavar="N", group="optimisation", trains=True,
        help="windows that are computed at a time: a batch is cut into equal parts of at most N, which take turns on "
        "a GPU and are spread over all; BatchNorm takes its statistics over each (3dhp: 150)")
    accumulate: int | None = option(None, "--accumulate", type=int, metavar="K", group="optimisation", trains=True,
        help="cut every batch into K parts; --micro_batch says the same as a number of windows")
    lr: float = option(None, "-lr", "--lr", "--learning_rate", type=float, group="optimisation", trains=True,
        help="learning rate at the start, for the global batch: never divided by the number of processes; tuned: "
        "Muon's, 0.016 up to 128 channels and 0.004 beyond")
    optimizer: str = option(None, "--optimizer", choices=("muon", "adam", "ranger"), group="optimisation",
        trains=True,
        help="Muon (orthogonalised momentum), Adam with amsgrad, or Ranger (RAdam with Lookahead)")
    schedule: str = option(None, "--schedule", choices=("exponential", "linear", "cosine", "steps"),
        group="optimisation", trains=True,
        help="decay of the rate: exponential or linear to --lr_final step by step, a cosine to --lr_final epoch by "
        "epoch, or factors after epochs")
    lr_final: float | None = option(None, "--lr_final", type=float, group="optimisation", trains=True,
        help="learning rate at the end of training (exponential, linear, cosine)")
    lr_decay: float | None = option(None, "-lrd", "--lr_decay", type=float, group="optimisation", trains=True,
        help="factor of the rate after an epoch (steps)")
    lr_decay_large: float | None = option(None, "--lr_decay_large", type=float, group="optimisation", trains=True,
        help="factor instead of it after every --large_decay_epoch-th epoch (steps)")
    large_decay_epoch: int | None = option(None, "--large_decay_epoch", type=int, metavar="N", group="optimisation",
        trains=True,
        help="see --lr_decay_large (steps)")
    bn_momentum: float = option(0.1, "--bn_momentum", type=float, group="optimisation", trains=True,
        help="momentum of the BatchNorm statistics in the first epoch")
    bn_momentum_final: float = option(None, "--bn_momentum_final", type=float, group="optimisation", trains=True,
        help="momentum that it falls to over --epochs, exponentially, epoch by epoch")
    warmup: int | None = option(None, "--warmup", type=int, metavar="WINDOWS", group="optimisation", trains=True,
        help="training windows over which the learning rate rises from 0; by default tuned takes those of 16 steps "
        "(demo: 1000)")
    clip: float = option(0.0, "--clip", type=float, metavar="NORM", group="optimisation", trains=True,
        help="clip the gradient to this norm; 0 does not")
    sequence_weight: float = option(1.0, "--sequence_weight", type=float, group="optimisation", trains=True,
        help="weight of the sequence head's loss beside the single head's")
    select_on: str = option(None, "--select_on", choices=("validation", "test", "last"), group="optimisation",
        trains=True,
        help="what chooses best.pt: held-out training sequences, the test set (as published), or nothing: all is "
        "trained on, and the last state is the result")
    validation: tuple[str, ...] | None = option(None, "--validation", metavar="S4/Seq1,...", type=comma_separated(str),
        group="optimisation", trains=True,
        help="the held-out training sequences, by the beginnings of their names")
    validation_frames: int | None = option(2000, "--validation_frames", type=int, metavar="N", group="optimisation",
        trains=True,
        help="validate on N of their frames, evenly spread")
    seed: int = option(0, "--seed", type=int, group="optimisation", trains=True,
        help="every draw follows from it: weights, order, flips, dropout")

    precision: str = option("auto", "--precision", choices=("auto", "fp32", "tf32", "bf16"),
        group="machine", trains=True,
        help="arithmetic of training; auto is bf16 on GPUs that have it and fp32 elsewhere")
    compile: str = option("auto", "--compile", nargs="?", const="on", choices=("auto", "on", "off"), group="machine",
        short_for={"off": ("--no_compile",)},
        help="compile training steps with torch.compile; auto: on GPUs; alone it means on")
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
    by_subject: bool = option(False, "--by_subject", group="run", action="store_true",
        help="print the errors of every subject too (h36m, humaneva15)")
    save_steps: int = option(0, "--save_steps", type=int, metavar="N", group="run",
        help="write last.pt every N optimiser steps")
    save_minutes: float = option(10.0, "--save_minutes", type=float, metavar="M", group="run",
        help="write last.pt every M minutes; 0 does not")
    checkpoint_frequency: int = option(0, "--checkpoint_frequency", type=int, metavar="N", group="run",
        help="keep the state after every N epochs as epoch_<number>.pt; 0 keeps last.pt and best.pt alone")
    eval_epochs: int = option(1, "--eval_epochs", type=int, metavar="N", group="run",
        short_for={0: ("--no_eval",)},
        help="evaluate after every N epochs, and at the end; 0: at the end only")
    eval_windows: int | None = option(None, "--eval_windows", type=int, metavar="N", group="run",
        help="evaluate after every N training windows instead")
    export_training_curves: bool = option(True, "--export_training_curves", group="run",
        action=argparse.BooleanOptionalAction,
        help="draw training_curves.png in the run folder after every evaluation")
    log_steps: int = option(50, "--log_steps", type=int, metavar="N", group="run",
        help="optimiser steps between two lines of the log")
    test_frames: int | None = option(None, "--test_frames", type=int, metavar="N", group="run", trains=True,
        help="evaluate on N valid test frames only, evenly spread; results say so")
    debug: bool = option(False, "-dg", "--debug", group="run", action="store_true", trains=True,
        help="the whole way in about a minute: a small model, few steps, few test frames")
    dry_run: bool = option(False, "--dry_run", group="run", action="store_true",
        help="stop after the summary of what would run")

    render: bool = option(False, "--render", group="rendering", action="store_true",
        help="draw one sequence instead of training, with best.pt or the checkpoint of --evaluate")
    viz_subject: str | None = option(None, "--viz_subject", group="rendering", help="whom to draw, such as S11 or TS1")
    viz_action: str | None = option(None, "--viz_action", group="rendering", help="what, such as Walking or Seq1")
    viz_camera: int = option(0, "--viz_camera", type=int, metavar="N", group="rendering", help="seen by which camera")
    viz_output: str | None = option(None, "--viz_output", metavar="FILE", group="rendering",
        help="write the animation here: .gif or .mp4")
    viz_video: str | None = option(None, "--viz_video", metavar="FILE", group="rendering",
        help="show the frames of this video behind the 2D poses")
    viz_skip: int = option(0, "--viz_skip", type=int, metavar="N", group="rendering", help="begin at frame N")
    viz_limit: int = option(-1, "--viz_limit", type=int, metavar="N", group="rendering",
        help="show at most N frames; -1 shows all")
    viz_downsample: int = option(1, "--viz_downsample", type=int, metavar="N", group="rendering",
        help="show every N-th frame, at the fps divided by N")
    viz_size: float = option(5.0, "--viz_size", type=float, metavar="INCHES", group="rendering",
        help="height of the picture, at 100 pixels an inch")
    viz_bitrate: int = option(3000, "--viz_bitrate", type=int, metavar="KBPS", group="rendering", help="of the .mp4")
    viz_ground_truth: bool = option(True, "--viz_no_ground_truth", action="store_false", group="rendering",
        help="leave the true pose out")
    viz_export: str | None = option(None, "--viz_export", metavar="FILE", group="rendering",
        help="write the coordinates of the frames that are shown: .npz or .csv")
    viz_keypoints: str | None = option(None, "--viz_keypoints", metavar="FILE", group="rendering",
        help="lift these 2D poses [T,V,2] (.npy, .npz) instead of a sequence of the data set")
    viz_image_size: tuple[int, ...] | None = option(None, "--viz_image_size", metavar="W,H", type=comma_separated(int),
        group="rendering", help="pixels of the image that --viz-keypoints were found in")
    viz_fps: float | None = option(None, "--viz_fps", type=float, metavar="F", group="rendering",
        help="frames per second, where neither poses nor video say it or both are wrong")

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
