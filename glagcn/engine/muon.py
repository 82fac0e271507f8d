"""Muon: momentum whose matrices are made orthogonal, beside Adam for what is not a matrix."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.adam import adam

MOMENTUM = 0.95
BETAS, EPS = (0.9, 0.999), 1e-8  # of Adam
RMS = 0.2  # root mean square of a step's numbers at rate 1, about that of Adam's: both take the same rate
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's coefficients: singular values to about 0.7 .. 1.2 in few rounds
ROUNDS = 5
COORDINATES = 3  # outputs that are no features


class Muon(torch.optim.Optimizer):
    """Steps of one size in every direction that a layer maps: the optimiser of the tuned recipe.

    A convolution's weight [C',C,...] is a matrix [C', C * taps].  Its step is the orthogonal matrix nearest to its
    Nesterov momentum (Jordan et al., "Muon", 2024), times `RMS * sqrt(longer side)` so that its numbers are as large
    as Adam's (Liu et al., "Muon is scalable for LLM training", 2025).  Biases, norms, graphs and output layers, and
    convolutions to three channels (coordinates), are Adam's.

    The products follow the precision that is set for float32.  A step waits for nothing: where `found_inf`, a number
    on the device, is 1, neither weights nor state move.
    """

    def __init__(self, parameters: Iterable[Parameter], lr: float) -> None:
        parameters = list(parameters)
        matrices = [parameter for parameter in parameters if _is_matrix(parameter)]
        rest = [parameter for parameter in parameters if not _is_matrix(parameter)]
        # "fused" tells load_state_dict that Adam's step counts live on the device.
        groups = [{"params": matrices, "fused": False}, {"params": rest, "fused": True}]
        super().__init__([group for group in groups if group["params"]], {"lr": lr})
        self.found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self) -> None:
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not moved:
                continue
            stopped = moved[0].new_zeros(()) if self.found_inf is None else self.found_inf
            if group["fused"]:
                self._adam(moved, group["lr"], stopped)
            else:
                self._muon(moved, group["lr"], stopped)

    def _muon(self, parameters: list[Parameter], rate: float, stopped: Tensor) -> None:
        directions = []
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"]
            # A momentum that moves towards itself stays.
            gradient = torch.where(stopped > 0, momentum, parameter.grad)
            momentum.lerp_(gradient, 1 - MOMENTUM)
            directions.append(gradient.lerp(momentum, MOMENTUM).flatten(1))
        for parameter, step in zip(parameters, orthogonal(directions), strict=True):
            size = rate * RMS * math.sqrt(max(step.shape))
            parameter.addcmul_(step.view_as(parameter), 1 - stopped, value=-size)

    def _adam(self, parameters: list[Parameter], rate: float, stopped: Tensor) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {
                    "step": torch.zeros((), device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        states = [self.state[parameter] for parameter in parameters]
        adam(
            parameters, [parameter.grad for parameter in parameters],
            *([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq")), [],
            [state["step"] for state in states],
            fused=True, found_inf=stopped, amsgrad=False, beta1=BETAS[0], beta2=BETAS[1], lr=rate, weight_decay=0.0,
            eps=EPS, maximize=False,
        )  # fmt: skip


def _is_matrix(parameter: Parameter) -> bool:
    return parameter.dim() == 4 and len(parameter) > COORDINATES


def orthogonal(matrices: list[Tensor]) -> list[Tensor]:
    """Each matrix [m,n] with its singular values brought to about 1, by Newton-Schulz rounds; zeros stay zeros.

    Matrices of one shape go through the rounds together: a network has dozens of them, in a few shapes.
    """
    results = list(matrices)
    for shape in dict.fromkeys(matrix.shape for matrix in matrices):
        places = [place for place, matrix in enumerate(matrices) if matrix.shape == shape]
        found = _orthogonal(torch.stack([matrices[place] for place in places]))
        for place, result in zip(places, found, strict=True):
            results[place] = result
    return results


def _orthogonal(x: Tensor) -> Tensor:
    """[K,m,n] to [K,m,n]."""
    if x.shape[1] > x.shape[2]:
        return _orthogonal(x.transpose(1, 2)).transpose(1, 2)
    a, b, c = NEWTON_SCHULZ
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x
