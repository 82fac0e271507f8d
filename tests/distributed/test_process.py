"""How a process among others waits at the start, says where it is, and ends."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

PROGRAM = """
import atexit
from glagcn import cli
atexit.register(print, "interpreter down")
print("work done")
raise SystemExit(cli._run_command(lambda: None))
"""
SOMEWHERE = """
import sys, time
from glagcn import signals

def somewhere():
    print("ready", flush=True)
    sys.stdin.read()

signals.print_stacks_on_signal()
somewhere()
print("went on")
"""
WAITING = """
import sys
from datetime import timedelta
from glagcn import cli, dist
dist.BEAT_S, dist.LATE_S = 0.1, 1.0
sys.exit(cli._run_command(lambda: dist.start(1, timedelta(seconds=float(sys.argv[1])))))
"""


@pytest.mark.parametrize(("processes", "after"), [("1", "interpreter down\n"), ("2", "")])
def test_one_of_many_ends_with_all_it_said_and_before_the_interpreter_comes_down(processes, after):
    launch = {"RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    environment = os.environ | launch | {"WORLD_SIZE": processes}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "work done\n" + after


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="GNU's OpenMP")
@pytest.mark.parametrize(("said", "spins"), [({}, "5000"), ({"OMP_WAIT_POLICY": "active"}, "30000000000")])
def test_waiting_threads_sleep_soon_unless_the_environment_says_otherwise(said, spins):
    """OpenMP itself tells what it goes by, when torch loads it."""
    unset = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    program = "from glagcn import cli; cli._run_command(lambda: __import__('torch'))"
    environment = unset | said | {"OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr


def test_usr2_prints_the_stacks_and_the_process_goes_on():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", SOMEWHERE], text=True, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR2)
        out, err = process.communicate()
    assert "most recent call first" in err
    assert "in somewhere" in err
    assert (process.returncode, out) == (0, "went on\n")


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def start(port, rank, seconds):
    """One of two ranks; the other never comes."""
    launch = {"RANK": rank, "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, "-c", WAITING, str(seconds)]
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | launch, preexec_fn=_heed_interrupts
    )


def _heed_interrupts():
    """A shell that starts the tests in the background has them, and their processes, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(
    ("rank", "awaited", "number"),
    [
        (
            "0",
            r"WARNING: no sign of life from rank 1 \(not started\) for \d s; waiting up to 5",
            signal.SIGTERM,
        ),
        ("1", r"waiting for the store of the run at 127\.0\.0\.1:{port}, which rank 0 opens: \d s, at", signal.SIGINT),
    ],
)
def test_a_rank_says_what_it_waits_for_and_a_signal_ends_it(port, rank, awaited, number):
    with start(port, rank, 300) as process:
        for _ in range(2):  # again and again
            assert re.match(awaited.format(port=port), process.stderr.readline())
        process.send_signal(number)
        assert process.wait(60) == 75


def test_after_the_timeout_it_ends_with_the_code_of_a_lost_rank(port):
    with start(port, "0", 2) as process:
        _, printed = process.communicate(timeout=60)
    assert process.returncode == 76
    assert "error: no sign of life from rank 1 (not started) for 0.0333333 minutes (--timeout)" in printed


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
