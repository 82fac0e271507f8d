"""The house rules that a machine can check: imports run one way, files stay small, the public is described."""

import ast
import importlib
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import glagcn

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "glagcn"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_FILES = 350, 50, 12

# The floors of the house, from the ground up.  A file imports from its own room and from rooms on lower floors.
FLOORS = (
    {"errors", "__init__"},
    {"skeleton", "widths", "files", "progress"},
    {"conventions"},
    {"data"},  # the command line and the presets come from its table of data sets
    {"model"},
    {"config"},  # the choices of --model come from its registry
    {"distributed"},
    {"inference", "open_data"},
    {"checkpoints"},
    {"evaluation", "live"},
    {"runs"},
    {"lifting"},
    {"rendering"},
    {"training"},
    {"study"},
    {"bench", "commands"},
    {"cli"},
    {"__main__"},
    {"metrics"},  # the public name of what lies in evaluation
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# These speak to the user; everything else hands its words to them.
SPEAKERS = {
    "cli.py", "commands/prepare.py", "commands/export.py", "commands/lift.py", "bench/command.py",
    "distributed/launcher.py", "runs/log.py",
    "data/prepare.py",
}  # fmt: skip
# Nothing of these needs torch: their names are known before it is imported.
WITHOUT_TORCH = (
    "glagcn",
    "glagcn.cli",
    "glagcn.config.resolve",
    "glagcn.distributed.launcher",
    "glagcn.metrics",
    "glagcn.data.sources.keypoints.read",
    "glagcn.data.sources.keypoints.tracks",
    "glagcn.lifting.recording",
    "glagcn.rendering.video_reader",
)


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def part_of(path: Path) -> str:
    """The room that a file belongs to: its folder, or its own name at the top."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(nodes) -> set[str]:
    """The modules of glagcn that some nodes import, by their names below it."""
    modules = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    found = set()
    for module in modules:
        package, *parts = module.split(".")
        if package != "glagcn":
            continue
        while parts and not (PACKAGE.joinpath(*parts).with_suffix(".py").exists() or PACKAGE.joinpath(*parts).is_dir()):
            parts.pop()
        found.add(".".join(parts) or "__init__")
    return found


def test_no_two_test_files_share_a_name():
    """pytest imports a test file by its bare name: of two, only the first would be run."""
    names = [path.name for path in sorted((REPOSITORY / "tests").rglob("test_*.py"))]
    assert len(names) == len(set(names)), [name for name in set(names) if names.count(name) > 1]


def functions(tree: ast.Module):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_every_module_imports():
    for path in FILES:
        module = "glagcn." + name_of(path).removesuffix(".py").replace("/", ".")
        importlib.import_module(module.removesuffix(".__init__"))


def test_imports_run_downwards():
    """Those inside functions and those for types alone count too."""
    upwards = []
    for path in FILES:
        part = part_of(path)
        rooms = {module.split(".")[0] for module in imported(ast.walk(tree_of(path)))} - {part}
        upwards += [f"{name_of(path)}: {room}" for room in rooms if FLOOR[room] >= FLOOR[part]]
    assert upwards == []


def test_no_files_import_each_other():
    names = {path: name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in FILES}
    imports = {names[path]: imported(ast.walk(tree_of(path))) for path in FILES}
    order = TopologicalSorter(imports)
    order.prepare()  # raises CycleError, which names them


def test_rooms_are_small():
    rooms = {path.parent for path in FILES}
    sizes = {room.relative_to(PACKAGE).as_posix(): len(list(room.glob("[!_]*.py"))) for room in rooms}
    assert {room: size for room, size in sizes.items() if size > MOST_FILES} == {}


def test_the_command_imports_cli_alone():
    assert imported(ast.walk(tree_of(REPOSITORY / "main_sagcn_gpus.py"))) == {"cli"}


def test_help_imports_no_torch():
    code = f"import sys, {', '.join(WITHOUT_TORCH)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_the_package_lists_its_public_names():
    code = "import glagcn; print(*dir(glagcn)); import glagcn.metrics; print(glagcn.metrics.official_3dhp.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    listed = ["Lifter", "UserError", "__version__", "load_model", "metrics", "predict"]
    assert done.stdout.split() == [*listed, "official_3dhp"]


def test_editors_see_the_public_names_where_they_are_defined():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [
        (node.module, name.name) for node in stub.body if isinstance(node, ast.ImportFrom) for name in node.names
    ]
    for module, name in imports:
        assert getattr(glagcn, name) is getattr(importlib.import_module(module), name)
    assert {name for _, name in imports} | {"__version__"} == set(dir(glagcn))


def undescribed(tree: ast.Module) -> list[str]:
    """The public names of a module that have no docstring, its own being "" among them."""
    missing = [] if ast.get_docstring(tree) else [""]
    for parent in (tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))):
        if isinstance(parent, ast.ClassDef) and parent.name.startswith("_"):
            continue
        for node in parent.body:
            described = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if described and not node.name.startswith("_") and not ast.get_docstring(node):
                missing.append(node.name)
    return missing


def test_the_public_is_described():
    found = {name_of(path): undescribed(tree_of(path)) for path in FILES}
    assert {name: missing for name, missing in found.items() if missing} == {}


def test_files_are_small():
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_functions_are_small():
    lines = {f"{name_of(p)}: {f.name}": f.end_lineno - f.lineno + 1 for p in FILES for f in functions(tree_of(p))}
    assert {name: count for name, count in lines.items() if count > MOST_LINES_OF_A_FUNCTION} == {}


def test_the_trainer_only_trains():
    """The loop, when it evaluates and saves, and what it logs are three things."""
    tree = tree_of(PACKAGE / "training/trainer.py")
    (trainer,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert trainer.end_lineno - trainer.lineno < 160


def test_only_those_who_speak_print():
    """Output goes through the run log, so that one rank speaks and log.txt has all of it."""
    silent = [path for path in FILES if name_of(path) not in SPEAKERS]
    names = [(path, node) for path in silent for node in ast.walk(tree_of(path)) if isinstance(node, ast.Name)]
    assert [f"{name_of(path)}, line {node.lineno}" for path, node in names if node.id == "print"] == []


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


GLA_GCN_ROOMS = ("config/", "model/", "checkpoints/published/", "bench/reference/", "checkpoints/load.py")


def test_models_are_known_by_their_interface():
    """Only what is about GLA-GCN itself, such as the published files, names its class or asks for its parts."""
    parts = re.compile(
        r"LiftingNetwork|TemporalConv\b|(?<!config\.)model\.(adjacency|channels|graph|head_kind|sequence\b)"
    )
    others = [path for path in FILES if not name_of(path).startswith(GLA_GCN_ROOMS)]
    assert [name_of(path) for path in others if parts.search(path.read_text(encoding="utf-8"))] == []
