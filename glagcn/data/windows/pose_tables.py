"""Lookup tables that normalise and mirror poses."""

import numpy as np
import torch
from torch import Tensor

from glagcn.skeleton import Skeleton

MM_PER_METRE = 1000.0


def pose_tables(sizes: np.ndarray, skeleton: Skeleton) -> tuple[Tensor, Tensor]:
    """Lookup tables that normalise and mirror poses, given as rows of V*2 input and V*3 target numbers.

    sizes  [S,2] float32: image width and height of each sequence.
    Returns columns [2,V*2+V*3], the source of each number in plain (row 0) and mirrored (row 1) poses, and factors
    [2*S,V*2+V*2+V*3], with plain and mirrored factors of sequence s in rows 2 s and 2 s + 1: the shifts of inputs, the
    divisors of inputs (applied first), and the divisors of targets.
    """
    order, signs = _flat_mirror(skeleton.input_mirror, 2)
    target_order, target_signs = _flat_mirror(skeleton.mirror, 3)
    width, height = torch.from_numpy(sizes)[:, :, None, None].unbind(1)  # [S,1,1]
    shifts = torch.cat([-torch.ones_like(width), -height / width], dim=2).repeat(1, 1, skeleton.num_input_joints)
    units = (target_signs * MM_PER_METRE).expand(len(sizes), -1, -1)
    factors = torch.cat([shifts * signs, width / 2 * signs, units], dim=2).flatten(0, 1)
    return torch.cat([order, target_order], dim=1), factors


def _flat_mirror(order: list[int], axes: int) -> tuple[Tensor, Tensor]:
    """Order and signs, both [2,V*axes], of the numbers of plain (row 0) and mirrored (row 1) poses."""
    columns = torch.arange(len(order) * axes).view(-1, axes)
    signs = torch.ones_like(columns, dtype=torch.float32)
    mirrored = signs.clone()
    mirrored[:, 0] = -1
    both = (columns, columns[order]), (signs, mirrored)
    first, second = (torch.stack([part.flatten() for part in pair]) for pair in both)
    return first, second
