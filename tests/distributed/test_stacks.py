"""SIGUSR2 prints where a process is, and the process goes on."""

import signal
import subprocess
import sys

PROGRAM = """
import sys, time
from glagcn import signals

def somewhere():
    print("ready", flush=True)
    sys.stdin.read()

signals.print_stacks_on_signal()
somewhere()
print("went on")
"""


def test_usr2_prints_the_stacks():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], text=True, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR2)
        out, err = process.communicate()
    assert "most recent call first" in err
    assert "in somewhere" in err
    assert (process.returncode, out) == (0, "went on\n")
