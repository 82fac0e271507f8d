import subprocess
import sys

import numpy as np
import torch

from glagcn.bench.measure import interleaved
from glagcn.training.hardware.memory import peak_memory

CPU = torch.device("cpu")


def test_works_take_turns_and_the_first_rounds_do_not_count(monkeypatch):
    calls, times = [], iter([9.0, 9.0, 1.0, 10.0, 3.0, 30.0, 2.0, 20.0])

    def clock(work, device):
        work()
        return next(times)

    monkeypatch.setattr("glagcn.bench.measure.seconds", clock)
    medians = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, CPU)
    assert calls == ["a", "b"] * 4
    assert medians == {"a": 2.0, "b": 20.0}


def test_the_memory_of_a_process_is_its_own():
    """A process that is started by a large one is not large."""
    held = np.ones(600 * 2**20, dtype=np.uint8)
    code = (
        "import torch; from glagcn.training.hardware.memory import peak_memory; print(peak_memory(torch.device('cpu')))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < held.nbytes < peak_memory(CPU)
