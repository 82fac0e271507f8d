"""Rank and world size from the launcher's environment, and how one process of several exits.

Standard library only, so that an invalid flag is reported before torch is imported.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

REPORT_DELAY_S = 10.0
LOST_RANK_CODE = 76  # exit code; EX_PROTOCOL of sysexits.h
CONNECTION_ERRORS = ("DistBackendError", "DistNetworkError", "DistStoreError")  # of torch.distributed
# Environment variables that torchrun sets.
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def rank() -> int:
    """The rank of this process; 0 without a launcher."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """The number of this process on its node."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """The number of processes that the launcher started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_on_this_node() -> int:
    """The number of processes on this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))


def report(error: Exception | str) -> None:
    """Print an error that all ranks may share only once, from rank 0.

    The launcher kills all processes as soon as one fails, so the other ranks first wait for rank 0 to print.  A rank
    that is still alive after the delay failed alone and prints its own message.
    """
    if rank() != 0:
        time.sleep(REPORT_DELAY_S)
    fail(f"error: {error}")


def fail(text: str) -> None:
    """Print the message that ends this process, and record it for the launcher."""
    tell(text)
    record(text)


def record(text: str) -> None:
    """Write the message that ends this process to the file that torchrun reads for it.

    torchrun and accelerate launch print a report of their own below all messages; this one then stands in its last
    block.  The form is that of torch.distributed.elastic.multiprocessing.errors, with the message for a traceback.
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        error = {"message": text, "extraInfo": {"timestamp": str(int(time.time()))}}
        with contextlib.suppress(OSError):
            Path(path).write_text(json.dumps({"message": error}), encoding="ascii")


def tell(text: str) -> None:
    """Print a line to stderr, at once."""
    with contextlib.suppress(OSError):  # nobody reads it any more
        print(text, file=sys.stderr, flush=True)


def is_lost_connection(error: Exception) -> bool:
    """Whether NCCL, gloo or the store failed to exchange data, in most cases because another process has ended."""
    from_gloo = isinstance(error, RuntimeError) and "gloo/transport" in str(error)
    return from_gloo or type(error).__name__ in CONNECTION_ERRORS


def leave(code: int) -> NoReturn:
    """Exit one process of several at once, without shutting down the interpreter.

    After a failure, an orderly shutdown would wait for ranks that may never answer.  After a success, gloo threads
    outlive the process group of a DDP model.  A thread that runs during the interpreter's shutdown may abort the
    process, and a finished run would end with an error code.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)
