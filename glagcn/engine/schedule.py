"""The learning rate as a pure function of progress: nothing to save, nothing to step once per process."""

from glagcn.config import Config

PUBLISHED_DECAY = 0.95
PUBLISHED_LARGE_DECAY = 0.5
PUBLISHED_LARGE_EVERY = 5


def learning_rate(config: Config, epoch: int, fraction: float, step: int) -> float:
    """The rate of one optimiser step.

    epoch     finished epochs.
    fraction  of the current epoch that is done, in [0, 1).
    step      finished optimiser steps since the start of the run; drives the warm-up.

    Recipe published: constant within an epoch; at the end of epoch e, counted from 1, halved where 5 divides e and
    multiplied by 0.95 elsewhere (the published 3DHP script).  Recipe tuned: exponential from --lr to --lr_final
    over --epochs, step by step.
    """
    if config.recipe == "published":
        large = epoch // PUBLISHED_LARGE_EVERY
        rate = config.lr * PUBLISHED_LARGE_DECAY**large * PUBLISHED_DECAY ** (epoch - large)
    else:
        progress = min(1.0, (epoch + fraction) / config.epochs)
        rate = config.lr * ((config.lr_final or config.lr) / config.lr) ** progress
    return rate * min(1.0, (step + 1) / (config.warmup + 1))
