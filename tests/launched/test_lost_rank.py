"""Two real ranks: one works longer than an exchange may take, or stops."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launched.conftest import REPOSITORY, launch

pytestmark = pytest.mark.launched
WORKER = str(Path(__file__).with_name("lost_rank_worker.py"))


def test_the_others_wait_for_rank_0_longer_than_the_timeout(tmp_path):
    command = ["torchrun", "--standalone", "--nproc_per_node=2", WORKER, "wait"]
    done = launch(command, tmp_path, PYTHONPATH=str(REPOSITORY))
    assert done.code == 0, done.err


def test_a_frozen_rank_is_named_and_ends_the_run(tmp_path):
    """Without a launcher, whose own report would hide the exit code."""
    port = str(20_000 + os.getpid() % 20_000)
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "PYTHONPATH": str(REPOSITORY)}
    first, second = (
        subprocess.Popen(
            [sys.executable, WORKER, "freeze"],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | common | {"RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in "01"
    )
    _, printed = first.communicate(timeout=120)
    second.kill()
    second.communicate()
    assert first.returncode == 76
    assert printed.count("WARNING: no sign of life from rank 1 (") in (1, 2)  # every second of two
    assert printed.count("error: no sign of life from rank 1 (") == 1
