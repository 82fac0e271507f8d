import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from tqdm import tqdm
from glagcn.distributed.terminal import keep_streams

keep_streams()
keep_streams()
for number in tqdm(range(3), mininterval=0):
    print("line " * 5000, flush=True)
    print("warning", file=sys.stderr, flush=True)
tqdm.write("done")
sys.exit(7 if sys.stdout.encoding == "utf-8" and not sys.stdout.isatty() else 1)
"""


def run(**streams):
    return subprocess.Popen([sys.executable, "-X", "utf8", "-c", PROGRAM], **streams)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_full_disk_ends_nothing(name):
    with Path("/dev/full").open("w") as full:
        assert run(**{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | {name: full}).wait() == 7


def test_a_pipe_that_nobody_reads_ends_nothing_and_says_nothing():
    with run(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        printed = process.stderr.read()
    assert process.returncode == 7
    assert printed.count("warning") == 3
    assert "Error" not in printed


def test_what_can_be_written_is_written():
    with run(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout.read().count("line") == 15000
    assert process.returncode == 7
