"""The learning rate and the momentum of BatchNorm as pure functions of progress: nothing to save, nothing to step once
per process.

Progress is counted in training windows, so that a schedule is the same for every batch size and wherever an epoch ends.
"""

import math

from glagcn.config.config import OptimConfig
from glagcn.data.windows.plan import EpochPlan, share

# Defaults when --batch_size and --warmup are not given: aim for FITTING_STEPS steps in batches of LEAST to MOST
# windows, the first WARMUP_STEPS of which warm up (docs/recipe.md).
FITTING_STEPS, LEAST, MOST = 1000, 64, 1200
WARMUP_STEPS = 16


def fitting_batch(windows: int) -> int:
    """The default batch of a run over `windows` training windows: large, but with enough steps to learn in."""
    return min(MOST, max(LEAST, windows // FITTING_STEPS))


def micro_batch(optim: OptimConfig, batch_size: int) -> int:
    """The most windows of a micro-batch: --micro_batch, or a part of the batch where --accumulate says how many."""
    return min(batch_size, -(-batch_size // optim.accumulate) if optim.accumulate else optim.micro_batch)


def step_sizes(optim: OptimConfig, plan: EpochPlan) -> frozenset[int]:
    """The sizes of the micro-batches of a whole global batch: one, or two that differ by one."""
    batch_size = min(plan.batch_size, plan.num_windows)
    return frozenset(share(batch_size, micro_batch(optim, plan.batch_size), 0, 1).sizes)


def planned_windows(optim: OptimConfig, plan: EpochPlan) -> int:
    """The training windows that the schedule spans: --windows, or all of --epochs."""
    return optim.windows or optim.epochs * plan.num_windows


def planned_steps(optim: OptimConfig, plan: EpochPlan) -> int:
    """The optimiser steps that see them."""
    return plan.steps_for(planned_windows(optim, plan))


def last_step(optim: OptimConfig, plan: EpochPlan) -> int:
    """The optimiser step that a run ends at: the last of them, or --max_steps."""
    whole = planned_steps(optim, plan)
    return min(whole, optim.max_steps or whole)


def planned_epochs(optim: OptimConfig, plan: EpochPlan) -> float:
    """How many times that is all windows."""
    return planned_windows(optim, plan) / plan.num_windows


def learning_rate(optim: OptimConfig, plan: EpochPlan, step: int) -> float:
    """The rate of one optimiser step, after `step` finished ones.

    Schedule "exponential": from --lr to --lr_final, "linear": along a line between the same two, both step by step.
    "cosine": half a cosine between them, epoch by epoch, as PyTorch's CosineAnnealingLR with T_max = --epochs (the
    published Human3.6M and HumanEva-I scripts).  "steps": at the end of epoch e, counted from 1, times
    --lr_decay_large where --large_decay_epoch divides e and times --lr_decay elsewhere (the published 3DHP script).
    All rise from 0 over the first --warmup windows.
    """
    seen, epoch = plan.windows_until(step), step // plan.steps_per_epoch
    progress = min(1.0, seen / planned_windows(optim, plan))
    final = optim.lr_final or 0.0
    if optim.schedule == "steps":
        assert optim.large_decay_epoch  # as config.checks wants
        assert optim.lr_decay
        assert optim.lr_decay_large
        large = epoch // optim.large_decay_epoch
        rate = optim.lr * optim.lr_decay_large**large * optim.lr_decay ** (epoch - large)
    elif optim.schedule == "cosine":
        passed = min(1.0, epoch / planned_epochs(optim, plan))
        rate = final + (optim.lr - final) * (1 + math.cos(math.pi * passed)) / 2
    elif optim.schedule == "linear":
        rate = optim.lr + (final - optim.lr) * progress
    else:
        rate = optim.lr * ((optim.lr_final or optim.lr) / optim.lr) ** progress
    return rate * min(1.0, plan.windows_until(step + 1) / max(1, optim.warmup or 0))


def bn_momentum(optim: OptimConfig, plan: EpochPlan, epoch: int) -> float:
    """The momentum of the BatchNorm statistics after `epoch` finished epochs.

    From --bn_momentum towards --bn_momentum_final over the planned epochs, exponentially; constant where the two are
    equal.
    """
    passed = min(1.0, epoch / planned_epochs(optim, plan))
    return optim.bn_momentum * (optim.bn_momentum_final / optim.bn_momentum) ** passed
