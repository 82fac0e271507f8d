"""The house rules that a machine can check: imports run one way, files stay small, the public is described."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "glagcn"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 350, 60

# What a module may import of glagcn, by the first name below it; a module imports its own part as well.
GROUND = {"errors", "config", "options", "presets", "widths", "skeleton"}
MAY_IMPORT = {
    "errors": set(),
    "widths": {"errors"},
    "presets": set(),
    "options": {"errors"},
    "checks": {"errors", "options", "widths", "config"},  # of config the type alone
    "config": {"errors", "options", "presets", "widths", "checks"},
    "skeleton": {"errors"},
    "launcher": set(),
    "model": GROUND,
    "data": GROUND,
    "engine": GROUND | {"launcher", "model", "data"},
    "bench": GROUND | {"launcher", "model", "data", "engine"},  # imported by cli alone, when its verb runs
    "study": GROUND | {"launcher", "data", "engine"},  # the same
    "__init__": set(),
    "cli": GROUND | {"launcher", "__version__"},  # the rest inside functions: --help must not import torch
}
# These speak to the user; everything else hands its words to them.
SPEAKERS = {"cli.py", "launcher.py", "engine/runlog.py", "data/prepare.py"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def part_of(path: Path) -> str:
    """The part of the house that a file belongs to: "model", "data", "engine", or its own name at the top."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(nodes) -> set[str]:
    """The parts of glagcn that some nodes import."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("glagcn.")}


def test_no_two_test_files_share_a_name():
    """pytest imports a test file by its bare name: of two, only the first would be run."""
    names = [path.name for path in sorted((REPOSITORY / "tests").rglob("test_*.py"))]
    assert len(names) == len(set(names)), [name for name in set(names) if names.count(name) > 1]


def functions(tree: ast.Module):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_module_imports(path):
    module = "glagcn." + name_of(path).removesuffix(".py").replace("/", ".")
    importlib.import_module(module.removesuffix(".__init__"))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_run_one_way(path):
    part = part_of(path)
    tree = tree_of(path)
    everywhere = part != "cli"  # cli imports the engine, but only when a verb runs
    found = imported(ast.walk(tree) if everywhere else tree.body)
    assert found - {part} <= MAY_IMPORT[part]


def test_the_command_imports_cli_alone():
    assert imported(ast.walk(tree_of(REPOSITORY / "main_sagcn_gpus.py"))) == {"cli"}


def test_help_imports_no_torch():
    code = "import sys, glagcn, glagcn.config, glagcn.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_public_is_described(path):
    tree = tree_of(path)
    assert ast.get_docstring(tree), "the module has no docstring"
    missing = []
    for parent in (tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))):
        if isinstance(parent, ast.ClassDef) and parent.name.startswith("_"):
            continue
        for node in parent.body:
            described = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if described and not node.name.startswith("_") and not ast.get_docstring(node):
                missing.append(node.name)
    assert missing == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_small(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions(tree_of(path))}
    assert {name: length for name, length in long.items() if length > MOST_LINES_OF_A_FUNCTION} == {}


@pytest.mark.parametrize("path", [p for p in FILES if name_of(p) not in SPEAKERS], ids=name_of)
def test_only_those_who_speak_print(path):
    """Output goes through the run log, so that one rank speaks and log.txt has all of it."""
    names = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Name) and node.id == "print"]
    assert [f"line {node.lineno}" for node in names] == []


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [REPOSITORY / name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


def test_no_text_speaks_of_the_workshop():
    """Paths of one machine, and numbers that only a tracker knows, mean nothing to a reader."""
    words = re.compile("/" + "work/|issue " + r"#?\d|(?<![\w.])shared" + "/|/" + "tmp/")
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # reference results
        found += [f"{path.relative_to(REPOSITORY)}: {match[0]}" for match in words.finditer(text)]
    assert found == []
