"""A SLURM of its own on this machine (slurmctld, slurmd and munged of Debian's packages), and requeued jobs in it.

All state is in one folder, and the daemons listen on the loopback interface only.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random

import psutil

from tests.faults.runs import REPOSITORY, SMALL, Skipped, assert_same, last_step, some, undisturbed, until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
FLAGS = "--epochs 4000 --eval_epochs 20"  # longer than any test
SOME_STEPS = 40
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/sock
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort={port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobRequeue=1
KillWait=30
ReturnToService=2
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
PartitionName=main Nodes=ALL Default=YES MaxTime=60 DefaultTime=10 State=UP
"""


@contextmanager
def slurm(folder: Path, nodes: int = 1) -> Iterator[None]:
    """Run SLURM with `nodes` slurmd on this machine; its commands work in the block (SLURM_CONF)."""
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(parents=True)
    (folder / "munge/key").write_bytes(os.urandom(128))
    (folder / "munge/key").chmod(0o400)
    _write_configuration(folder, nodes)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    munge = {"key-file": "key", "socket": "sock", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    run("munged", "--force", *(f"--{option}={folder}/munge/{name}" for option, name in munge.items()))
    try:
        run("slurmctld", "-c")
        until(lambda: "UP" in run("scontrol", "ping"), 30)
        for number in range(nodes):
            run("slurmd", "-N", f"n{number + 1}")
        until(lambda: run("sinfo", "-h", "-o", "%T") == "idle", 30)
        yield
    finally:
        subprocess.run(["scancel", "-u", "root"], check=False)
        with suppress(AssertionError):
            until(_jobs_have_left, 60)
        for pid in [*folder.glob("slurm*.pid"), folder / "munge/pid"]:
            subprocess.run(["kill", pid.read_text().strip()], check=False)
        os.environ.pop("SLURM_CONF")


def _write_configuration(folder: Path, nodes: int) -> None:
    ports = []
    for _ in range(nodes + 1):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    host = socket.gethostname().partition(".")[0]
    text = CONFIGURATION.format(folder=folder, host=host, port=ports[0], node_port=ports[1])
    for number, port in enumerate(ports[1:], 1):
        text += f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000\n"
    (folder / "slurm.conf").write_text(text)


def _jobs_have_left() -> bool:
    """Whether no job has a daemon left on the nodes (slurmstepd, which works in the folder of slurm)."""
    folder = Path(os.environ["SLURM_CONF"]).parent
    daemons = [process for process in psutil.process_iter(["name", "cwd"]) if process.info["name"] == "slurmstepd"]
    return not any(Path(process.info["cwd"] or "/").is_relative_to(folder) for process in daemons)


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Job:
    """launch/slurm.sbatch, submitted to train in `folder`."""

    def __init__(self, root: Path, folder: Path, options: str, flags: str) -> None:
        self.folder, self.log = folder, folder.with_suffix(".log")
        settings = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PROCESSES_PER_NODE": "2" if "--nodes" not in options else "1",
            "HEAD_NODE": "127.0.0.1",  # the names of the nodes do not resolve
            "OMP_NUM_THREADS": "1",
        }
        command = ["sbatch", "--parsable", "--time=30", f"--output={self.log}", *options.split()]
        command += [str(REPOSITORY / "launch/slurm.sbatch"), *SMALL, "--root_path", str(root)]
        command += ["-c", str(folder.parent), "--run", folder.name, *flags.split()]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=os.environ | settings, capture_output=True, text=True, check=True
        )
        self.number = done.stdout.strip()

    def field(self, name: str) -> str:
        """A value of scontrol show job."""
        fields = run("scontrol", "show", "job", self.number).split()
        return next(field.partition("=")[2] for field in fields if field.startswith(f"{name}="))

    def advance(self) -> None:
        """Wait until the run has taken some more steps than its log shows now."""
        step = last_step(self.folder) + SOME_STEPS

        def is_there() -> bool:
            assert self.field("JobState") in ("PENDING", "RUNNING"), self.text()
            return last_step(self.folder) >= step

        until(is_there, 240, self.text)

    def requeued(self, times: int) -> None:
        """Wait until the job has started again after so many requeues, without SLURM's delay of two minutes."""

        def is_back() -> bool:
            # Not before the daemon of the old script has reported its end: that would count as the end of the new one.
            if self.field("JobState") == "PENDING" and _jobs_have_left():
                run("scontrol", "update", f"JobId={self.number}", "StartTime=now", "TimeLimit=30")
            return f"requeued {times} time(s)" in self.text()

        until(is_back, 180, self.text)

    def near_its_limit(self) -> None:
        """Shorten the time limit, so that SLURM sends the signal of --signal at its next look (every 30 s)."""
        minutes = 1 + int(self.field("RunTime").split(":")[1])
        run("scontrol", "update", f"JobId={self.number}", f"TimeLimit={minutes + 1}")

    def end(self) -> str:
        """Wait for the end; -> the state, such as COMPLETED."""
        until(lambda: self.field("JobState") not in ("PENDING", "RUNNING", "COMPLETING"), 300, self.text)
        return self.field("JobState")

    def text(self) -> str:
        """What the job has printed, and what SLURM knows of it."""
        return (self.log.read_text() if self.log.exists() else "") + run("scontrol", "show", "job", self.number)


def check(root: Path, folder: Path, options: str = "") -> str:
    """Requeue a job twice by its time limit and once by hand, cancel it, and submit it again; -> what came of it.

    Raises AssertionError if the weights differ from those of an undisturbed run of as many steps.
    """
    job = Job(root, folder, options, FLAGS)
    for times in (1, 2):
        job.advance()
        job.near_its_limit()
        job.requeued(times)
    job.advance()
    run("scontrol", "requeue", job.number)
    job.requeued(3)
    job.advance()
    run("scancel", job.number)
    assert job.end() == "CANCELLED", job.text()
    stopped = json.loads((folder / "stopped.json").read_text())["step"]
    flags = f"{FLAGS} --max_steps {stopped + SOME_STEPS}"
    again = Job(root, folder, options, flags)
    assert again.end() == "COMPLETED", again.text()
    assert again.text().count("The time limit is near") == 2
    assert again.text().count("resumed at step") == 4
    assert_same(folder, undisturbed("torchrun", root, folder.with_name(f"{folder.name}_whole"), flags))
    return "2 requeues by the time limit, 1 by hand, 1 scancel, same weights"


def cases(root: Path, count: int, draw: Random) -> Iterator[tuple[str, Callable[[], str]]]:
    """(name, check) of `count` jobs on one node or two."""
    if os.geteuid() or not all(map(shutil.which, PROGRAMS)):
        raise Skipped("no slurm, or not root")
    for number, nodes in enumerate(some(draw, [1, 2], count)):
        with slurm(root / f"slurm{number}", nodes):
            options = f"--nodes={nodes}" if nodes > 1 else ""
            yield f"{nodes} node(s)", partial(check, root, root / f"job{number}", options)
