"""The input layer of all models: map joints and make them relative to the root; confidences pass through."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from glagcn.errors import UserError
from glagcn.model.registry import INPUTS
from glagcn.skeletons import Skeleton


class PoseInput(nn.Module):
    """Maps 2D poses of a skeleton's input joints to 2D poses of its V joints.  Has no weights.

    With a joint map, each of the V joints is the mean of some of the num_input_joints joints, as is its confidence.

    relative  make x and y of all joints except the root relative to the root: a joint moves little compared with the
              distance of the person from the image centre.
    input     "xy", or "xyc" with the confidence of a joint in [0, 1] as a third channel: 0 where it was not found and
              its place was filled in.
    Raises UserError for another input.
    """

    joint_map: Tensor | None
    others: Tensor

    def __init__(self, skeleton: Skeleton, relative: bool, input: str = "xy") -> None:
        super().__init__()
        if input not in INPUTS:
            raise UserError(f"unknown input {input!r}: must be one of {', '.join(INPUTS)}")
        self.root, self.relative = skeleton.root, relative
        self.register_buffer("joint_map", _joint_map(skeleton), persistent=False)
        others = (torch.arange(skeleton.num_joints) != skeleton.root).float().view(-1, 1).repeat(1, len(input))
        others[:, 2:] = 0
        self.register_buffer("others", others, persistent=False)  # [V,C]: 1 for x, y of every joint except the root

    def forward(self, x: Tensor) -> Tensor:
        """[N,T,input joints,C] to [N,T,V,C], C = 2 or 3 channels."""
        if self.joint_map is not None:
            with full_precision(x):  # autocast would round the input of this matrix product
                x = torch.einsum("vj,ntjc->ntvc", self.joint_map, x)
        if self.relative:
            x = x - x[:, :, self.root, None] * self.others
        return x


def full_precision(x: Tensor) -> AbstractContextManager:
    """A context that disables autocast on the device of x, which must be float32 already."""
    return torch.autocast(x.device.type, enabled=False) if x.device.type != "meta" else nullcontext()


def _joint_map(skeleton: Skeleton) -> Tensor | None:
    """The matrix [V, input joints] that averages input joints to joints; None without a joint map."""
    if skeleton.joint_map is None:
        return None
    weights = torch.zeros(skeleton.num_joints, skeleton.num_input_joints)
    for joint, sources in enumerate(skeleton.joint_map):
        weights[joint, list(sources)] = 1 / len(sources)
    return weights
