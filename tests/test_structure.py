"""Imports in glagcn/ run one way; what needs no torch does not import it; editors see the public names."""

import ast
import importlib
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import glagcn

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "glagcn"
FILES = sorted(PACKAGE.rglob("*.py"))

# The rooms from top to bottom.  A file imports from its own room and from rooms in lines below.
ROOMS = (
    "examples",
    "__init__",  # the public names
    "api metrics",
    "__main__",
    "cli",
    "compare",  # draws with the figure of a study
    "bench commands study",
    "train",
    "evaluate checkpoints",
    "config",
    "data",
    "poses",
    "model",
    "dist tables",
    "files machine safe_pickle skeletons",
    "errors progress signals version",
)
LAYER = {room: number for number, rooms in enumerate(ROOMS) for room in rooms.split()}
# Nothing of these needs torch: their names are known before it is imported.
WITHOUT_TORCH = (
    "glagcn", "glagcn.cli", "glagcn.config.resolve", "glagcn.dist", "glagcn.metrics", "glagcn.poses.keypoints.read",
    "glagcn.poses.keypoints.tracks", "glagcn.poses.recording", "glagcn.poses.draw.video",
)  # fmt: skip


def imported(path: Path) -> set[str]:
    """The modules of glagcn that a file imports, inside functions and for types too, by their names below it."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: a relative import"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    found = set()
    for module in modules:
        package, *parts = module.split(".")
        if package == "glagcn":
            path = PACKAGE.joinpath(*parts)
            while parts and not (path.is_dir() or path.with_suffix(".py").exists()):
                path = path.parent
                parts.pop()
            found.add(".".join(parts) or "__init__")
    return found


def test_imports_run_downwards_without_circles():
    names = {path: path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".") for path in FILES}
    imports = {names[path].removesuffix(".__init__"): imported(path) for path in FILES}
    assert imported(REPOSITORY / "main_sagcn_gpus.py") == {"cli"}
    upwards = [
        f"{name} imports {other}"
        for name, others in imports.items()
        for room, other in ((name.partition(".")[0], other) for other in others)
        if other.partition(".")[0] != room and LAYER[other.partition(".")[0]] <= LAYER[room]
    ]
    assert upwards == []
    TopologicalSorter(imports).prepare()  # raises CycleError, which names them


def test_help_imports_neither_torch_nor_numpy():
    helps = (
        "glagcn.cli; from contextlib import suppress; glagcn.cli._parser().format_help()\n"
        "with suppress(SystemExit): glagcn.cli.train_main(['--help-all'])"
    )
    for program, module in ((", ".join(WITHOUT_TORCH), "torch"), (helps, "numpy")):
        code = f"import sys, {program}\nsys.exit('{module}' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_editors_see_the_public_names_where_they_are_defined():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [
        (node.module, name.name) for node in stub.body if isinstance(node, ast.ImportFrom) for name in node.names
    ]
    for module, name in imports:
        defined = getattr(importlib.import_module(module), name)
        if name in glagcn.VERBS:  # also a package, whatever was imported first
            assert getattr(glagcn, name).__doc__ == defined.__doc__
        else:
            assert getattr(glagcn, name) is defined
    assert sorted([*(name for _, name in imports), "__version__"]) == dir(glagcn)
