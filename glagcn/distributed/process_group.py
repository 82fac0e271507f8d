"""Joining the process group that the launcher describes."""

import os
from datetime import timedelta

import torch.distributed as dist

from glagcn.distributed import launcher
from glagcn.distributed.heartbeat import Heartbeat

BACKSTOP = timedelta(minutes=1)  # a missing rank is named before an exchange with it fails


def join(cuda: bool, timeout: timedelta) -> tuple[dist.Store, Heartbeat]:
    """Join NCCL (CUDA) or gloo; -> a store that all ranks share, and the heartbeat of this rank.

    timeout  how long a rank may be missing, at the start and later.
    """
    shared, rank, world_size = next(dist.rendezvous("env://", timeout=timeout))
    store = dist.PrefixStore(_prefix(), shared)
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    own = dist.TCPStore(host, port, is_master=False, timeout=timeout, wait_for_workers=False)
    heartbeat = Heartbeat(
        dist.PrefixStore(_prefix(), own), f"{host}:{port}", rank, world_size, timeout.total_seconds(), launcher.tell
    )
    backend = "nccl" if cuda else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout + BACKSTOP)
    heartbeat.start()
    return store, heartbeat


def _prefix() -> str:
    """The name space of this start in the store.

    torchrun keeps one store over restarts (--max-restarts): without a name space, a restarted rank would read the
    address of a dead one.  Each node counts its own restarts, so the count serves one node only; on several,
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 makes a new store at each start.
    """
    one_node = launcher.processes_on_this_node() == launcher.world_size()
    return f"start{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}" if one_node else "start"
