"""The target augmentation of the published runs on Human3.6M and HumanEva-I."""

import torch
from torch import Tensor

DEGREES, SCALES = (-5.0, 0.0, 5.0), (0.95, 1.0, 1.05)
DISTORTIONS = len(DEGREES) * len(SCALES)


def distortions() -> Tensor:
    """[9,3,3] float32: rotations by -5, 0 and 5 degrees about the optical axis, each scaled by 0.95, 1 and 1.05.

    The published training on Human3.6M and HumanEva-I applies a random one to the 3D target of each window and does not
    change the 2D input.
    """
    angles = torch.deg2rad(torch.tensor(DEGREES))
    zero, one = torch.zeros_like(angles), torch.ones_like(angles)
    rows = (angles.cos(), -angles.sin(), zero), (angles.sin(), angles.cos(), zero), (zero, zero, one)
    rotations = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    return (rotations[:, None] * torch.tensor(SCALES)[:, None, None]).flatten(0, 1)
