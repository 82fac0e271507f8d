"""Weight initialisation: as published, and the tuned one, which learns faster."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from glagcn.model.gla_gcn.blocks import NUM_SUBSETS, AdaptiveGraphConv, Conv, SubsetMix
from glagcn.model.gla_gcn.heads import JointHead, UnsharedLinear
from glagcn.model.interface import check_mean_pose
from glagcn.model.norm import BatchNorm
from glagcn.skeleton import Skeleton

OUTPUT_SCALE = 0.1  # factor on the output layers' weights in the tuned initialisation


@torch.no_grad()
def init_published(model: nn.Module) -> None:
    """Initialise as the published code does.

    2D convolutions: Kaiming normal over the fan-out, bias 0.  W_k: normal with variance 2 / (C' * C * 3), bias 0.
    B: 1e-6.  BatchNorm: gamma 1 (in graph convolutions 1e-6), beta 0.  Output layers: PyTorch's default.
    """
    for module in model.modules():
        if isinstance(module, Conv):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
        elif isinstance(module, SubsetMix):
            out_channels, in_channels = module.weight.shape[:2]
            nn.init.normal_(module.weight, std=math.sqrt(2 / (out_channels * in_channels * NUM_SUBSETS)))
            nn.init.zeros_(module.bias)
        elif isinstance(module, BatchNorm | UnsharedLinear | nn.Linear):
            module.reset_parameters()
    for module in model.modules():
        if isinstance(module, AdaptiveGraphConv):
            # The published code has six convolutions, each with a sixth of the fan-out of the fused one.
            nn.init.normal_(module.embed.weight, std=math.sqrt(2 / module.embed_channels))
            nn.init.constant_(module.free_graph, 1e-6)
            nn.init.constant_(cast(BatchNorm, module.bn).weight, 1e-6)


@torch.no_grad()
def init_tuned(model: nn.Module, skeleton: Skeleton, mean_pose: Tensor) -> None:
    """Initialise as published, but with active graph convolutions and an output near the mean training pose.

    mean_pose  [V,3] metres relative to the root, the mean over the training frames.

    The BatchNorm of graph convolutions has gamma 1.  The weights of output layers are multiplied by 0.1, and their bias
    is the mean pose; a shared layer has one bias for all joints, the mean over joints.
    Raises ValueError if mean_pose has another shape.
    """
    check_mean_pose(skeleton, mean_pose)
    init_published(model)
    for module in model.modules():
        if isinstance(module, AdaptiveGraphConv):
            nn.init.ones_(cast(BatchNorm, module.bn).weight)
        elif isinstance(module, JointHead):
            _start_at(module, mean_pose)


def _start_at(head: JointHead, mean_pose: Tensor) -> None:
    """Make a head predict about `mean_pose` [V,3] for any input."""
    layers = [layer for layer in (head.unshared, head.shared) if layer is not None]
    for layer in layers:
        layer.weight.mul_(OUTPUT_SCALE)
    if head.shared is not None:
        head.shared.bias.copy_(mean_pose.mean(dim=0))
    if head.unshared is not None:
        # In a mixed head, the unshared bias adds the part that the shared bias cannot represent.
        rest = mean_pose if head.shared is None else mean_pose - (1 - head.mix) * mean_pose.mean(dim=0)
        head.unshared.bias.copy_(rest / head.mix)
