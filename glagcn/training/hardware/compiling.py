"""torch.compile for training steps: for which runs and sizes, and what happens where it fails."""

from collections.abc import Callable

import torch
from torch import nn

from glagcn.config.config import OptimConfig
from glagcn.distributed.ranks import Ranks

TIMES = 3  # CUDA graphs: the first run warms up, the second is recorded, the third replays


def is_compiled(optim: OptimConfig, device: torch.device) -> bool:
    """Whether --compile asks for it on this device."""
    return optim.compile == "on" or (optim.compile == "auto" and device.type == "cuda")


def compiled(module: nn.Module, optim: OptimConfig, device: torch.device) -> Callable:
    """`module`, compiled for inputs of fixed sizes at their first call; on CUDA as CUDA graphs, which launch a whole
    pass at once."""
    if optim.deterministic:
        # Do not let timings choose kernels that add up in another order.  Newer releases of PyTorch have it.
        import torch._inductor.config as inductor

        if hasattr(inductor, "deterministic"):
            inductor.deterministic = True
    return torch.compile(module, dynamic=False, mode="reduce-overhead" if device.type == "cuda" else "default")


def rehearsed(run: Callable[[], None], ranks: Ranks) -> str | None:
    """Call `run`, which may compile; -> why it failed on any rank, None where all can go on.

    It must not wait for other ranks.  A compiler may fail with any exception.  Lack of memory on any rank raises
    torch.OutOfMemoryError on all.
    """
    problem, full = None, False
    try:
        for _ in range(TIMES):
            run()
    except torch.OutOfMemoryError:
        full = True
    except Exception as error:  # noqa: BLE001
        problem = (
            f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
        )
    found = ranks.gather_objects((full, problem))
    if any(full for full, _ in found):
        raise torch.OutOfMemoryError
    return next((problem for _, problem in found if problem), None)
