"""The reference results: published checkpoints, and what the published code computed with them."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from glagcn.model.gla_gcn.network import LiftingNetwork

FOLDER = Path(__file__).parents[2] / "golden"
NAMES = ("h36m_27f", "h36m_243f", "humaneva15_gt_27f", "humaneva15_coco17_27f")


def checkpoint(name: str) -> Path:
    return FOLDER / f"{name}.bin"


def results(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return dict(arrays)


def without_dropout(model: LiftingNetwork) -> LiftingNetwork:
    """The model in train mode with every dropout at 0, as the reference results were computed."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model.train()


def mean_distance(predicted: Tensor, target: Tensor) -> Tensor:
    return torch.linalg.vector_norm(predicted - target, dim=-1).mean()
