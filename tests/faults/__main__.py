"""The parts of .ci/nightly that disturb runs of their own.

python -m tests.faults PART [--count N] [--seed N]        # kills, signals, disk, slurm, network or soak

Every night tries other cases: the default seed is the number of the day.  Ends with exit code 1 if a run was lost.
"""

import argparse
import importlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from tests.prepared import prepared


def main() -> int:
    """Try the cases of a part and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--seed", type=int, default=int(time.time() // 86_400))
    options = parser.parse_args()
    part = importlib.import_module(f"tests.faults.{options.part}")
    if missing := part.missing():
        print(f"skipped: {missing}")
        return 0
    failed, number = 0, 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        prepared("demo", root)
        for number, (case, check) in enumerate(part.cases(root, options.count, Random(options.seed)), start=1):  # noqa: B007
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
    sys.exit(main())
