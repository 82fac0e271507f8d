"""Two hosts on this machine (network namespaces), and a run on both whose link is cut.

Cut for less than --timeout, the run goes on; cut for longer, both sides name what they miss and stop, and the same
command goes on when the link is back.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

from tests.faults.runs import ENVIRONMENT, SCRIPT, SMALL, Skipped, assert_same, last_step, some, undisturbed, until

NAMES = ("glagcn0", "glagcn1")
PORT = 29_500
TIMEOUT_S, SHORT_CUT_S, LONG_CUT_S = 60, 40, 100
FLAGS = f"--epochs 4000 --eval_epochs 20 --save_steps 10 --timeout {TIMEOUT_S / 60}"


@contextmanager
def hosts() -> Iterator[None]:
    """Make the two hosts, 10.77.0.1 and 10.77.0.2, with a wire between them."""
    names = "127.0.0.1 localhost\n" + "".join(f"10.77.0.{n + 1} {name}\n" for n, name in enumerate(NAMES))
    folders = [Path("/etc/netns") / name for name in NAMES]
    try:
        for name, folder in zip(NAMES, folders, strict=True):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "hosts").write_text(names)
            ip(f"netns add {name}")
            ip(f"-n {name} link set lo up")
        ip(f"link add wire0 netns {NAMES[0]} type veth peer name wire1 netns {NAMES[1]}")
        for number, name in enumerate(NAMES):
            ip(f"-n {name} addr add 10.77.0.{number + 1}/24 dev wire{number}")
        set_wire("up")
        yield
    finally:
        kill_all([])
        for name, folder in zip(NAMES, folders, strict=True):
            subprocess.run(["ip", "netns", "del", name], check=False)
            shutil.rmtree(folder)


def ip(command: str) -> str:
    return subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True).stdout


def set_wire(state: str) -> None:
    for number, name in enumerate(NAMES):
        ip(f"-n {name} link set wire{number} {state}")


def kill_all(launchers: list[subprocess.Popen]) -> None:
    """Kill what runs on the hosts: a launcher that cannot reach the store of torchrun ignores SIGTERM."""
    for name in NAMES:
        for process in ip(f"netns pids {name}").split():
            os.kill(int(process), signal.SIGKILL)
    for launcher in launchers:
        launcher.wait()


def start(root: Path, folder: Path, flags: str) -> list[subprocess.Popen]:
    """Start one torchrun with one process on each host; the logs are FOLDER.0.log and FOLDER.1.log."""
    launchers = []
    for number, name in enumerate(NAMES):
        command = ["ip", "netns", "exec", name, "unshare", "--uts", "bash", "-c", f'hostname {name}; exec "$@"', "-"]
        command += ["torchrun", "--nnodes=2", "--nproc_per_node=1", "--rdzv_backend=c10d", f"--rdzv_id={folder.name}"]
        command += [f"--rdzv_endpoint={NAMES[0]}:{PORT}", "--", SCRIPT, *SMALL, "--root_path", str(root)]
        command += ["-c", str(folder.parent), "--run", folder.name, *flags.split()]
        settings = ENVIRONMENT | {"GLOO_SOCKET_IFNAME": f"wire{number}"}
        with log(folder, number).open("a") as file:
            launchers.append(subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | settings))
    return launchers


def log(folder: Path, number: int) -> Path:
    return folder.with_name(f"{folder.name}.{number}.log")


def reach(folder: Path, step: int, launchers: list[subprocess.Popen]) -> None:
    """Wait for a step of the run."""

    def is_there() -> bool:
        assert all(launcher.poll() is None for launcher in launchers), log(folder, 0).read_text()
        return last_step(folder) >= step

    until(is_there, 240, log(folder, 0).read_text)


def wait_for_workers(folder: Path, seconds: float) -> None:
    """Wait until no process of the run is left but the launchers."""

    def is_over() -> bool:
        pids = [pid for name in NAMES for pid in ip(f"netns pids {name}").split()]
        commands = [(Path("/proc") / pid / "cmdline").read_text() for pid in pids]  # of one that has ended: asked again
        return not any(SCRIPT in command and "torchrun" not in command for command in commands)

    until(is_over, seconds, log(folder, 0).read_text)


def check(root: Path, folder: Path, cut_s: float) -> str:
    """Cut the link of a run for `cut_s` seconds; -> what came of it.  Raises AssertionError where the run is lost."""
    launchers = start(root, folder, FLAGS)
    reach(folder, 40, launchers)
    set_wire("down")
    time.sleep(cut_s)
    is_lost = cut_s > TIMEOUT_S
    if is_lost:
        wait_for_workers(folder, 60)
    set_wire("up")
    texts = [log(folder, number).read_text() for number in (0, 1)]
    if is_lost:
        assert "no sign of life from rank 1 (glagcn1" in texts[0], texts[0]
        assert "rank 1 (glagcn1) has not reached the store of the run" in texts[1], texts[1]
        kill_all(launchers)
        launchers = start(root, folder, FLAGS)
    reach(folder, last_step(folder) + 40, launchers)
    kill_all(launchers)
    flags = f"{FLAGS} --max_steps {last_step(folder) + 20}"
    for launcher in start(root, folder, flags):
        assert launcher.wait(240) == 0, log(folder, 0).read_text()
    assert_same(folder, undisturbed("torchrun", root, folder.with_name(f"{folder.name}_whole"), flags))
    return f"{'stopped and resumed' if is_lost else 'went on'}, same weights"


def cases(root: Path, count: int, draw: Random) -> Iterator[tuple[str, Callable[[], str]]]:
    """(name, check) of `count` cut links."""
    if os.geteuid() or not shutil.which("ip") or not shutil.which("unshare"):
        raise Skipped("no root, ip or unshare")
    with hosts():
        for number, seconds in enumerate(some(draw, [SHORT_CUT_S, LONG_CUT_S], count)):
            name = f"link cut for {seconds} s, limit {TIMEOUT_S} s"
            yield name, partial(check, root, root / f"run{number}", seconds)
