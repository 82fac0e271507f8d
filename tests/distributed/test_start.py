"""Processes that wait for each other at the start: what they say, and how they end."""

import os
import signal
import socket
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from datetime import timedelta
from glagcn import cli, dist
dist.LATE_S = 1.0
sys.exit(cli._run_command(lambda: dist.start(1, timedelta(seconds=float(sys.argv[1])))))
"""


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def start(port, rank, seconds):
    """One of two ranks; the other never comes."""
    launch = {"RANK": rank, "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, "-c", PROGRAM, str(seconds)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | launch)


@pytest.mark.parametrize(
    ("rank", "awaited", "number"),
    [
        ("0", "rank 1 of 2: 1 s, at most 5 minutes (--timeout)", signal.SIGTERM),
        ("1", "the store of the run at 127.0.0.1:{port}, which rank 0 opens: 1 s, at most", signal.SIGINT),
    ],
)
def test_a_rank_says_what_it_waits_for_and_a_signal_ends_it(port, rank, awaited, number):
    with start(port, rank, 300) as process:
        assert process.stderr.readline().startswith(f"waiting for {awaited.format(port=port)}")
        process.send_signal(number)
        assert process.wait(60) == 75


def test_after_the_timeout_it_ends_with_the_code_of_a_lost_rank(port):
    with start(port, "0", 2) as process:
        _, printed = process.communicate(timeout=60)
    assert process.returncode == 76
    assert "error: waited 2 s for rank 1 of 2 (--timeout); see the log of that machine" in printed


def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with start(port, "0", 60) as process:
            _, printed = process.communicate(timeout=60)
    assert process.returncode == 2
    assert printed.startswith(f"error: the port {port} of this machine (MASTER_PORT), over which")
    assert "Traceback" not in printed
