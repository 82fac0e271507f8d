"""What a model costs: its parameters, and the arithmetic of one window."""

import copy

import torch
from torch.utils.flop_counter import FlopCounterMode

from glagcn.model.interface import Model


def count_cost(model: Model) -> tuple[int, int]:
    """(parameters, floating-point operations of lifting one window forward).

    Counts the multiplications and additions of convolutions and matrix products (two per MAC), as papers do; runs on
    the meta device, so nothing is computed and `model` is untouched.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    shadow = copy.deepcopy(model).to("meta").eval()
    window = torch.empty(1, model.frames, model.skeleton.num_input_joints, 2, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shadow(window)
    return parameters, counter.get_total_flops()
