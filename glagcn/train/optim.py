"""Schedules as pure functions of progress, so that there is no scheduler state, and the optimisers of the recipes.

Progress is counted in training windows: a schedule does not depend on batch size or epoch length.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from glagcn import dist
from glagcn.config.options import Config, OptimConfig
from glagcn.data.plan import EpochPlan, Share, share
from glagcn.model.interface import Model, without_compiler

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


def own_share(optim: OptimConfig, plan: EpochPlan, index: int) -> Share:
    """This rank's part of global batch `index` of any epoch."""
    count = min(plan.batch_size, plan.num_windows - index * plan.batch_size)
    return share(count, micro_batch(optim, plan.batch_size), dist.rank(), dist.world_size())


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


def next_evaluation(config: Config, plan: EpochPlan, step: int) -> int:
    """The first step after `step` that a run without --max_steps is evaluated after; the planned end at the latest."""
    selection, end = config.selection, planned_steps(config.optim, plan)
    if selection.select_on == "last":
        return end
    if every := selection.eval_windows:
        return min(end, plan.steps_for((plan.windows_until(step) // every + 1) * every))
    if every := selection.eval_epochs:
        return min(end, (step // plan.steps_per_epoch // every + 1) * every * plan.steps_per_epoch)
    return end


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
        large = epoch // (optim.large_decay_epoch or 1)  # config.resolve requires all three
        rate = optim.lr * (optim.lr_decay_large or 1) ** large * (optim.lr_decay or 1) ** (epoch - large)
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


MOMENTUM = 0.95
BETAS, EPS = (0.9, 0.999), 1e-8  # of Adam
RMS = 0.2  # root mean square of an update at rate 1, about that of Adam, so that both use the same rate
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's coefficients: singular values reach about 0.7 .. 1.2 in 5 rounds
ROUNDS = 5
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
COORDINATES = 3  # layers with at most this many outputs give coordinates, not features
ALIGNED = 8  # elements: tensor cores need bfloat16 rows that are multiples of 16 bytes


class Muon(torch.optim.Optimizer):
    """The optimiser of the tuned recipe: orthogonalised momentum for matrices, Adam for the rest.

    A weight [C',C,...] is treated as a matrix [C', C * taps].  Its update is the orthogonal matrix nearest to its
    Nesterov momentum (Jordan et al., "Muon", 2024), times `RMS * sqrt(longer side)`, which gives it the magnitude of an
    Adam update (Liu et al., "Muon is scalable for LLM training", 2025).

    matrices  parameters updated by Muon; their rows must be contiguous in memory, which holds for all layers.
    rest      parameters updated by Adam.
    lr        learning rate of both.  A group's "lr" may also be a scalar tensor on the device, for CUDA graphs.

    A step does not wait for the device.  The first step creates the state; later ones may be captured in a CUDA graph.
    If `found_inf`, a scalar tensor on the device, is 1, weights and state do not change.

    `torch.optim.Muon` (2.9 and later, with match_rms_adamw) and `pytorch_optimizer.Muon` compute the same update.  But
    the first takes matrices only, not the weights of convolutions, and neither has `found_inf`: a step that is not
    finite would change weights, or the host would have to wait for the device to see it.
    """

    def __init__(self, matrices: list[Parameter], rest: list[Parameter], lr: float) -> None:
        # "fused" tells load_state_dict that Adam's step counts live on the device.
        groups = [{"params": matrices, "fused": False}, {"params": rest, "fused": True}]
        super().__init__([group for group in groups if group["params"]], {"lr": lr})
        self.found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closure  # noqa: ARG002
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if moved:
                (self._adam if group["fused"] else self._muon)(moved, group["lr"])

    def _muon(self, parameters: list[Parameter], rate: float | Tensor) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        gradients = _gradients(parameters)
        # m - (beta - 1) * (g - m) is the mean beta * m + (1 - beta) * g.
        self._descend(momenta, gradients, MOMENTUM - 1, decay=-1.0)
        directions = torch._foreach_lerp(gradients, momenta, MOMENTUM)
        steps = orthogonal([_matrix(direction, like) for direction, like in zip(directions, parameters, strict=True)])
        torch._foreach_mul_(steps, [RMS * math.sqrt(max(step.shape)) for step in steps])
        self._descend([_matrix(parameter, parameter) for parameter in parameters], steps, rate)

    def _descend(self, values: list[Tensor], slopes: list[Tensor], rate: float | Tensor, decay: float = 0.0) -> None:
        """values -= rate * (slopes + decay * values), in one fused call, unless found_inf is 1."""
        sgd(
            values, slopes, [None] * len(values), fused=True, found_inf=self.found_inf, weight_decay=decay,
            momentum=0.0, lr=cast(float, rate), dampening=0.0, nesterov=False, maximize=False,
        )  # fmt: skip

    def _adam(self, parameters: list[Parameter], rate: float | Tensor) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {
                    "step": torch.zeros((), device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        states = [self.state[parameter] for parameter in parameters]
        means, squares, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
        adam(
            list(parameters), _gradients(parameters), means, squares, [], steps,
            fused=True, found_inf=self.found_inf, amsgrad=False, beta1=BETAS[0], beta2=BETAS[1], lr=rate,
            weight_decay=0.0, eps=EPS, maximize=False,
        )  # fmt: skip


def _gradients(parameters: list[Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def split(model: nn.Module) -> tuple[list[Parameter], list[Parameter]]:
    """The parameters of a model, in its order, as (matrices for Muon, rest for Adam).

    Matrices are the weights [outputs, inputs, ...] of all linear and convolutional layers except output layers
    (Model.output_weights) and layers with at most three outputs, which give coordinates.
    """
    outputs = {id(weight) for weight in model.output_weights()} if isinstance(model, Model) else set()
    layers = [module for module in model.modules() if isinstance(module, LAYERS) or hasattr(module, "maps_features")]
    weights = [cast(Tensor, layer.weight) for layer in layers]
    chosen = {id(weight) for weight in weights if len(weight) > COORDINATES} - outputs
    parameters = list(model.parameters())
    return [p for p in parameters if id(p) in chosen], [p for p in parameters if id(p) not in chosen]


def _matrix(x: Tensor, like: Tensor) -> Tensor:
    """View x [C',C,...] as [C', C * taps], with the columns in the memory order of `like`.

    The column order does not affect the nearest orthogonal matrix, and the memory order needs no copy.  Raises
    RuntimeError if x has another memory order or rows that are not contiguous.
    """
    order = sorted(range(1, x.dim()), key=like.stride, reverse=True)
    return x.permute(0, *order).view(-1).view(len(x), -1)


def orthogonal(matrices: list[Tensor], dtype: torch.dtype | None = None) -> list[Tensor]:
    """Each matrix [m,n] with singular values of about 1, by Newton-Schulz iterations; a zero matrix stays zero.

    Matrices of equal shape are stacked: a network has dozens of matrices in a few shapes.

    dtype  of the products; None: bfloat16 on GPUs that support it, else that of the matrices.
    """
    if dtype is None:
        fast = matrices[0].is_cuda and torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = torch.bfloat16 if fast else matrices[0].dtype
    results = list(matrices)
    for shape in dict.fromkeys(matrix.shape for matrix in matrices):
        indices = [index for index, matrix in enumerate(matrices) if matrix.shape == shape]
        found = _orthogonal(torch.stack([matrices[index] for index in indices]), dtype)
        for index, result in zip(indices, found.unbind(), strict=True):
            results[index] = result
    return results


def _orthogonal(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Orthogonalise K stacked matrices: [K,m,n] to [K,m,n], contiguous."""
    a, b, c = NEWTON_SCHULZ
    m, n = matrices.shape[1:]
    x = (matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)).to(dtype)
    if dtype == torch.bfloat16 and (m % ALIGNED or n % ALIGNED):
        x = F.pad(x, (0, -n % ALIGNED, 0, -m % ALIGNED))  # zero rows and columns stay zero
    for _ in range(ROUNDS):
        # The Gram matrix of the shorter side.
        gram = torch.bmm(x.mT, x) if m > n else torch.bmm(x, x.mT)
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, x, factor, beta=a) if m > n else torch.baddbmm(x, factor, x, beta=a)
    return x.narrow(1, 0, m).narrow(2, 0, n).to(matrices.dtype).contiguous()


class WeightAverage:
    """The exponential moving average (--ema) of a model's weights and running statistics over optimiser steps.

    After step t it keeps a share of min(decay, (1 + t) / (10 + t)) of itself: it forgets the start of short runs.

    decay    None: there is no average, and nothing happens.
    weights  the average, as a state_dict of the model; empty without one.
    """

    def __init__(self, decay: float | None, model: nn.Module) -> None:
        self._decay, self._trained = decay, model.state_dict() if decay else {}  # shares the memory of the model
        self.weights = {name: value.clone() for name, value in self._trained.items()}

    def update(self, step: int) -> None:
        """Take in the weights after optimiser step `step`, counted from 1.  Does not wait for the device."""
        if self._decay is None:
            return
        floats = [name for name, value in self._trained.items() if value.is_floating_point()]
        averages, trained = ([part[name] for name in floats] for part in (self.weights, self._trained))
        torch._foreach_lerp_(averages, trained, 1 - min(self._decay, (1 + step) / (10 + step)))
        for name in self._trained.keys() - floats:
            self.weights[name].copy_(self._trained[name])

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """A block in which the model has the averaged weights."""
        trained = {name: value.clone() for name, value in self._trained.items()}
        _copy(self.weights, self._trained)
        try:
            yield
        finally:
            _copy(trained, self._trained)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from the average of a checkpoint."""
        _copy(weights, self.weights)


def _copy(values: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    for name, value in into.items():
        value.copy_(values[name])


def build_optimizer(optim: OptimConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser of --optimizer for a model that is already on its device.

    adam    Adam with amsgrad, betas 0.9 and 0.999 (the published 3DHP script).
    ranger  RAdam inside Lookahead, betas 0.95 and 0.999, eps 1e-5, 6 fast steps at alpha 0.5, no gradient
            centralisation; while the variance of the second moment is intractable, momentum alone (the published
            Human3.6M and HumanEva-I scripts).
    muon    orthogonalised momentum for the weights of layers, Adam for the rest (the tuned recipe).
    """
    for name in ("add_param_group", "state_dict", "load_state_dict", "zero_grad"):
        without_compiler(getattr(torch.optim.Optimizer, name))
    if optim.optimizer == "muon":
        return Muon(*split(model), lr=optim.lr)
    if optim.optimizer == "ranger":
        from pytorch_optimizer import Ranger  # takes seconds to import

        return Ranger(
            model.parameters(), lr=optim.lr, betas=(0.95, 0.999), eps=1e-5, k=6, alpha=0.5, n_sma_threshold=5,
            use_gc=False, degenerated_to_sgd=True,
        )  # fmt: skip
    on_cuda = any(parameter.is_cuda for parameter in model.parameters())
    return torch.optim.Adam(model.parameters(), lr=optim.lr, amsgrad=True, fused=True, capturable=on_cuda)


def is_capturable(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a CUDA graph may capture the second and later steps of an optimiser from build_optimizer.

    Such an optimiser skips steps by a flag on the device and accepts a scalar tensor as a group's "lr".
    """
    return isinstance(optimizer, torch.optim.Adam | Muon)


def step_unless(stopped: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Step an optimiser from build_optimizer, unless the scalar tensor `stopped` is 1.

    Fused Adam and Muon check `stopped` on the device, through `found_inf`; other optimisers wait for its value.
    """
    if is_capturable(optimizer):
        optimizer.found_inf = stopped  # type: ignore[attr-defined]  # Muon and Adam read it
        optimizer.step()
    elif not stopped:
        optimizer.step()
