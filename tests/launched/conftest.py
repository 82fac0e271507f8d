"""Real runs: `python`, `torchrun` and `accelerate launch` started as a user starts them, on tiny data."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SMALL = shlex.split(
    "--dataset demo --channel 8 --sequence_layers 1 --batch_size 7 --subset 0.02 --test_frames 40 --log_steps 4 "
    "--workers 1"
)


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str

    @property
    def messages(self) -> str:
        """What the processes printed on stderr, without the report of the launcher, which repeats the message."""
        return self.err.partition("Traceback (most recent call last)")[0]


def launch(command: list[str], cwd: Path, timeout: float = 240, **environment: str) -> Finished:
    """Run a command line to its end; the interpreter's own folder comes first on PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=timeout, env=os.environ | settings | environment
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def assert_is_last(printed: str, message: str) -> None:
    """The launcher's report ends with its block about the first failure, and that with our message."""
    *_, message_line, border = printed.strip().splitlines()
    assert set(border) == {"="}
    assert re.fullmatch(f"  traceback : {message}", message_line), message_line


def trainer(processes: int = 1) -> list[str]:
    """The start of a command line that trains with this many processes."""
    script = str(REPOSITORY / "main_sagcn_gpus.py")
    if processes == 1:
        return ["python", script]
    return ["torchrun", "--standalone", f"--nproc_per_node={processes}", "--", script]  # it has a --run of its own


@pytest.fixture
def run(demo_root, tmp_path):
    """run(flags, processes) -> Finished: a small training or evaluation; run folders lie in tmp_path."""

    def start(flags: str, processes: int = 1, **settings) -> Finished:
        common = [*SMALL, "--root_path", str(demo_root), "-c", str(tmp_path)]
        return launch([*trainer(processes), *common, *flags.split()], tmp_path, **settings)

    return start
