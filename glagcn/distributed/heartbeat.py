"""Signs of life between ranks: the log names the rank that is missing when an exchange hangs."""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glagcn.distributed import launcher

if TYPE_CHECKING:
    from torch.distributed import Store

BEAT_S = 2.0
LATE_S = 30.0  # longer than a network hiccup, short for someone who watches


@dataclass
class Peer:
    """What this process knows of a rank: its newest sign of life, and when that came by the clock of this process."""

    heard_at: float = 0.0
    sign: str = ""

    @property
    def step(self) -> int:
        """The last step that it took."""
        return int(self.sign.split()[1])

    @property
    def host(self) -> str:
        """The name of its machine."""
        return self.sign.split()[2]


class Heartbeat:
    """Writes this rank's sign of life to a store and reads those of the others, in threads of its own.

    A rank without a new sign for LATE_S is named in the log.  After `timeout_s` this process ends: NCCL and gloo would
    wait on, or fail without naming that rank.

    store    a connection that nothing else uses: a call hangs as long as the network does.
    address  of the store, for messages.
    step     the last step that this rank took; the training loop sets it.
    """

    def __init__(
        self,
        store: "Store",
        address: str,
        rank: int,
        world_size: int,
        timeout_s: float,
        say: Callable[[str], None],
    ) -> None:
        self.step = 0
        self._store, self._address, self._rank, self._timeout_s, self._say = store, address, rank, timeout_s, say
        self._keys = [f"beat{peer}" for peer in range(world_size)]
        self._beats = 0
        self._peers: list[Peer] = []
        self._late: set[int] = set()
        self._steps_changed_at = 0.0
        self._ended = threading.Event()
        self._beat()

    def start(self) -> None:
        """Begin to beat and to watch.  Every rank must have made its heartbeat before."""
        now = time.monotonic()
        self._peers = [Peer(now, sign.decode()) for sign in self._store.multi_get(self._keys)]
        for work in (self._beat_on, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def end(self) -> None:
        """Say nothing more: the ranks are about to leave, one after the other."""
        self._ended.set()

    def _beat(self) -> None:
        self._beats += 1
        self._store.set(self._keys[self._rank], f"{self._beats} {self.step} {socket.gethostname()}")

    def _beat_on(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self._beat()
                signs = self._store.multi_get(self._keys)
            except RuntimeError:  # the store is gone: all signs grow old, and `_watch` says so
                continue
            for peer, sign in zip(self._peers, signs, strict=True):
                if sign.decode() != peer.sign:
                    peer.heard_at, peer.sign = time.monotonic(), sign.decode()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(BEAT_S):
            now = time.monotonic()
            if now - before > LATE_S / 2:  # this process was frozen, and heard nobody meanwhile
                for peer in self._peers:
                    peer.heard_at = now
            before = now
            self._look(now)

    def _look(self, now: float) -> None:
        """Say who is missing or back; end the process if one was missing too long."""
        silent = [now - peer.heard_at for peer in self._peers]
        late = {rank for rank, seconds in enumerate(silent) if seconds > LATE_S}
        if self._speaks(late):
            if new := late - self._late:
                limit = f"{self._timeout_s / 60:g} minutes"
                self._say(f"WARNING: {self._lost(late, new)} for {LATE_S:.0f} s; waiting up to {limit} (--timeout)")
            if back := self._late - late:
                self._say(f"{self._names(back)} answers again")
        self._late = late
        if gone := {rank for rank in late if silent[rank] > self._timeout_s}:
            text = (
                f"error: {self._lost(late, gone)} for {self._timeout_s / 60:g} minutes (--timeout). Look at that "
                "machine, its network and its log; the same command goes on from the last checkpoint"
            )
            if self._speaks(late):
                self._say(text)
            launcher.record(text)
            launcher.leave(launcher.LOST_RANK_CODE)

    def _speaks(self, late: set[int]) -> bool:
        """Whether this rank prints: the first that is not missing, or the first of a node that is cut off."""
        if self._rank in late:
            return launcher.local_rank() == 0
        return self._rank == min(set(range(len(self._peers))) - late)

    def _lost(self, late: set[int], ranks: Iterable[int]) -> str:
        if self._rank in late:  # not even its own sign came back
            return f"rank {self._rank} ({socket.gethostname()}) has not reached the store of the run at {self._address}"
        return f"no sign of life from {self._names(ranks)}"

    def _names(self, ranks: Iterable[int]) -> str:
        peers = ((rank, self._peers[rank]) for rank in sorted(ranks))
        return ", ".join(f"rank {rank} ({peer.host}, step {peer.step})" for rank, peer in peers)
