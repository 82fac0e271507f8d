"""How a process among others ends."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import atexit
from glagcn import cli
atexit.register(print, "interpreter down")
print("work done")
raise SystemExit(cli._speak(lambda: None))
"""


@pytest.mark.parametrize(("processes", "after"), [("1", "interpreter down\n"), ("2", "")])
def test_one_of_many_ends_with_all_it_said_and_before_the_interpreter_comes_down(processes, after):
    environment = os.environ | {"WORLD_SIZE": processes, "RANK": "0"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "work done\n" + after
