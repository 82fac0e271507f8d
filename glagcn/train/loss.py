"""The training loss: a weighted sum of named terms."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from glagcn.config.options import OptimConfig
from glagcn.model.interface import Model, Prediction
from glagcn.poses.normalise import MM_PER_METRE


def center_error(prediction: Prediction, targets: Tensor, frame: int) -> Tensor:
    """Sum over N of the mean joint error of the target frame, metres.

    targets  [N,T,V,3] metres;  frame  the target frame in T.
    """
    return _distances(prediction.target, targets[:, frame : frame + 1])


def sequence_error(prediction: Prediction, targets: Tensor, frame: int) -> Tensor:  # noqa: ARG001
    """Sum over N of the mean joint error of all T frames (Eq. 4 of the paper), metres."""
    assert prediction.sequence is not None
    return _distances(prediction.sequence, targets)


def _distances(predicted: Tensor, target: Tensor) -> Tensor:
    """Sum over N of the mean Euclidean distance of [N,T,V,3] poses."""
    return torch.linalg.vector_norm(predicted - target, dim=-1).mean(dim=(1, 2)).sum()


@dataclass(frozen=True)
class Term:
    """One term of the loss.

    name      key in checkpoints; logs show NAME_mm.
    error     (prediction, targets [N,T,V,3], target frame) -> the error summed over N, metres.
    weight    of the term in the loss.
    sequence  whether the term needs a model that predicts all T frames; other models skip it.
    """

    name: str
    error: Callable[[Prediction, Tensor, int], Tensor]
    weight: Callable[[OptimConfig], float] = lambda optim: 1.0  # noqa: ARG005
    sequence: bool = False


TERMS = (
    Term("mpjpe", center_error),
    Term("sequence_mpjpe", sequence_error, lambda optim: optim.sequence_weight, sequence=True),
)


class Loss(nn.Module):
    """Model and loss terms as one module, which torch.compile and DDP wrap."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.terms = tuple(term for term in TERMS if model.predicts_sequence or not term.sequence)
        self.names = tuple(term.name for term in self.terms)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The terms [terms], each summed over the windows, for inputs [n,T,V,2] and targets [n,T,V,3] in metres."""
        prediction, frame = self.model(inputs), self.model.target_frame
        return torch.stack([term.error(prediction, targets, frame) for term in self.terms])

    def weights(self, optim: OptimConfig) -> list[float]:
        """The weight of each term."""
        return [term.weight(optim) for term in self.terms]

    def means(self, sums: Mapping[str, float], windows: float, optim: OptimConfig) -> dict[str, float]:
        """Values for the log: the mean loss over `windows` in metres and its terms in mm.

        They are training values, with dropout and augmentation.
        """
        means = {name: sums[name] / windows for name in self.names}
        loss = sum(weight * mean for weight, mean in zip(self.weights(optim), means.values(), strict=True))
        return {"loss": loss} | {f"{name}_mm": mean * MM_PER_METRE for name, mean in means.items()}
