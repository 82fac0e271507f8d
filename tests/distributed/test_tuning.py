import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from glagcn.distributed.tuning import keep_memory
keep_memory()
for repeat in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        torch.ones(20_000_000)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a matter of glibc")
def test_freed_memory_is_used_again_without_new_pages():
    """80 MB are 19,500 pages, each new to the process unless it kept them."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000
