"""Rendering on two processes: one of them works, and both end."""

import pytest

pytestmark = pytest.mark.launched


def test_one_rank_draws_and_a_failure_ends_both(run, trained, tmp_path):
    flags = f"--channel 4 --frames 9 --evaluate {trained}/best.pt --render --viz-subject TS1 --viz-limit 2 --viz-size 1"
    done = run(f"{flags} --viz-output {tmp_path}/a.gif", 2)
    assert done.code == 0, done.err
    assert done.out.count("Wrote ") == 1
    assert (tmp_path / "a.gif").read_bytes().startswith(b"GIF89a")
    refused = run(f"{flags} --viz-output {tmp_path}/b.gif --viz-skip 150", 2)
    assert refused.code != 0
    assert refused.messages.count("error: invalid --viz_skip 150: must be 0 to 149") == 1
    assert not (tmp_path / "b.gif").exists()
