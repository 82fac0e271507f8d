"""What bad input gets from the commands: exit code 2, one message that says what to do, and nothing half-written.

Here published files, caches, flags and folders; test_bad_checkpoints.py has the checkpoints.
"""

import shutil

import h5py
import pytest

from tests.command_line import TINY, assert_refused, listing
from tests.data import tiny_3dhp
from tests.launched.conftest import REPOSITORY, assert_is_last, launch

FRAMES = 5


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """{"raw": the official release, "npz": the npz pair}, tiny and without faults."""
    root = tmp_path_factory.mktemp("published")
    return {"raw": tiny_3dhp.write_release(root / "raw", FRAMES), "npz": tiny_3dhp.write_npz(root / "npz", FRAMES)}


# ---------------------------------------------------------------- the published files


MAT, TEST = "S1/Seq2/annot.mat", "data_test_3dhp.npz"
PAGE = "<html>404 Not Found</html>\n"
# (format, damage, what the message must have); tests/data has every other kind of damage, as the readers see it
DAMAGES = {
    "raw missing": ("raw", lambda folder: (folder / MAT).unlink(), (MAT, "missing", "vcai.mpi-inf")),
    "npz is a web page": ("npz", lambda folder: (folder / TEST).write_text(PAGE), (TEST, "not an npz", "get it again")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files(published, tmp_path, train, verb, damage):
    kind, spoil, parts = DAMAGES[damage]
    root = shutil.copytree(published[kind], tmp_path / "root")
    spoil(root)
    before = listing(tmp_path)
    assert_refused(verb(f"prepare 3dhp --{kind} {root}"), *parts)
    if kind == "npz":  # which is copied and read in no time
        assert_refused(train(f"--dataset 3dhp --root_path {root} -c {tmp_path}/runs {TINY}"), *parts)
    assert listing(tmp_path) == before  # no cache, no run folder, no temporary file


def test_nothing_found_says_what_where_how_and_the_demo(tmp_path, train):
    ended = train(f"--dataset 3dhp --root_path {tmp_path}/empty -c {tmp_path}/runs")
    assert_refused(
        ended, f"below {tmp_path}/empty", r"3dhp_gt_univ\.h5", r"S1\.\.S8/Seq1\.\.Seq2/annot\.mat",
        r"TS1\.\.TS6/annot_data\.mat", "data_train_3dhp.npz and data_test_3dhp.npz", "https://vcai.mpi-inf.mpg.de",
        "github.com/paTRICK-swk/P-STMO", "glagcn train --dataset demo",
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- the cache


def _flip_a_bit(path):
    with h5py.File(path) as file:
        place = file["train/millimetres"].id.get_offset() + 4321
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("command", ["training", "evaluation"])
def test_a_bad_cache(demo_root, trained, tmp_path, train, command):
    root = shutil.copytree(demo_root, tmp_path / "root")
    _flip_a_bit(root / "demo_gt.h5")
    before = listing(tmp_path)
    checked = f"--evaluate {trained}/best.pt --output {tmp_path}/results" if command == "evaluation" else ""
    ended = train(f"--dataset demo --root_path {root} -c {tmp_path}/runs {TINY} --frames 9 {checked}")
    assert_refused(ended, r"demo_gt\.h5", "the checksum of train/millimetres does not match", "glagcn prepare")
    assert listing(tmp_path) == before


def test_a_cache_under_the_name_of_another(demo_root, tmp_path, train):
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(demo_root / "demo_gt.h5", root / "3dhp_gt_univ.h5")
    before = listing(tmp_path)
    ended = train(f"--dataset 3dhp --root_path {root} -c {tmp_path}/runs {TINY}")
    assert_refused(ended, "root/3dhp_gt_univ.h5 contains the data of demo_gt.h5, but 3dhp_gt_univ.h5 is needed")
    assert listing(tmp_path) == before


# ---------------------------------------------------------------- flags and folders


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ("--cameras 9", ("--cameras", "9", "0, 1, 2, 3")),
        ("--cameras front", ("--cameras", "front")),
        ("--subjects_train S1,Anna", ("--subjects-train Anna", "S1, S2")),
        ("--run a/b", ("--run a/b", "-c")),
    ],
)  # fmt: skip
def test_flags_that_cannot_work(demo, tmp_path, flags, parts):
    assert_refused(demo(flags), *parts)
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_that_cannot_be_written(demo, demo_root, train, tmp_path):
    (tmp_path / "runs").write_text("a file where the parent folder should be")
    assert_refused(demo("--run r"), f"cannot write {tmp_path}/runs .File exists.; .* -c DIR")
    assert (tmp_path / "runs").read_text().startswith("a file")


def test_results_that_cannot_be_written(demo, trained, tmp_path):
    (tmp_path / "file").write_text("")
    before = listing(tmp_path)
    ended = demo(f"--frames 9 --evaluate {trained}/best.pt --output {tmp_path}/file/results")
    assert_refused(ended, "file/results", "folder")
    assert_refused(demo(f"--run r --output {tmp_path}/file/results"), "file/results", "--output")
    assert listing(tmp_path) == before


def test_a_cache_that_cannot_be_written(train, tmp_path):
    (tmp_path / "file").write_text("")
    ended = train(f"--dataset demo --root_path {tmp_path}/file/data -c {tmp_path}/runs {TINY}")
    assert_refused(ended, "file/data/demo_gt.h5", "--cache_dir")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ---------------------------------------------------------------- on every rank


@pytest.mark.launched
def test_a_bad_cache_ends_every_process_and_is_the_last_word_of_accelerate_launch(demo_root, tmp_path):
    root = shutil.copytree(demo_root, tmp_path / "root")
    _flip_a_bit(root / "demo_gt.h5")
    before = listing(tmp_path)
    flags = f"--dataset demo --root_path {root} -c {tmp_path}/runs {TINY}".split()
    config, script = REPOSITORY / "launch/accelerate/cpu_debug.yaml", REPOSITORY / "main_sagcn_gpus.py"
    ended = launch(["accelerate", "launch", "--config_file", str(config), str(script), *flags], tmp_path)
    assert ended.code != 0
    assert ended.messages.count("error: the cache") == 1  # of two processes
    assert_is_last(ended.err, "error: the cache .*")
    assert listing(tmp_path) == before
