"""Estimates how many windows of a micro-batch fit into device memory."""

import copy

import torch
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from glagcn.model.interface import Model
from glagcn.training.loss import Loss

ON_TOP = 1.25  # peak memory of the backward pass / memory that the forward pass keeps
COPIES_OF_WEIGHTS = 6  # weights, gradients, two moments, and temporaries of the optimiser


def window_bytes(model: Model, precision: str) -> int:
    """Bytes per training window that the forward pass keeps for the backward pass.

    Counted by a forward pass on fake tensors, which have shapes but no data.
    """
    # The difference of two passes: with a single window PyTorch uses other memory layouts.
    two, three = (_kept_bytes(model, windows, precision) for windows in (2, 3))
    return three - two


def fitting_windows(model: Model, precision: str, free: int) -> int:
    """About how many training windows fit into `free` bytes beside the model; 0 if none."""
    weights = sum(parameter.nbytes for parameter in model.parameters())
    return max(0, int((free - COPIES_OF_WEIGHTS * weights) / (ON_TOP * window_bytes(model, precision))))


def free_bytes(device: torch.device) -> int:
    """Bytes of CUDA memory that this process can still allocate."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _kept_bytes(model: Model, windows: int, precision: str) -> int:
    device, kept = model.device, {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        if not isinstance(x, torch.nn.Parameter):
            storage = x.untyped_storage()
            kept[storage._cdata] = storage
        return x

    mode = FakeTensorMode()
    with FakeCopyMode(mode):
        model = copy.deepcopy(model)
    with (
        mode,
        saved_tensors_hooks(keep, lambda x: x),
        torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"),
    ):
        inputs = torch.empty(windows, *model.window_shape, device=device)
        targets = torch.empty(windows, model.frames, model.skeleton.num_joints, 3, device=device)
        Loss(model)(inputs, targets)
    return sum(storage.nbytes() for storage in kept.values())
