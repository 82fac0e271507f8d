"""Started on two ranks with short limits.  "wait": rank 0 works longer than the limits; "freeze": rank 1 stops."""

import os
import signal
import sys
import time
from datetime import timedelta

from glagcn.distributed import heartbeat, launcher, process_group
from glagcn.distributed.ranks import Ranks

heartbeat.BEAT_S, heartbeat.LATE_S, process_group.BACKSTOP = 0.1, 1.0, timedelta(seconds=1)
ranks = Ranks(workers=1, timeout=timedelta(seconds=2))
if sys.argv[1] == "wait":
    with ranks.agree(), ranks.waiting_for_main():
        if ranks.is_main:
            time.sleep(5)
    assert ranks.from_main(ranks.rank) == 0
    ranks.close()
    launcher.leave(0)
if not ranks.is_main:
    os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(60)
