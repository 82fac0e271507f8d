"""The parts of .ci/nightly that disturb runs of their own.

python -m tests.faults PART [--count N] [--seed N]

Every night tries other cases: the default seed is the number of the day.  Ends with exit code 1 if a run was lost.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from tests.faults import disturbed, network, slurm
from tests.faults.runs import Skipped
from tests.prepared import prepared

PARTS = {
    "kills": disturbed.kills, "signals": disturbed.signals, "disk": disturbed.disk, "soak": disturbed.soak,
    "slurm": slurm.cases, "network": network.cases,
}  # fmt: skip


def main() -> int:
    """Try the cases of a part and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--seed", type=int, default=int(time.time() // 86_400))
    options = parser.parse_args()
    failed = number = 0
    # SLURM's daemons may still write their state while they end.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        root = Path(name)
        prepared("demo", root)
        for case, check in PARTS[options.part](root, options.count, Random(options.seed)):
            number += 1
            began = time.monotonic()
            try:
                outcome = check()
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                failed += 1
                outcome = f"LOST: {error}"
            print(f"{case}: {outcome} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{failed} of {number} lost; --seed {options.seed}")
    return min(failed, 1)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Skipped as reason:
        print(f"skipped: {reason}")
