"""What launchers, notebooks and batch systems leave in the environment, checked before anything else reads it.

Standard library only, so that a bad launch is reported before torch is imported.
"""

import getpass
import os
import sys
import tempfile
from pathlib import Path

from glagcn.distributed.launcher import VARIABLES
from glagcn.errors import UserError

START = "start with torchrun or accelerate launch, which set all of them, or unset them all for one process"
# {system: (variable with its number of tasks, what to do)}
TASKS = {
    "srun": (
        ("SLURM_STEP_NUM_TASKS",),
        "use `sbatch launch/slurm.sbatch ...`, or start one torchrun per node, such as "
        "`srun --ntasks-per-node 1 torchrun --nproc_per_node GPUS ...`",
    ),
    "mpirun": (
        ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"),
        "use torchrun or accelerate launch; on several nodes, start one torchrun per node, such as "
        "`mpirun --map-by ppr:1:node torchrun --nnodes NODES --nproc_per_node GPUS --rdzv_backend c10d "
        "--rdzv_endpoint HOST:29500 ...`",
    ),
}
# {variable of accelerate launch: (its name there, values that ask for nothing, what decides here)}
REQUESTS = {
    "ACCELERATE_MIXED_PRECISION": ("mixed_precision", ("no",), "--precision"),
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ("gradient_accumulation_steps", ("1",), "--micro_batch"),
    "ACCELERATE_GRADIENT_CLIPPING": ("gradient_clipping", ("none",), "--clip"),
    "ACCELERATE_DYNAMO_BACKEND": ("dynamo_backend", ("no",), "--compile"),
    "ACCELERATE_USE_DEEPSPEED": ("use_deepspeed", ("false",), ""),
    "ACCELERATE_USE_FSDP": ("use_fsdp", ("false",), ""),
    "ACCELERATE_USE_MEGATRON_LM": ("use_megatron_lm", ("false",), ""),
    "ACCELERATE_USE_PARALLELISM_CONFIG": ("use_parallelism_config", ("false",), ""),
}


def prepare() -> None:
    """Make this process independent of terminal, notebook and account, and check what the launcher set.

    Raises UserError for a launch that cannot work, naming the variable, its value and what to do.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal or log that takes ASCII only must not end a run whose folder has another letter.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # Figures are drawn into files; the backend of a notebook, which its kernel leaves here, may not be installed.
    os.environ["MPLBACKEND"] = "agg"
    _do_without_account()
    _check_ranks()
    _check_tasks()


def ignored_requests() -> str:
    """What `accelerate launch` was asked for and has no effect here, with what decides instead; empty if nothing.

    Removes these variables, since accelerate would act on some of them.
    """
    asked, deciding = [], []
    for variable, (name, nothing, flag) in REQUESTS.items():
        value = os.environ.pop(variable, "")
        if value and value.lower() not in nothing:
            asked.append(f"{name} {value}")
            deciding.append(flag)
    if not asked:
        return ""
    decides = ", ".join(flag for flag in deciding if flag)
    instead = f"; {decides} of this command decide" if decides else ""
    whole = "; every process has a copy of the whole model" if "" in deciding else ""
    return f"accelerate launch asks for {', '.join(asked)}, without effect here{instead}{whole}"


def _do_without_account() -> None:
    """Give torch.compile a user name, and matplotlib a folder for its cache, in a container that has neither."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())
    home = os.path.expanduser("~")  # noqa: PTH111  # that of Path raises where there is none
    if "MPLCONFIGDIR" in os.environ or os.access(home, os.W_OK):
        return
    folder = Path(tempfile.gettempdir()) / f"matplotlib-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid == os.getuid():  # not a trap of somebody else
            os.environ["MPLCONFIGDIR"] = str(folder)
    except OSError:
        pass  # matplotlib says so itself


def _check_ranks() -> None:
    """Raise UserError unless the variables of torchrun are whole numbers that fit each other.  Removes empty ones."""
    for name in VARIABLES:
        if not os.environ.get(name, "unset").strip():
            del os.environ[name]
    numbers = {name: _number(name) for name in VARIABLES if name != "MASTER_ADDR" and name in os.environ}
    size = numbers.get("WORLD_SIZE", 1)
    if size < 1:
        raise UserError(f"invalid WORLD_SIZE={size} in the environment: must be at least 1; {START}")
    if size > 1 and (missing := [name for name in VARIABLES if name not in os.environ and name != "LOCAL_WORLD_SIZE"]):
        raise UserError(f"WORLD_SIZE={size} needs {', '.join(missing)} in the environment too; {START}")
    for name, count in (("RANK", size), ("LOCAL_RANK", numbers.get("LOCAL_WORLD_SIZE", size))):
        if numbers.get(name, 0) >= count:
            raise UserError(
                f"invalid {name}={numbers[name]} in the environment: must be below the number of processes, {count}; "
                f"{START}"
            )


def _number(name: str) -> int:
    text = os.environ[name]
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UserError(f"invalid {name}={text[:80]!r} in the environment: must be a whole number; {START}")
    return int(text)


def _check_tasks() -> None:
    """Raise UserError if a batch system started several tasks, and nothing made them processes of one run."""
    if "RANK" in os.environ or "WORLD_SIZE" in os.environ:
        return
    for starter, (variables, advice) in TASKS.items():
        for name in variables:
            text = os.environ.get(name, "")
            if text.isdecimal() and text.strip("0") not in ("", "1"):
                raise UserError(
                    f"{starter} started {text} tasks ({name}), and each would be a run of its own: {advice}. "
                    "WORLD_SIZE=1 in the environment states that separate runs are meant"
                )
