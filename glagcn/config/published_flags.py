"""Spellings of the published scripts, and their flags that have no meaning here.

Every flag is also understood with hyphens for underscores: the published scripts use both.
"""

from typing import Any

# {option: other spellings of its flag}
ALIASES: dict[str, tuple[str, ...]] = {
    "dataset": ("-d",),
    "keypoints": ("-k",),
    "subjects_train": ("-str",),
    "subjects_test": ("-ste",),
    "actions": ("-a",),
    "stride": ("-s",),
    "test_flip": ("-tta", "--test_augmentation", "--test_time_augmentation"),
    "frames": ("-f",),
    "architecture": ("-arc",),
    "channels": ("-ch", "--channels"),
    "dropout": ("-drop",),
    "resume": ("-r",),
    "epochs": ("-e",),
    "batch_size": ("-b",),
    "lr": ("-lr", "--learning_rate"),
    "lr_decay": ("-lrd",),
    "checkpoint": ("-c",),
    "run": ("--run_name",),  # torchrun takes --run for an option of its own
    "debug": ("-dg",),
}

# {option: {value: flags that stand for it}}
SWITCHES: dict[str, dict[Any, tuple[str, ...]]] = {
    "flip": {"copy": ("-da", "--data_augmentation")},
    "eval_epochs": {0: ("--no_eval",)},
    "compile": {"off": ("--no_compile",)},
}

# {flag: why it is refused, and what to do instead}
REFUSED = {
    "--dense": "dense (dilated) convolutions are VideoPose3D's; this network strides instead. Leave it out",
    "--disable-optimizations": "there is one implementation of the network, so nothing to switch. Leave it out",
    **dict.fromkeys(
        ("--linear-projection", "--no-bone-length", "--no-proj"),
        "it belongs to VideoPose3D's semi-supervised training, which this network does not have. Leave it out",
    ),
    "--nepoch": "the published script trains one epoch fewer than it says. Give --epochs N, with N that number",
    "--train": "training is what happens without --evaluate. Leave it out",
    "--test": "give --evaluate, alone or with a checkpoint",
    **dict.fromkeys(("--reload", "--previous_dir"), "name the file: --evaluate CHECKPOINT or --resume CHECKPOINT"),
    "--reverse_augmentation": "playing sequences backwards was off in the published runs and is not built",
    **dict.fromkeys(
        ("--refine", "--refine_reload", "--lr_refine"),
        "the refinement network was never published, and it needs cameras that the data does not have",
    ),
    "--crop_uv": "2D poses are never cropped, as in the published runs. Leave it out",
    "--out_all": "the sequence head predicts all frames in training; see --sequence_layers. Leave it out",
    "--pad": "it follows from --frames. Leave it out",
    "--n_joints": "it follows from --dataset and --keypoints. Leave it out",
    "--out_joints": "it follows from --dataset. Leave it out",
    "--in_channels": "a 2D pose has two. Leave it out",
    "--out_channels": "a 3D pose has three. Leave it out",
    "--d_hid": "it belongs to another network. Give --channel",
    "--layers": "it belongs to another network. Give --sequence_layers",
    **dict.fromkeys(
        ("--sync_bn", "--no-sync_bn"),
        "batch statistics are over a micro-batch, whatever the number of GPUs. Give --micro_batch N",
    ),
    "--gpu": "set CUDA_VISIBLE_DEVICES instead",
    "--local_rank": "the launcher tells it through the environment. Use torchrun or accelerate launch",
    "--nproc_per_node": "it is a flag of torchrun: torchrun --nproc_per_node N -- main_sagcn_gpus.py ...",
}
