"""Arithmetic: what training computes in, and full float32 for evaluation."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from glagcn.config import Config
from glagcn.errors import UserError


def precision(config: Config) -> str:
    """The arithmetic of training: fp32, tf32 or bf16.  Raises UserError for one that this machine lacks."""
    cuda = torch.cuda.is_available()
    if config.precision == "auto":
        return "bf16" if cuda and torch.cuda.is_bf16_supported() else "fp32"
    if config.precision == "tf32" and not cuda:
        raise UserError("--precision tf32 needs a CUDA device, and none is visible; use fp32")
    return config.precision


def set_up(config: Config) -> None:
    """Apply --precision and --deterministic to this process."""
    _allow_tf32(precision(config) != "fp32")
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to repeat its sums
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def autocast(config: Config, device: torch.device) -> AbstractContextManager:
    """bfloat16 where training uses it; nothing otherwise."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision(config) == "bf16")


@contextmanager
def full_precision() -> Iterator[None]:
    """float32 without shortcuts: figures must not depend on how a run was trained."""
    before = torch.backends.cudnn.allow_tf32
    _allow_tf32(False)
    try:
        yield
    finally:
        _allow_tf32(before)


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
