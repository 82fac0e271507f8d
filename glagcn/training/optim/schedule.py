"""Learning rate, BatchNorm momentum and run length as pure functions of progress: there is no scheduler state.

Progress is counted in training windows, so a schedule does not depend on batch size or epoch length.
"""

import math

import numpy as np

from glagcn.config.options import OptimConfig
from glagcn.data.windows.plan import EpochPlan, share

# Defaults when --batch_size and --warmup are not given: aim for FITTING_STEPS steps in batches of LEAST to MOST
# windows, the first WARMUP_STEPS of which warm up (docs/recipe.md).
FITTING_STEPS, LEAST, MOST = 1000, 64, 1200
WARMUP_STEPS = 16

SHORT_EPOCHS, CURVE_POINTS, EVALUATION_SHARE = 5, 10, 0.1  # see curve_windows


def fitting_batch(windows: int) -> int:
    """The default batch size of a run over `windows` training windows."""
    return min(MOST, max(LEAST, windows // FITTING_STEPS))


def micro_batch(optim: OptimConfig, batch_size: int) -> int:
    """The largest micro-batch, windows: --micro_batch, or the batch divided by --accumulate."""
    return min(batch_size, -(-batch_size // optim.accumulate) if optim.accumulate else optim.micro_batch)


def step_sizes(optim: OptimConfig, plan: EpochPlan) -> frozenset[int]:
    """The micro-batch sizes of a full global batch: one size, or two that differ by one."""
    batch_size = min(plan.batch_size, plan.num_windows)
    return frozenset(share(batch_size, micro_batch(optim, plan.batch_size), 0, 1).sizes)


def planned_windows(optim: OptimConfig, plan: EpochPlan) -> int:
    """The training windows that the schedule spans: --windows, or those of --epochs."""
    return optim.windows or optim.epochs * plan.num_windows


def planned_steps(optim: OptimConfig, plan: EpochPlan) -> int:
    """The optimiser steps of the planned windows."""
    return plan.steps_for(planned_windows(optim, plan))


def last_step(optim: OptimConfig, plan: EpochPlan) -> int:
    """The last optimiser step of a run: the last planned step, or --max_steps."""
    whole = planned_steps(optim, plan)
    return min(whole, optim.max_steps or whole)


def planned_epochs(optim: OptimConfig, plan: EpochPlan) -> float:
    """The planned windows in epochs."""
    return planned_windows(optim, plan) / plan.num_windows


def curve_windows(windows: int, epochs: float, scored: int, flip: bool) -> int | None:
    """Training windows between two evaluations of a run of `windows` training windows, which are `epochs` epochs.

    scored  frames of an evaluation;  flip  whether each is predicted twice (--test_flip).
    A prediction takes a third of the time of a training window, which is also propagated backwards.  The curve has
    CURVE_POINTS points, or fewer, so that evaluations take at most EVALUATION_SHARE of the training time.
    None for a run of SHORT_EPOCHS or more, and where an evaluation per epoch gives as many points.
    """
    cost = scored * (2 if flip else 1) / 3
    points = min(CURVE_POINTS, int(EVALUATION_SHARE * windows / max(cost, 1)))
    return -(-windows // points) if epochs < SHORT_EPOCHS and points > epochs else None


def learning_rate(optim: OptimConfig, plan: EpochPlan, step: int) -> float:
    """The learning rate of the optimiser step that follows `step` finished steps.

    exponential  exponential decay from --lr to --lr_final, per step.
    linear       linear decay from --lr to --lr_final, per step.
    cosine       half a cosine from --lr to --lr_final, per epoch, as PyTorch's CosineAnnealingLR with T_max = --epochs
                 (the published Human3.6M and HumanEva-I scripts).
    steps        after epoch e, counted from 1, multiplied by --lr_decay_large if --large_decay_epoch divides e, else by
                 --lr_decay (the published 3DHP script).
    All schedules rise linearly from 0 over the first --warmup windows.
    """
    seen, epoch = plan.windows_until(step), step // plan.steps_per_epoch
    progress = min(1.0, seen / planned_windows(optim, plan))
    final = optim.lr_final or 0.0
    if optim.schedule == "steps":
        assert optim.large_decay_epoch  # config.checks requires these three
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


def dropout_seed(*counters: int) -> int:
    """A seed derived from counters (seed, epoch, index, micro-batch): different counters give different seeds."""
    return int(np.random.SeedSequence(counters).generate_state(1, np.uint64)[0] >> np.uint64(1))


def bn_momentum(optim: OptimConfig, plan: EpochPlan, epoch: int) -> float:
    """The momentum of the BatchNorm statistics after `epoch` finished epochs.

    It changes exponentially from --bn_momentum to --bn_momentum_final over the planned epochs.
    """
    passed = min(1.0, epoch / planned_epochs(optim, plan))
    return optim.bn_momentum * (optim.bn_momentum_final / optim.bn_momentum) ** passed
