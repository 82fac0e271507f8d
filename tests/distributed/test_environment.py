"""What launchers, notebooks and batch systems leave in the environment: real processes, started as they start them."""

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from glagcn.dist import REQUESTS, TASKS, VARIABLES

REPOSITORY = Path(__file__).parents[2]
TRAINER = [sys.executable, str(REPOSITORY / "main_sagcn_gpus.py")]
DRY = ["--dataset", "demo", "--frames", "9", "--channel", "8", "--batch_size", "8", "--dry_run"]
OURS = {*VARIABLES, *TASKS, *(f"ACCELERATE_{name.upper()}" for name in REQUESTS)}
LAUNCHED = {"LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def start(command, folder, without=(), **settings) -> subprocess.CompletedProcess:
    """Run a command in a folder, with these variables and without what a launcher of the tests may have set."""
    kept = {name: value for name, value in os.environ.items() if name not in OURS and name not in without}
    environment = kept | {"PYTHONPATH": str(REPOSITORY)} | settings
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, env=environment)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"RANK": "x"}, "invalid RANK='x' in the environment: must be a whole number; start with torchrun"),
        ({"WORLD_SIZE": "0"}, "invalid WORLD_SIZE=0 in the environment: must be at least 1"),
        (
            {"RANK": "3", "WORLD_SIZE": "1"},
            "invalid RANK=3 in the environment: must be below the number of",
        ),
        ({"RANK": "0", **LAUNCHED}, "RANK=0 needs WORLD_SIZE in the environment too; start with torchrun"),
        ({**LAUNCHED, "MASTER_PORT": "70000"}, "invalid MASTER_PORT=70000 in the environment: must be 1 to 65535"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 needs RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT in the environment too"),
        ({"RANK": "0", "WORLD_SIZE": "2", **LAUNCHED, "MASTER_PORT": "a"}, "invalid MASTER_PORT='a'"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, "srun started 4 tasks (SLURM_STEP_NUM_TASKS), and each would be a run of its"),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, "mpirun started 2 tasks (OMPI_COMM_WORLD_SIZE)"),
    ],
    ids=str,
)
def test_a_launch_that_cannot_work_ends_in_one_line(tmp_path, settings, message):
    done = start([*TRAINER, *DRY], tmp_path, **settings)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert (done.stdout, list(tmp_path.iterdir())) == ("", [])


def test_the_other_commands_check_the_launch_too(tmp_path):
    done = start([sys.executable, "-m", "glagcn.cli", "prepare", "demo"], tmp_path, SLURM_STEP_NUM_TASKS="2")
    assert done.returncode == 2
    assert done.stderr.startswith("error: srun started 2 tasks")
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_empty_variables_a_terminal_of_ascii_and_an_account_without_name_and_home_change_nothing(tmp_path):
    """The account as in a container that is started with the number of some user: the number has no name."""
    folder = tmp_path / "données"
    folder.mkdir()
    nobody = [shutil.which("unshare") or "unshare", "--user", "--map-user=12345"]
    if not shutil.which("unshare") or subprocess.run([*nobody, "true"], capture_output=True).returncode:
        nobody = []  # no user namespaces
    without = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "MPLCONFIGDIR")
    notebook = {"MPLBACKEND": "module://no_such_module.backend_inline", "OMP_NUM_THREADS": "3"}
    settings = dict.fromkeys(VARIABLES, "") | notebook | {"PYTHONIOENCODING": "ascii", "TMPDIR": str(tmp_path)}
    flags = [*DRY, "-c", str(folder / "runs"), "--cache_dir", str(folder)]
    done = start([*nobody, *TRAINER, *flags], folder, without, **settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Processes: 1, on cpu, CPU threads: 3 each, fp32; " in done.stdout
    assert "donn\\xe9es/runs/demo_gt_f9" in done.stdout
    code = "from glagcn import dist; dist.prepare(); import getpass; print(getpass.getuser())"
    assert not nobody or start([*nobody, sys.executable, "-c", code], tmp_path, without).stdout == "12345\n"


def test_what_accelerate_was_asked_for_in_vain_is_said_once_and_the_one_thread_of_torchrun_does_not_count(tmp_path):
    asked = {"MIXED_PRECISION": "fp16", "DYNAMO_BACKEND": "INDUCTOR", "USE_FSDP": "true"}
    settings = {f"ACCELERATE_{name}": value for name, value in asked.items()}
    done = start([*TRAINER, *DRY], tmp_path, **settings, OMP_NUM_THREADS="1", TORCHELASTIC_RUN_ID="x")
    assert done.returncode == 0
    assert done.stderr == (
        "WARNING: accelerate launch asks for mixed_precision fp16, dynamo_backend INDUCTOR, use_fsdp true, without "
        "effect here; --precision, --micro_batch, --clip and --compile of this command decide, and every process has a "
        "copy of the whole model\n"
    )
    assert f"CPU threads: {len(os.sched_getaffinity(0))} each, fp32; " in done.stdout


@pytest.mark.parametrize(
    ("asked", "ignored"),
    [
        ("--num_processes 1 --mixed_precision bf16", "accelerate launch asks for mixed_precision bf16, without effect"),
        ("--num-processes=2", "accelerate launch was asked for 2 processes and started one; on GPUs give it --multi"),
        ("--config_file=a-b.yaml", "accelerate launch was asked for 3 processes and started one; on GPUs give it"),
    ],
)
def test_what_accelerate_was_asked_for_is_seen_in_its_process(tmp_path, asked, ignored):
    (tmp_path / "a-b.yaml").write_text("distributed_type: 'NO'\nnum_processes: 3\nuse_cpu: true\n")
    (tmp_path / "ask.py").write_text("from glagcn import dist\ndist.prepare()\nprint(dist.ignored_requests())\n")
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", *asked.split()]
    done = start([*accelerate, "ask.py"], tmp_path, HF_HOME=str(tmp_path))
    assert (done.returncode, done.stdout.startswith(ignored)) == (0, True), done.stdout + done.stderr


def test_the_bounds_of_packages_allow_what_the_trackers_need_and_spare_the_large_ones():
    """MLflow's tracker needs accelerate 1.6; tensorboard before 2.16.2 brings gigabytes of other packages."""
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    bounds = dict(line.split(">=") for line in settings["options"]["install_requires"].split())
    assert (bounds["accelerate"], bounds["tensorboard"]) == ("1.6", "2.16.2")
