"""One signal and one kill of what disturbed.py does under every launcher (.ci/nightly runs them)."""

import signal

import pytest

from tests.faults import disturbed
from tests.faults.runs import undisturbed

pytestmark = pytest.mark.launched


def test_a_signal_ends_a_run_with_its_state_saved(demo_root, tmp_path):
    """To one worker of a launcher that would start it again."""
    disturbed.check_signal("torchrun restarts", signal.SIGTERM, "one", demo_root, tmp_path / "run")


def test_a_killed_run_ends_as_an_undisturbed_one(demo_root, tmp_path):
    reference = undisturbed("torchrun", demo_root, tmp_path / "whole", disturbed.FLAGS)
    disturbed.check_kill("torchrun restarts", "one", 40, demo_root, tmp_path / "run", reference)
