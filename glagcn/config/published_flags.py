"""Flags of the published scripts and of other trainers: spellings that are accepted, and flags that are refused.

Every flag is also accepted with hyphens instead of underscores: the published scripts use both.
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
    "run": ("--run_name",),  # torchrun interprets --run itself, as an abbreviation
    "debug": ("-dg",),
}

# {option: {value: flags that set it}}
SWITCHES: dict[str, dict[Any, tuple[str, ...]]] = {
    "flip": {"copy": ("-da", "--data_augmentation")},
    "eval_epochs": {0: ("--no_eval",)},
    "compile": {"off": ("--no_compile",)},
}

# {flag: reason for refusing it, and what to do}: flags of other programs, in every command that has no such flag
REFUSED_EVERYWHERE = {
    **dict.fromkeys(
        ("--gpu", "--gpus", "--gpu_id", "--gpu_ids", "--num_gpus", "--n_gpu", "--devices"),
        "a process uses one GPU; set CUDA_VISIBLE_DEVICES to choose it. To train or evaluate on N GPUs, use "
        "torchrun --nproc_per_node N or accelerate launch --num_processes N",
    ),
    **dict.fromkeys(
        ("--device", "--cuda", "--use_cuda", "--no_cuda", "--cpu"),
        "a GPU is used where there is one. Set CUDA_VISIBLE_DEVICES to choose it; set to nothing, it means the CPU",
    ),
    **dict.fromkeys(
        ("--num_workers", "--n_workers", "--dataloader_num_workers", "--pin_memory"),
        "there are no loader processes: windows are cut from memory, on the device. Leave it out",
    ),
}

# {flag: reason for refusing it, and what to do}: in main_sagcn_gpus.py
REFUSED = {
    "--dense": "this network uses strided, not dense (dilated) convolutions. Leave it out",
    "--disable-optimizations": "there is only one implementation of the network. Leave it out",
    **dict.fromkeys(
        ("--linear-projection", "--no-bone-length", "--no-proj"),
        "it belongs to VideoPose3D's semi-supervised training, which is not supported. Leave it out",
    ),
    "--nepoch": "the published script trains for one epoch fewer than --nepoch. Give --epochs with that number",
    "--train": "training is the default. Leave it out",
    "--test": "give --evaluate, alone or with a checkpoint",
    **dict.fromkeys(
        ("--reload", "--previous_dir", "--pretrained", "--ckpt", "--weights"),
        "name the file: --evaluate CHECKPOINT or --resume CHECKPOINT",
    ),
    "--reverse_augmentation": "reversing sequences in time was off in the published runs and is not implemented",
    **dict.fromkeys(
        ("--refine", "--refine_reload", "--lr_refine"),
        "the refinement network was never published, and needs cameras that the data does not have",
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
        "batch statistics are per micro-batch, independent of the number of GPUs. Give --micro_batch N",
    ),
    **dict.fromkeys(
        ("--fp16", "--bf16", "--amp", "--mixed_precision"),
        "give --precision auto, fp32, tf32 or bf16; auto is the default",
    ),
    **dict.fromkeys(
        ("--wandb", "--use_wandb", "--wandb_project", "--mlflow", "--tensorboard", "--report_to", "--logger"),
        "give --log_with tensorboard (the default), wandb, mlflow or none. WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME in "
        "the environment names the project",
    ),
    **dict.fromkeys(
        ("--output_dir", "--save_dir", "--log_dir", "--work_dir", "--exp_name"),
        "the folder of the runs is -c, the name of a run --run. Give these",
    ),
    "--gradient_accumulation_steps": "a large batch is cut by itself. Give --micro_batch N or --accumulate K",
    **dict.fromkeys(
        ("--distributed", "--multi_gpu", "--ddp", "--world_size", "--num_processes"),
        "the launcher decides. Use torchrun --nproc_per_node N or accelerate launch --num_processes N",
    ),
    "--local_rank": "the launcher sets it in the environment. Use torchrun or accelerate launch",
    "--nproc_per_node": "it is a flag of torchrun: torchrun --nproc_per_node N -- main_sagcn_gpus.py ...",
}
