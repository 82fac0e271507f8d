"""What all tests share: one thread, the demo cache, a tiny trained run, and the commands."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from glagcn import cli
from glagcn.checkpoints.exports import export_safetensors
from glagcn.checkpoints.find import SHIPPED
from tests.checkpoints.exported_models import a_checkpoint, a_model
from tests.command_line import TINY, Ended, call, messages
from tests.prepared import prepared


def pytest_configure(config):
    """Tests are of the CPU, with as many processes as they like; those of GPUs are asked for with `-m cuda`."""
    wanted = config.option.markexpr
    if "cuda" not in wanted or "not cuda" in wanted:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def one_thread():
    """The models in tests are so small that threads would mostly wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The messages of the program during the test."""
    with messages() as texts:
        yield texts


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory) -> Path:
    """A folder with the demo cache; not to be changed."""
    root = tmp_path_factory.mktemp("demo")
    prepared("demo", root)
    return root


@pytest.fixture(scope="session")
def trained(demo_root, tmp_path_factory) -> Path:
    """The run folder of a tiny run on demo data with windows of 9 frames; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    flags = f"--dataset demo --root_path {demo_root} -c {folder} --run r {TINY} --frames 9"
    assert cli.train_main(flags.split()) == 0
    return folder / "r"


@pytest.fixture
def finished(trained, tmp_path) -> Path:
    """A copy of this run in tmp_path/runs/r, which `demo("--run r --frames 9")` goes on with."""
    return shutil.copytree(trained, tmp_path / "runs/r")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory) -> Path:
    """A folder with a model of 9 frames that knows nothing, for every name of a model that comes with the program."""
    folder = tmp_path_factory.mktemp("models")
    for name in SHIPPED:
        path = a_checkpoint(folder / "best.pt", a_model(causal=name == "causal", input="xyc"))
        export_safetensors([path], folder / f"{name}.safetensors", half=True)
    return folder


@pytest.fixture
def shipped(tiny_models, tmp_path_factory, monkeypatch) -> Path:
    """The folder of the models that come with the program, with tiny ones."""
    folder = shutil.copytree(tiny_models, tmp_path_factory.mktemp("shipped") / "models")
    monkeypatch.setattr("glagcn.checkpoints.find.MODELS", folder)
    return folder


@pytest.fixture
def train(capsys) -> Callable[[str], Ended]:
    """train("--dataset demo ..."): main_sagcn_gpus.py with these flags."""
    return lambda flags: call(cli.train_main, flags, capsys)


@pytest.fixture
def verb(capsys) -> Callable[[str], Ended]:
    """verb("prepare 3dhp ..."): glagcn with these arguments."""
    return lambda arguments: call(cli.main, arguments, capsys)


@pytest.fixture
def demo(train, demo_root, tmp_path) -> Callable[..., Ended]:
    """demo("--run r"): a tiny run on demo data with run folders in tmp_path/runs."""
    return lambda flags="": train(f"--dataset demo --root_path {demo_root} -c {tmp_path}/runs {TINY} {flags}")
