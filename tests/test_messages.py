"""Messages on a terminal that goes away."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging, sys
from glagcn import dist
from glagcn.progress import flush_streams, print_messages

with print_messages():
    for number in range(3):
        logging.getLogger("glagcn.anything").info("line " * 5000)
        dist.print_error("warning")
flush_streams()
sys.exit(7)
"""


def run(**streams):
    return subprocess.Popen([sys.executable, "-X", "utf8", "-c", PROGRAM], **streams)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_full_disk_ends_nothing(name):
    with Path("/dev/full").open("w") as full:
        assert run(**{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | {name: full}).wait() == 7


def test_a_pipe_that_nobody_reads_ends_nothing_and_what_can_be_written_is():
    with run(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        printed = process.stderr.read()
    assert process.returncode == 7
    assert printed.count("warning") == 3
    assert "Error" not in printed
    with run(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout.read().count("line") == 15000
    assert process.returncode == 7
