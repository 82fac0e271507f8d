"""What training minimises, as one module: what is compiled, and what ranks exchange the gradient of."""

import torch
from torch import Tensor, nn

from glagcn.model.network import LiftingNetwork, Prediction


class Objective(nn.Module):
    """The errors of a network on a micro-batch."""

    def __init__(self, model: LiftingNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Inputs [n,T,V,2] and targets [n,T,V,3] in metres to [2], the two sums of `errors`."""
        return torch.stack(errors(self.model(inputs), targets, self.model.target_frame))


def errors(prediction: Prediction, targets: Tensor, frame: int) -> tuple[Tensor, Tensor]:
    """Sums over windows of the mean joint error in metres: of the single head at the target frame `frame`, and of the
    sequence head over all frames (Eq. 4), 0 where there is none.

    targets  [N,T,V,3] metres.
    """
    single = _distances(prediction.center, targets[:, frame : frame + 1])
    if prediction.sequence is None:
        return single, torch.zeros_like(single)
    return single, _distances(prediction.sequence, targets)


def _distances(predicted: Tensor, target: Tensor) -> Tensor:
    """Sum over N of the mean Euclidean distance of [N,T,V,3] poses."""
    return torch.linalg.vector_norm(predicted - target, dim=-1).mean(dim=(1, 2)).sum()
