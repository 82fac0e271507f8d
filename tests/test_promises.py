"""What the documentation promises: its commands parse, its files exist, its launchers start what they say."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file

import glagcn.cli
from glagcn.config.resolve import parse_command_line
from glagcn.data.datasets import DATASETS
from tests.launched.conftest import launch

REPOSITORY = Path(__file__).parents[1]
TEXTS = sorted(
    path.relative_to(REPOSITORY)
    for pattern in ("*.md", "docs/*.md", "data/*.md", "checkpoint/*.md", "launch/*.sh", "launch/*.sbatch", ".ci/*",
                    "launch/accelerate/*.yaml", "main_sagcn_gpus.py")
    for path in REPOSITORY.glob(pattern)
)  # fmt: skip

# A command begins after code marks, "$ " or a comment sign and ends at a mark, a comment or the line's end.
TRAINER = re.compile(r"(?:main_sagcn_gpus\.py|\bglagcn train)((?: +(?!#)[^\s`|;>]+)*)")
SBATCH = re.compile(r"launch/slurm\.sbatch((?: +(?!#)[^\s`|;>]+)*)")
VERBS = re.compile(r"\bglagcn ((?:prepare|evaluate|export|bench|study|lift|report|runs|compare)(?: +(?!#)[^\s`|;>]+)+)")


def text_of(path: Path) -> str:
    """A text with continued lines joined: a backslash, and the comment sign of the next line."""
    return re.sub(r" *\\\n(?:#? *)", " ", (REPOSITORY / path).read_text(encoding="utf-8"))


def commands(*patterns: re.Pattern) -> list[str]:
    """Every command in the texts; not the mentions of a program in a sentence."""
    found = [match[1].strip().rstrip(".,:)") for path in TEXTS for pattern in patterns
             for match in pattern.finditer(text_of(path))]  # fmt: skip
    return [line for line in dict.fromkeys(found) if re.search("--|/", line)]


def test_every_training_command_parses():
    lines = [line for line in commands(TRAINER, SBATCH) if "--help" not in line]
    for line in lines:
        config, _, _ = parse_command_line(shlex.split(line.replace('"$@"', "").replace("%a", "0")))
        assert config.data.dataset in DATASETS, line
    assert sum("--dataset 3dhp --frames 81" in line for line in lines) >= 6
    assert sum(line.startswith("--dataset demo") for line in lines) >= 3
    assert any("--dataset people" in line for line in lines)  # launch/pretrain.sh


def test_every_verb_parses():
    lines = commands(VERBS)
    for line in lines:
        assert callable(vars(glagcn.cli._parser().parse_args(shlex.split(line)))["verb"]), line
    shown = {"prepare", "evaluate", "export", "bench", "study", "lift", "report", "runs", "compare"}
    assert {line.split()[0] for line in lines} == shown


def test_every_file_that_is_named_exists():
    for path in TEXTS:
        prose = re.sub(r"```python.*?```", "", text_of(path), flags=re.DOTALL)  # code may make files
        named = re.findall(r"(?<![\w/.])((?:launch|docs|tests|glagcn|\.ci)/[\w./*-]*\w)", prose)
        links = re.findall(r"\]\((?!http)([^)#]+)\)", text_of(path))
        missing = [name for name in named if not list(REPOSITORY.glob(name)) and not (REPOSITORY / name).exists()]
        missing += [link for link in links if not (REPOSITORY / path.parent / link).exists()]
        assert missing == [], path


def test_every_document_is_reachable_from_the_readme():
    linked = set(re.findall(r"docs/\w+\.md", text_of(Path("README.md"))))
    assert linked == {path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob("docs/*.md")}


def test_flags_in_the_documentation_exist():
    """Flags in tables and sentences, where no command line shows them."""
    known = set()
    for command in (["main_sagcn_gpus.py", "--help-all"], ["-m", "glagcn.cli", "lift", "--help"]):
        helps = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True)
        known |= set(re.findall(r"--[\w-]+", helps.stdout))
    # Of other programs: pytest, torchrun, accelerate, sbatch, tensorboard, the verbs, and the published script.
    known |= {
        "--standalone", "--nproc_per_node", "--config_file", "--num_processes", "--machine_rank", "--main_process_ip",
        "--max-restarts", "--max_restarts", "--rdzv_backend", "--rdzv_endpoint", "--rdzv_id", "--nnodes", "--node_rank",
        "--master_addr", "--master_port", "--pid", "--time", "--array", "--dependency",
        "--cpu", "--nodes", "--gpus-per-node", "--cpus-per-task", "--logdir",
        "--raw", "--npz", "--mark_missing", "--subjects",
        "--out", "--run-path", "--nepoch", "--version", "--layout", "--dense", "--csv", "--html",
        "--json", "--dataset-scale", "--repeats", "--profile", "--jobs", "--only", "--half", "--index-url",
        "--background", "--python", "--base", "--data", "--detach",
        "--gpus", "--device", "--fp16", "--wandb", "--num_workers", "--keypoint_scale", "--reference", "--stream",
    }  # fmt: skip
    for path in TEXTS:
        if path.suffix == ".md":
            named = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text_of(path)))
            assert {flag for flag in named if not {flag, f"--{flag[2:].replace('-', '_')}"} & known} == set(), path


@pytest.mark.parametrize(  # accelerate starts one process for its CPU types without MPI
    ("name", "processes", "machines", "kind"),
    [("cpu_debug", 2, 1, "MULTI_GPU"), ("one_gpu", 1, 1, "NO"), ("eight_gpus", 8, 1, "MULTI_GPU"),
     ("nodes", 16, 2, "MULTI_GPU")],
)  # fmt: skip
def test_accelerate_reads_the_configurations(name, processes, machines, kind):
    config = load_config_from_file(str(REPOSITORY / f"launch/accelerate/{name}.yaml"))
    assert (config.num_processes, config.num_machines) == (processes, machines)
    assert config.distributed_type == kind
    assert config.mixed_precision == "no"  # --precision decides
    assert not config.use_cpu


def stub(folder: Path, name: str, script: str) -> None:
    """An executable that stands in for a program."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(0o755)


@pytest.mark.launched
def test_slurm_starts_the_processes_that_it_was_given(demo_root, tmp_path):
    """With a scheduler that gives this machine: srun runs what follows its own options, scontrol names the host."""
    bin_folder = tmp_path / "bin"
    stub(bin_folder, "srun", 'while [[ "$1" == --* ]]; do shift; done\nexec "$@"')
    stub(bin_folder, "scontrol", '[ "$*" = "show hostnames node[1]" ] && echo localhost')
    job = {
        "SLURM_SUBMIT_DIR": str(REPOSITORY), "SLURM_JOB_ID": str(40_000 + os.getpid() % 10_000), "SLURM_NNODES": "1",
        "SLURM_JOB_NODELIST": "node[1]", "PROCESSES_PER_NODE": "2",
        "PATH": os.pathsep.join([str(bin_folder), str(Path(sys.executable).parent), os.environ["PATH"]]),
    }  # fmt: skip
    flags = f"--dataset demo --dry_run --root_path {demo_root} -c {tmp_path}/runs --channel 4 --run name".split()
    done = launch(["bash", str(REPOSITORY / "launch/slurm.sbatch"), *flags], tmp_path, **job)
    assert done.code == 0, done.err
    assert "1 node(s) with 2 process(es) each, first node localhost" in done.out
    assert "Processes: 2" in done.out
    assert f"the run folder would be {tmp_path}/runs/name" in done.out  # torchrun has a --run of its own


def source_environment(folder: Path, *arguments: str, **settings: str):
    """Call the function of launch/environment.sh in `folder`, as demo.sh and test.sh do."""
    script = (
        f"set -euo pipefail; source {REPOSITORY}/launch/environment.sh; environment {' '.join(arguments)}; echo ready"
    )
    return subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, env=os.environ | settings)


@pytest.fixture
def checkout(tmp_path):
    """A folder with the files that the function reads, and a python whose virtual environments count what pip does."""
    for name in ("launch/requirements.txt", "launch/requirements-dev.txt", "setup.cfg", "pyproject.toml"):
        (tmp_path / "repository" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repository" / name).write_text(f"# {name}\n")
    pip = f'#!/usr/bin/env bash\\necho "$*" >> {tmp_path}/pip.log'
    stub(
        tmp_path, "python",
        f"""if [ "$1" = -c ]; then exec {sys.executable} "$@"; fi
        echo "$*" >> {tmp_path}/venv.log; mkdir -p .venv/bin; touch .venv/bin/activate
        printf '{pip}' > .venv/bin/pip; chmod +x .venv/bin/pip""",
    )  # fmt: skip
    return tmp_path / "repository"


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_an_old_missing_or_bare_python_is_refused_with_what_to_do(checkout, tmp_path):
    stub(tmp_path, "old", "exit 1")
    for python in (str(tmp_path / "old"), "python-that-is-not-there"):
        done = source_environment(checkout, "requirements.txt", PYTHON=python)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {python} is missing or older than 3.11; install Python 3.11")
        assert not (checkout / ".venv").exists()
    stub(tmp_path, "bare", f'if [ "$1" = -c ]; then exec {sys.executable} "$@"; fi; exit 1')
    done = source_environment(checkout, "requirements.txt", PYTHON=str(tmp_path / "bare"))
    assert (done.returncode, "apt install python3-venv python3-pip" in done.stderr) == (1, True)


def test_every_set_of_requirements_is_installed_once_into_one_environment(checkout, tmp_path):
    python = str(tmp_path / "python")
    for files in (["requirements.txt"], ["requirements.txt", "requirements-dev.txt"]) * 2:
        done = source_environment(checkout, *files, PYTHON=python)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ready"), done.stderr
    assert done.stdout == "ready\n"
    assert len(lines(tmp_path / "pip.log")) == 4  # demo.sh and test.sh in turn: each installs once
    assert len(lines(tmp_path / "venv.log")) == 1
    (checkout / "launch/requirements.txt").write_text("# a newer set\n")
    for files in (["requirements.txt", "requirements-dev.txt"], ["requirements.txt"]):  # as .ci/run does
        assert source_environment(checkout, *files, PYTHON=python).returncode == 0
    assert len(lines(tmp_path / "pip.log")) == 6


def test_the_demo_lifts_first_and_takes_the_environment_that_has_the_program(checkout, tmp_path):
    for name in ("demo.sh", "environment.sh"):
        shutil.copy(REPOSITORY / "launch" / name, checkout / "launch")
    stub(tmp_path, "python", f'echo "$*" >> {tmp_path}/calls.log; [ "$1" != -c ] || echo /here/python')
    settings = os.environ | {"PYTHON": str(tmp_path / "python")}
    done = subprocess.run(["bash", "launch/demo.sh"], cwd=checkout, capture_output=True, text=True, env=settings)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "glagcn is installed for /here/python: using it")
    assert not (checkout / ".venv").exists()
    called = [" ".join(line.split()[:3]) for line in lines(tmp_path / "calls.log") if "--dataset" in line]
    assert called == ["-m glagcn render", "main_sagcn_gpus.py --dataset demo", "-m glagcn render"]


def test_the_snippets_of_the_documentation_run(shipped):
    snippets = [
        snippet
        for name in ("README.md", "docs/models.md")
        for snippet in re.findall(r"```python\n(.*?)```", text_of(Path(name)), flags=re.DOTALL)
    ]
    given = {"pose_2d": np.random.default_rng(0).uniform(0, 1000, (5, 17, 2)), "keypoints": np.ones((17, 2)) * 9}
    for snippet in snippets:
        exec(snippet, given)
    assert len(snippets) == 2
    assert given["pose_3d"].shape == (5, 17, 3)


def test_the_versions_agree():
    assert yaml.safe_load(text_of(Path("CITATION.cff")))["version"] == glagcn.__version__
