"""Two real runs in one folder: the second is refused on all its processes, or goes on when the first has died."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.launched.conftest import REPOSITORY, SMALL, launch, trainer

pytestmark = pytest.mark.launched
IMPATIENT = str(REPOSITORY / "tests/launched/impatient.py")


@pytest.fixture
def flags(demo_root, tmp_path):
    return [*SMALL, "--root_path", str(demo_root), "-c", str(tmp_path), "--run", "r", "--save_steps", "5"]


@pytest.fixture
def first(flags, tmp_path):
    """A run that stands still after its first checkpoint, as on a machine that hangs."""
    endless = ["--epochs", "100000", "--eval_epochs", "0"]
    with (tmp_path / "first.log").open("w") as log:
        process = subprocess.Popen([sys.executable, trainer()[1], *flags, *endless], stdout=log, stderr=log)
    while not (tmp_path / "r/last.pt").exists():
        assert process.poll() is None, (tmp_path / "first.log").read_text()
        time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    yield process
    process.kill()
    process.wait()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_second_is_refused_with_one_message_and_goes_on_when_the_first_has_died(first, flags, tmp_path):
    before = contents(tmp_path / "r")
    done = launch([*trainer(2)[:-1], IMPATIENT, *flags], tmp_path, PYTHONPATH=str(REPOSITORY))
    assert done.code != 0
    assert done.out.count(f"Another process is using {tmp_path}/r (process {first.pid} on ") == 1
    assert done.messages.count(f"error: another process is using {tmp_path}/r (process {first.pid} on ") == 1
    assert contents(tmp_path / "r") == before
    assert first.poll() is None
    step = torch.load(tmp_path / "r/last.pt", weights_only=True)["progress"]["step"]
    command = [sys.executable, trainer()[1], *flags, "--epochs", "100000", "--max_steps", str(step + 5)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as second:
        for line in second.stdout:
            if line.startswith("Another process is using"):
                first.kill()
                break
        out = second.stdout.read()
    assert second.returncode == 0
    assert f"resumed at step {step} of {step + 5}" in out
    assert not (tmp_path / ".r.lock").exists()
