"""Arithmetic: what training computes in, and full float32 for evaluation."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from glagcn.config.config import OptimConfig
from glagcn.errors import UserError


def set_up(optim: OptimConfig, device: torch.device) -> str:
    """Apply --precision and --deterministic to this process.  Returns the precision, which "auto" leaves open.

    Raises UserError for a precision that the device lacks.
    """
    precision = _precision(optim.precision, device)
    _allow_tf32(precision != "fp32")
    if optim.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to repeat its sums
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    return precision


def _precision(asked: str, device: torch.device) -> str:
    cuda = device.type == "cuda"
    if asked == "auto":
        return "bf16" if cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if asked == "tf32" and not cuda:
        raise UserError("--precision tf32 needs a CUDA device, and this run is on a CPU; use fp32")
    return asked


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """bfloat16 where training uses it; nothing otherwise."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def number_bytes(precision: str) -> int:
    """Bytes of a number in a feature map during training."""
    return 2 if precision == "bf16" else 4


@contextmanager
def full_precision() -> Iterator[None]:
    """Full float32, without TF32: metrics must not depend on the arithmetic of training."""
    before = torch.backends.cudnn.allow_tf32
    _allow_tf32(False)
    try:
        yield
    finally:
        _allow_tf32(before)


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
