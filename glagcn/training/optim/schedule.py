"""The learning rate and the momentum of BatchNorm as pure functions of progress: nothing to save, nothing to step once
per process.

Progress is counted in training windows, so that a schedule is the same for every batch size and wherever an epoch ends.
"""

import math
from dataclasses import replace

from glagcn.config.config import Config
from glagcn.data.windows.plan import EpochPlan, share

# What fits a run, where --batch_size and --warmup do not say otherwise: so many steps, in batches between these, of
# which the first few warm up (docs/recipe.md).
FITTING_STEPS, LEAST, MOST = 1000, 64, 1200
WARMUP_STEPS = 16


def fitting_batch(windows: int) -> int:
    """The batch of a run over so many windows: as large as leaves steps enough to learn in."""
    return min(MOST, max(LEAST, windows // FITTING_STEPS))


def fitted(config: Config, plan: EpochPlan) -> Config:
    """The options with what they left open: the batch that the plan has, and the windows of the warm-up."""
    warmup = WARMUP_STEPS * plan.batch_size if config.warmup is None else config.warmup
    return replace(config, batch_size=plan.batch_size, warmup=warmup)


def micro_batch(config: Config, batch_size: int) -> int:
    """The most windows of a micro-batch: --micro_batch, or a part of the batch where --accumulate says how many."""
    return min(batch_size, -(-batch_size // config.accumulate) if config.accumulate else config.micro_batch)


def step_sizes(config: Config, plan: EpochPlan) -> frozenset[int]:
    """The sizes of the micro-batches of a whole global batch: one, or two that differ by one."""
    batch_size = min(plan.batch_size, plan.num_windows)
    return frozenset(share(batch_size, micro_batch(config, plan.batch_size), 0, 1).sizes)


def planned_windows(config: Config, plan: EpochPlan) -> int:
    """The training windows that the schedule spans: --windows, or all of --epochs."""
    return config.windows or config.epochs * plan.num_windows


def planned_steps(config: Config, plan: EpochPlan) -> int:
    """The optimiser steps that see them."""
    return plan.steps_for(planned_windows(config, plan))


def last_step(config: Config, plan: EpochPlan) -> int:
    """The optimiser step that a run ends at: the last of them, or --max_steps."""
    whole = planned_steps(config, plan)
    return min(whole, config.max_steps or whole)


def planned_epochs(config: Config, plan: EpochPlan) -> float:
    """How many times that is all windows."""
    return planned_windows(config, plan) / plan.num_windows


def learning_rate(config: Config, plan: EpochPlan, step: int) -> float:
    """The rate of one optimiser step, after `step` finished ones.

    Schedule "exponential": from --lr to --lr_final, "linear": along a line between the same two, both step by step.
    "cosine": half a cosine between them, epoch by epoch, as PyTorch's CosineAnnealingLR with T_max = --epochs (the
    published Human3.6M and HumanEva-I scripts).  "steps": at the end of epoch e, counted from 1, times
    --lr_decay_large where --large_decay_epoch divides e and times --lr_decay elsewhere (the published 3DHP script).
    All rise from 0 over the first --warmup windows.
    """
    seen, epoch = plan.windows_until(step), step // plan.steps_per_epoch
    progress = min(1.0, seen / planned_windows(config, plan))
    final = config.lr_final or 0.0
    if config.schedule == "steps":
        large = epoch // config.large_decay_epoch
        rate = config.lr * config.lr_decay_large**large * config.lr_decay ** (epoch - large)
    elif config.schedule == "cosine":
        passed = min(1.0, epoch / planned_epochs(config, plan))
        rate = final + (config.lr - final) * (1 + math.cos(math.pi * passed)) / 2
    elif config.schedule == "linear":
        rate = config.lr + (final - config.lr) * progress
    else:
        rate = config.lr * ((config.lr_final or config.lr) / config.lr) ** progress
    return rate * min(1.0, plan.windows_until(step + 1) / max(1, config.warmup))


def bn_momentum(config: Config, plan: EpochPlan, epoch: int) -> float:
    """The momentum of the BatchNorm statistics after `epoch` finished epochs.

    From --bn_momentum towards --bn_momentum_final over the planned epochs, exponentially; constant where the two are
    equal.
    """
    passed = min(1.0, epoch / planned_epochs(config, plan))
    return config.bn_momentum * (config.bn_momentum_final / config.bn_momentum) ** passed
