"""The learning rate and the momentum of BatchNorm as pure functions of progress: nothing to save, nothing to step once
per process."""

import math

from glagcn.config import Config


def learning_rate(config: Config, epoch: int, fraction: float, step: int) -> float:
    """The rate of one optimiser step.

    epoch     finished epochs.
    fraction  of the current epoch that is done, in [0, 1).
    step      finished optimiser steps since the start of the run; drives the warm-up.

    Schedule "exponential": from --lr to --lr_final over --epochs, step by step.  "cosine": half a cosine between the
    same two, epoch by epoch, as PyTorch's CosineAnnealingLR with T_max = --epochs (the published Human3.6M and
    HumanEva-I scripts).  "steps": at the end of epoch e, counted from 1, times --lr_decay_large where
    --large_decay_epoch divides e and times --lr_decay elsewhere (the published 3DHP script).
    """
    if config.schedule == "steps":
        large = epoch // config.large_decay_epoch
        rate = config.lr * config.lr_decay_large**large * config.lr_decay ** (epoch - large)
    elif config.schedule == "cosine":
        final = config.lr_final or 0.0
        rate = final + (config.lr - final) * (1 + math.cos(math.pi * min(1.0, epoch / config.epochs))) / 2
    else:
        progress = min(1.0, (epoch + fraction) / config.epochs)
        rate = config.lr * ((config.lr_final or config.lr) / config.lr) ** progress
    return rate * min(1.0, (step + 1) / (config.warmup + 1))


def bn_momentum(config: Config, epoch: int) -> float:
    """The momentum of the BatchNorm statistics after `epoch` finished epochs.

    From --bn_momentum towards --bn_momentum_final over --epochs, exponentially; constant where the two are equal.
    """
    return config.bn_momentum * (config.bn_momentum_final / config.bn_momentum) ** min(1.0, epoch / config.epochs)
