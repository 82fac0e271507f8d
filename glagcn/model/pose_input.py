"""What every model does with its input first: map joints, and take them relative to the root."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from glagcn.skeleton import Skeleton


class PoseInput(nn.Module):
    """2D poses of a skeleton's input joints to 2D poses of its V joints.  Has no state of its own.

    A skeleton with a joint map reads num_input_joints joints and averages them to its V.

    relative  joints are read relative to the root, and the root as it is: the movement of a joint is small beside the
              distance that the person stands away from the image centre.
    """

    joint_map: Tensor | None
    others: Tensor

    def __init__(self, skeleton: Skeleton, relative: bool) -> None:
        super().__init__()
        self.root, self.relative = skeleton.root, relative
        self.register_buffer("joint_map", _joint_map(skeleton), persistent=False)
        others = (torch.arange(skeleton.num_joints) != skeleton.root).float().view(-1, 1)
        self.register_buffer("others", others, persistent=False)  # 1 for every joint but the root

    def forward(self, x: Tensor) -> Tensor:
        """[N,T,input joints,2] to [N,T,V,2]."""
        if self.joint_map is not None:
            with full_precision(x):  # a matrix product, which autocast would round
                x = torch.einsum("vj,ntjc->ntvc", self.joint_map, x)
        if self.relative:
            x = x - x[:, :, self.root, None] * self.others
        return x


def full_precision(x: Tensor) -> AbstractContextManager:
    """A context in which autocast is off on x's device; x itself must be float32 already."""
    return torch.autocast(x.device.type, enabled=False) if x.device.type != "meta" else nullcontext()


def _joint_map(skeleton: Skeleton) -> Tensor | None:
    """[V, input joints]: each row averages the input joints that make up one joint; None without a map."""
    if skeleton.joint_map is None:
        return None
    weights = torch.zeros(skeleton.num_joints, skeleton.num_input_joints)
    for joint, sources in enumerate(skeleton.joint_map):
        weights[joint, list(sources)] = 1 / len(sources)
    return weights
