"""How a process among others ends, waits, and says where it is."""

import os
import signal
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


@pytest.mark.parametrize(("processes", "after"), [("1", "interpreter down\n"), ("2", "")])
def test_one_of_many_ends_with_all_it_said_and_before_the_interpreter_comes_down(processes, after):
    launch = {"RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    environment = os.environ | launch | {"WORLD_SIZE": processes}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "work done\n" + after


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="GNU's OpenMP")
@pytest.mark.parametrize(
    ("said", "spins"), [({}, "5000"), ({"GOMP_SPINCOUNT": "70"}, "70"), ({"OMP_WAIT_POLICY": "active"}, "30000000000")]
)
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
