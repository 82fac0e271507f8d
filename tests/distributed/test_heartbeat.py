"""The heartbeat names the rank that is missing, and ends the process when it is missing too long."""

import time

import pytest
import torch.distributed as td

from glagcn import dist
from glagcn.dist import LATE_S, Heartbeat

TIMEOUT_S = 300.0


@pytest.fixture
def ranks(monkeypatch):
    """[(heartbeat, what it says)] of three ranks on one store; their threads are not started."""

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(dist, "leave", leave)
    monkeypatch.setattr(dist.threading.Thread, "start", lambda self: None)
    store = td.HashStore()
    made = [(Heartbeat(store, "node0:29500", rank, 3, TIMEOUT_S), []) for rank in range(3)]
    look = Heartbeat._look

    def look_and_listen(self, now):
        said = next(said for beat, said in made if beat is self)
        monkeypatch.setattr(dist, "print_error", said.append)
        look(self, now)

    monkeypatch.setattr(Heartbeat, "_look", look_and_listen)
    for beat, _ in made:
        beat._signs = [f"1 node{rank}, step 4" for rank in range(3)]
    return made


def silence(beat, rank, seconds):
    beat._heard_at[rank] = time.monotonic() - seconds


def test_the_first_living_rank_names_the_missing_one_every_30_seconds(ranks):
    for beat, said in ranks[:2]:
        silence(beat, 2, LATE_S + 1)
        beat._look(time.monotonic())
        beat._look(time.monotonic())
        assert len(said) == (1 if beat is ranks[0][0] else 0)
    ranks[0][0]._named_at -= LATE_S + 1
    silence(ranks[0][0], 2, 2 * LATE_S + 1)
    ranks[0][0]._look(time.monotonic())
    assert "node2, step 4) for 60 s; waiting" in ranks[0][1][1]
    assert "no sign of life from rank 2 (" in ranks[0][1][0]
    assert "node2, step 4) for 30 s; waiting up to 5 minutes (--timeout)" in ranks[0][1][0]


def test_a_rank_that_answers_again_is_reported(ranks):
    beat, said = ranks[0]
    silence(beat, 1, LATE_S + 1)
    beat._look(time.monotonic())
    silence(beat, 1, 0)
    beat._look(time.monotonic())
    assert said[1] == "rank 1 (node1, step 4) answers"


@pytest.mark.parametrize("rank", [0, 1])
def test_after_the_timeout_every_rank_leaves(ranks, rank):
    beat, said = ranks[rank]
    silence(beat, 2, TIMEOUT_S + 1)
    with pytest.raises(SystemExit) as left:
        beat._look(time.monotonic())
    assert left.value.code == 76
    assert any("error: no sign of life from rank 2 (" in text for text in said) == (rank == 0)


def test_a_rank_that_is_cut_off_says_that_it_cannot_reach_the_store(ranks):
    beat, said = ranks[2]
    for rank in range(3):
        silence(beat, rank, LATE_S + 1)
    beat._look(time.monotonic())
    assert "rank 2 (" in said[0]
    assert "has not reached the store of the run at node0:29500 for 30 s" in said[0]
