"""The gradient is the mean over the global batch, however it divides over ranks and parts."""

from pathlib import Path

import pytest
import torch

from tests.launched.conftest import launch

pytestmark = pytest.mark.launched
WORKER = str(Path(__file__).with_name("gradient_worker.py"))


def gradient(tmp_path, processes, count, accumulate=1):
    path = tmp_path / f"{processes}.pt"
    arguments = [WORKER, str(path), str(count), str(accumulate)]
    done = launch(["torchrun", "--standalone", f"--nproc_per_node={processes}", *arguments], tmp_path)
    assert done.code == 0, done.err
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("processes", "count", "accumulate"),
    [(3, 7, 1), (3, 2, 1), (2, 7, 3)],
    ids=["uneven shares", "a rank without windows", "accumulated in parts"],
)
def test_equals_that_of_one_process(tmp_path, processes, count, accumulate):
    expected = gradient(tmp_path, 1, count)
    for name, value in gradient(tmp_path, processes, count, accumulate).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)
