"""The reference training step and evaluation, as in the published script."""

import numpy as np
import torch
from torch import Tensor

from glagcn.bench.reference.loader import ReferenceLoader
from glagcn.bench.reference.model import ReferenceModel
from glagcn.data.windows.plan import WindowIds
from glagcn.data.windows.store import MM_PER_METRE, Batch, mirror
from glagcn.skeleton import Skeleton


class ReferenceStepper:
    """Adam with amsgrad and default settings, float32; reads the loss after every step."""

    def __init__(self, model: ReferenceModel, rate: float, sequence_weight: float, frame: int) -> None:
        self.model, self.sequence_weight, self.frame = model.train(), sequence_weight, frame
        self.optimizer = torch.optim.Adam(model.parameters(), lr=rate, amsgrad=True)

    def step(self, batch: Batch) -> float:
        """Make one optimiser step.  Returns the loss."""
        center, sequence = self.model(batch.inputs)
        loss = mean_distance(center, batch.targets[:, self.frame : self.frame + 1])
        if sequence is not None:
            loss = loss + self.sequence_weight * mean_distance(sequence, batch.targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def mean_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """The mean Euclidean distance of poses [N,T,V,3]."""
    return torch.mean(torch.norm(predicted - target, dim=-1))


@torch.no_grad()
def reference_mpjpe(
    model: ReferenceModel,
    loader: ReferenceLoader,
    skeleton: Skeleton,
    frames: np.ndarray,
    *,
    frame: int,
    batch_size: int,
) -> float:
    """MPJPE in mm over `frames` [n] of a split, root set to zero, batch by batch.

    A second pass lifts the mirrored windows; every batch is read back and averaged on the host.
    frame  the target frame of a window.
    """
    model.eval()
    device = next(model.parameters()).device
    order = torch.tensor(skeleton.mirror, device=device)
    input_order = torch.tensor(skeleton.input_mirror, device=device)
    total = 0.0
    for begin in range(0, len(frames), batch_size):
        part = frames[begin : begin + batch_size]
        batch = loader.batch(WindowIds(part, np.zeros(len(part), dtype=bool)))
        inputs, targets = (tensor.to(device) for tensor in batch)
        straight, _ = model(inputs)
        mirrored, _ = model(mirror(inputs, input_order))
        predicted = (straight + mirror(mirrored, order)) / 2
        predicted[:, :, skeleton.root] = 0
        total += mean_distance(predicted, targets[:, frame : frame + 1]).item() * len(part)
    return total / len(frames) * MM_PER_METRE
