"""Muon: orthogonalised momentum for matrices, Adam for all other weights."""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from glagcn.model.interface import Model

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

    `pytorch_optimizer.Muon` computes the same update, but it applies gradients that are not finite, overwrites the
    gradients, and keeps Adam's step count on the host, where a CUDA graph cannot update it.
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
