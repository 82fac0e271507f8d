"""Pixels to the input of a network, and the mirror image of poses."""

import torch
from torch import Tensor

MM_PER_METRE = 1000.0


def normalise(pixels: Tensor, size: Tensor) -> Tensor:
    """Normalised pixels [...,2]: x in [-1, 1], y on the same scale (both are divided by the width).

    size  [...,2] width and height, broadcast against pixels.
    """
    scaled = pixels / size[..., :1] * 2
    return scaled - torch.cat([torch.ones_like(size[..., :1]), size[..., 1:] / size[..., :1]], dim=-1)


def mirror(poses: Tensor, order: Tensor) -> Tensor:
    """The mirror image of centred poses [...,V,2|3]: x changes sign, left and right joints swap.

    The third channel may be z, or the confidence of 2D poses.

    order  [V] the permutation that swaps left and right.
    """
    swapped = poses.index_select(-2, order)
    return torch.cat([-swapped[..., :1], swapped[..., 1:]], dim=-1)
