"""Started on two ranks with short limits.  "wait": rank 0 works longer than the limits; "freeze": rank 1 stops."""

import os
import signal
import sys
import time
from datetime import timedelta

from glagcn import dist

dist.BEAT_S, dist.LATE_S, dist.BACKSTOP = 0.1, 1.0, timedelta(seconds=1)
dist.start(workers=1, timeout=timedelta(seconds=2))
if sys.argv[1] == "wait":
    with dist.agree(), dist.waiting_for_main():
        if dist.is_main():
            time.sleep(3)
    assert dist.from_main(dist.rank()) == 0
    dist.finish()
    dist.leave(0)
if not dist.is_main():
    os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(60)
