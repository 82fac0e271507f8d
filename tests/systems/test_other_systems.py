"""Every module and the commands on an emulated Windows.

SYSTEMS="windows macos" adds macOS; SYSTEMS=native takes the system at hand.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import TINY, result
from tests.systems.sitecustomize import NOT_ON_WINDOWS, POSIX_MODULES

REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parent
PROGRAM = """
import importlib, pkgutil, shlex, sys
import glagcn
from glagcn import cli, signals
assert not hasattr(signals.os, "sched_getaffinity")
for module in pkgutil.walk_packages(glagcn.__path__, "glagcn."):
    if not module.name.endswith("__main__") and ".examples." not in module.name:  # which need other packages
        importlib.import_module(module.name)
for line in sys.argv[1:]:
    if code := cli.main(shlex.split(line)):
        sys.exit(f"{line}: {code}")
"""
GUARDED = {  # names that Windows lacks, where the code asks first
    "data/cache.py": {"fcntl"},
    "dist.py": {"os.getuid"},
    "machine.py": {"os.sched_getaffinity"},
    "signals.py": {"faulthandler.register", "signal.SIGUSR2"},
    "train/hardware.py": {"resource"},
}


@pytest.mark.parametrize("system", os.environ.get("SYSTEMS", "windows").split())
def test_the_commands_work_on_another_system(demo_root, tmp_path, system):
    pixels = np.random.default_rng(0).uniform(200, 800, (1, 17, 2)) + np.arange(12)[:, None, None]
    np.save(tmp_path / "person.npy", pixels)
    common = f"--dataset demo --root_path {demo_root} -c {tmp_path} --run r"
    lines = [
        f"train {common} {TINY} --frames 9 --log_with tensorboard",
        f"train {common} {TINY} --frames 9 --log_with tensorboard --max_steps 8",
        f"evaluate {tmp_path}/r --root_path {demo_root} --output {tmp_path}/scores --workers 1",
        f"render {common} --frames 9 --viz_subject TS1 --viz_limit 2 --viz_size 1 --viz_output {tmp_path}/r.gif",
        f"lift {tmp_path}/person.npy --joints coco17 --image_size 1000,1000 --fps 25 --out {tmp_path}/p.bvh "
        f"--out {tmp_path}/p.npz --out {tmp_path}/p.csv --out {tmp_path}/p.json",
        f"export {tmp_path}/r/best.pt --layout safetensors --out {tmp_path}/r.safetensors",
    ]
    path = os.pathsep.join([str(HERE), str(REPOSITORY)])
    settings = {"EMULATED_SYSTEM": system.removeprefix("native"), "PYTHONPATH": path}
    settings |= {"OMP_NUM_THREADS": "1", "PYTHONWARNDEFAULTENCODING": "1"}
    command = [sys.executable, "-W", "ignore::EncodingWarning", "-c", PROGRAM, *lines]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | settings, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert result(tmp_path / "r")["machine"]["memory_gb"] > 0
    names = ("scores/result.json", "r.gif", "p.bvh", "p.npz", "p.csv", "p.json", "r.safetensors")
    assert [name for name in names if not (tmp_path / name).stat().st_size] == []


def test_what_windows_lacks_is_asked_for_before_it_is_used():
    found: dict[str, set[str]] = {}
    for path in (REPOSITORY / "glagcn").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = set()
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names} & set(POSIX_MODULES.split())
            elif isinstance(node, ast.ImportFrom):
                names = {node.module} & set(POSIX_MODULES.split())
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                lacks = re.compile(NOT_ON_WINDOWS.get(node.value.id, r"$^"))
                names = {f"{node.value.id}.{node.attr}"} if lacks.fullmatch(node.attr) else set()
            if names:
                found.setdefault(path.relative_to(REPOSITORY / "glagcn").as_posix(), set()).update(names)
    assert found == GUARDED
