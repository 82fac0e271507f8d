"""How this process keeps its memory."""

import ctypes
import os
import sys

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1


def keep_memory() -> None:
    """Let glibc hand the memory of freed tensors to the next ones, where it would return it to the system.

    Every step frees and takes the same feature maps.  By default each comes as new pages, and the system clears
    100,000 of them a step; that took a fifth of a training step on a CPU.  The memory held is the peak, as it is
    anyway.  Other C libraries are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)


SPINS = 5000  # about as long as falling asleep and waking up take


def spin_briefly() -> None:
    """Let threads that wait for each other fall asleep soon; has no effect once torch is imported.

    GNU's OpenMP spins 300,000 rounds at the end of every operation.  Where another process holds one of the cores,
    a training step then takes ten times as long as it needs.  What the environment says stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
