"""torch.compile for training steps, and its failures."""

from collections.abc import Callable

import torch
from torch import nn

from glagcn import dist
from glagcn.config.options import OptimConfig

TRIAL_RUNS = 3  # CUDA graphs: the first run warms up, the second is captured, the third replays


def is_compiled(optim: OptimConfig, device: torch.device) -> bool:
    """Whether --compile applies on this device."""
    return optim.compile == "on" or (optim.compile == "auto" and device.type == "cuda")


def compiled(module: nn.Module, optim: OptimConfig, device: torch.device) -> Callable:
    """Compile `module` for fixed input sizes, each at its first call; on CUDA into CUDA graphs."""
    if optim.deterministic:
        # Kernels must not be chosen by timing: they may add in another order.  Only newer PyTorch has this option.
        import torch._inductor.config as inductor

        if hasattr(inductor, "deterministic"):
            inductor.deterministic = True
    return torch.compile(module, dynamic=False, mode="reduce-overhead" if device.type == "cuda" else "default")


def rehearsed(run: Callable[[], None]) -> str | None:
    """Call `run`, which may compile.  Returns why it failed on any rank, else None.

    `run` must not wait for other ranks.  A compiler may raise any exception.  Raises torch.OutOfMemoryError on all
    ranks if one runs out of memory.
    """
    problem, full = None, False
    try:
        for _ in range(TRIAL_RUNS):
            run()
    except torch.OutOfMemoryError:
        full = True
    except Exception as error:  # noqa: BLE001
        problem = (
            f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
        )
    found = dist.gather_objects((full, problem))
    if any(full for full, _ in found):
        raise torch.OutOfMemoryError
    return next((problem for _, problem in found if problem), None)
