"""Numerical precision: the precision of training, and full float32 for evaluation."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from glagcn.config.options import OptimConfig
from glagcn.errors import UserError


def set_up(optim: OptimConfig, device: torch.device) -> str:
    """Apply --precision and --deterministic to this process.  Returns the precision, with "auto" resolved.

    Raises UserError if the device does not support it.
    """
    precision = _precision(optim.precision, device)
    _allow_tf32(precision != "fp32")
    if optim.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required for reproducible cuBLAS results
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    return precision


def _precision(requested: str, device: torch.device) -> str:
    cuda = device.type == "cuda"
    if requested == "auto":
        return "bf16" if cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if requested == "tf32" and not cuda:
        raise UserError("invalid --precision tf32: needs a CUDA device, and this run uses the CPU; use fp32")
    return requested


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """A bfloat16 autocast context for precision "bf16", else a context without effect."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def number_bytes(precision: str) -> int:
    """Bytes per value of a feature map during training."""
    return 2 if precision == "bf16" else 4


@contextmanager
def full_precision() -> Iterator[None]:
    """Disable TF32 in this context: metrics must not depend on the precision of training."""
    before = torch.backends.cudnn.allow_tf32
    _allow_tf32(False)
    try:
        yield
    finally:
        _allow_tf32(before)


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
