"""Whether all ranks hold the same weights."""

import torch

from glagcn import dist
from glagcn.errors import UserError
from glagcn.model.interface import Model


def check_replicas(model: Model, step: int) -> None:
    """Compare the weights and buffers of all ranks bit for bit, by checksums.  Every rank must call it after `step`.

    Raises UserError, on all ranks, naming a tensor and the ranks where it differs from that of rank 0.
    """
    state = {name: tensor for name, tensor in model.state_dict().items() if tensor.numel()}
    bits = [tensor.flatten().view(torch.int32) for tensor in state.values()]
    sums = torch.stack([part.sum(dtype=torch.int64) for part in bits])  # [tensors]
    rows = dist.gather(sums)  # [W, tensors]
    differs = (rows != rows[0]).nonzero().tolist()
    if differs:
        name = list(state)[differs[0][1]]
        others = sorted({rank for rank, _ in differs})
        raise UserError(
            f"after step {step} the weights of rank(s) {', '.join(map(str, others))} differ from those of rank 0, "
            f"first in {name}. Their memory, their GPU or an exchange is faulty; resume from the last checkpoint"
        )
