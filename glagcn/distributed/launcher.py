"""What the launcher (torchrun, accelerate, none) tells a process, and how a process ends among others.

Standard library only: a wrong flag is answered before torch is imported.
"""

import os
import sys
import time
from typing import NoReturn

PATIENCE_S = 10.0
# What torchrun tells each process.
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def rank() -> int:
    """This process's number; 0 where there is no launcher."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes the launcher started; 1 where there is none."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_on_this_node() -> int:
    """How many of them on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))


def report(error: Exception) -> None:
    """Print the message that all ranks share once, from rank 0.

    A launcher ends every process as soon as one has failed, so the others wait for rank 0 to speak.  One that is
    still there afterwards failed alone, and speaks itself.
    """
    if rank() != 0:
        time.sleep(PATIENCE_S)
    print(f"error: {error}", file=sys.stderr, flush=True)


def leave(code: int) -> NoReturn:
    """End this process at once, as one of many, without taking the interpreter down.

    After a failure an orderly end would wait for ranks that may never answer.  After success threads of gloo outlive
    the process group where a model was wrapped in DDP, and one that runs while the interpreter comes down may abort
    the process: a finished run would end as a failed one.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
