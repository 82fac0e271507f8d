"""A sample of what the other files of this folder do by hand, at fixed steps."""

import os
import signal

import pytest

from tests.faults import disk, kills, signals, slurm

pytestmark = pytest.mark.launched


@pytest.mark.parametrize(
    ("launcher", "kind", "target"),
    [
        ("python", signal.SIGINT, "launcher"),
        ("accelerate", signal.SIGUSR1, "launcher"),  # which dies of it
        ("torchrun restarts", signal.SIGTERM, "one"),  # which the launcher would start again
    ],
)
def test_a_signal_ends_a_run_with_its_state_saved(demo_root, tmp_path, launcher, kind, target):
    signals.check(launcher, kind, target, demo_root, tmp_path / "run")


def test_a_closed_terminal_ends_a_run_with_its_state_saved(demo_root, tmp_path):
    signals.hang_up("torchrun", demo_root, tmp_path / "run")


@pytest.fixture(scope="module")
def reference(demo_root, tmp_path_factory):
    """The run folder of two processes that nothing disturbs; not to be changed."""
    return kills.undisturbed("torchrun", demo_root, tmp_path_factory.mktemp("undisturbed") / "whole")


@pytest.mark.xdist_group("kills")
@pytest.mark.parametrize(
    ("launcher", "kind", "target"),
    [
        ("accelerate", "kill", "launcher"),
        ("torchrun", "freeze", "one"),
        ("torchrun restarts", "kill", "one"),
    ],
)
def test_a_disturbed_run_ends_as_an_undisturbed_one(demo_root, reference, tmp_path, launcher, kind, target):
    kills.check(launcher, kind, target, 40, demo_root, tmp_path / "run", reference)


@pytest.mark.xdist_group("kills")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")
def test_a_run_outlasts_a_full_disk(demo_root, reference, tmp_path):
    with disk.small_disk(tmp_path / "disk") as small:
        disk.check("torchrun", 40, demo_root, small, reference)


@pytest.mark.skipif(slurm.is_missing(), reason="no slurm")
def test_a_slurm_job_is_requeued_and_goes_on(demo_root, tmp_path):
    with slurm.slurm(tmp_path / "slurm"):
        slurm.check(demo_root, tmp_path / "job")
