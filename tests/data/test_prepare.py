"""Preparation as users meet it: what is found, what is said, where the cache goes, and what is refused."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from glagcn.commands.prepare import prepare
from glagcn.data.cache import open_cache
from glagcn.data.dataset import PrepareFlags
from glagcn.data.datasets import get_dataset
from glagcn.data.mpi_inf_3dhp.dataset import valid_frames_line
from glagcn.data.mpi_inf_3dhp.facts import DEFAULT_CAMERAS, KNOWN_VALID_FRAMES, TRAIN_SEQUENCES
from glagcn.data.mpi_inf_3dhp.files import find_3dhp
from glagcn.errors import UserError
from tests.data import tiny_3dhp
from tests.prepared import prepared

FRAMES = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with both the release and the npz pair of the same poses."""
    root = tmp_path_factory.mktemp("data")
    tiny_3dhp.write_npz(tiny_3dhp.write_release(root, FRAMES), FRAMES)
    return root


@pytest.fixture
def release(data, tmp_path):
    """A copy of the release alone."""
    return shutil.copytree(data, tmp_path / "raw", ignore=shutil.ignore_patterns("*.npz"))


@pytest.fixture
def pair(data, tmp_path):
    """A copy of the npz pair alone."""
    return shutil.copytree(data, tmp_path / "npz", ignore=lambda _, names: [n for n in names if not n.endswith(".npz")])


def prepare_3dhp(out=None, **flags):
    """The path of the cache that `glagcn prepare 3dhp` writes."""
    return prepare("3dhp", PrepareFlags(**flags), out)


# ---------------------------------------------------------------- glagcn prepare


def test_what_the_cache_of_each_format_holds(release, pair, said, monkeypatch):
    from_raw, from_npz = open_cache(prepare_3dhp(raw=release)), open_cache(prepare_3dhp(npz=pair, annotation=None))
    assert (from_raw.path, from_npz.path) == (release / "3dhp_gt_univ.h5", pair / "3dhp_gt_univ.h5")
    assert from_raw.train.sequences == from_npz.train.sequences
    assert len(from_raw.train.valid) == 16 * 8 * FRAMES
    assert from_raw.test.activity is not None
    assert from_npz.test.activity is None
    assert any("no activities" in note for note in from_npz.notes)
    assert [cache.provenance["kind"] for cache in (from_raw, from_npz)] == ["official release", "npz"]
    assert valid_frames_line(from_raw.test) in said
    counts = tuple(int(from_raw.test.valid[from_raw.test.frames(row)].sum()) for row in range(6))
    monkeypatch.setitem(KNOWN_VALID_FRAMES, "some release", counts)
    assert valid_frames_line(from_raw.test) == f"valid test frames {'/'.join(map(str, counts))}: the some release"


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_a_bar_on_a_terminal_and_else_plain_lines(release, monkeypatch, capsys, said, terminal):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    monkeypatch.setattr("glagcn.progress.SECONDS_BETWEEN_LINES", 0.0)
    prepare_3dhp(raw=release)
    lines = [line for line in said if line.startswith("read ")]
    assert (f"/{FRAMES * 134 / 1000:.2f}k" in capsys.readouterr().err) == terminal
    assert len(lines) == (0 if terminal else 16 * 8 + 6)
    assert terminal or lines[-1] == f"read {FRAMES * 134} of {FRAMES * 134} frames, up to test TS6"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"annotation": "univ_annot3"}, "invalid --annotation univ_annot3: must be one of univ, annot3"),
        ({"cameras": (0, 14)}, "invalid --cameras 0,14: must be different numbers from 0 to 13"),
        ({"raw": Path("nowhere")}, "is not a folder"),
        ({"raw": None, "npz": Path()}, r"no npz pair in .*missing:\n.*data_train_3dhp\.npz\n.*data_test_3dhp\.npz"),
        ({"out": Path()}, r"--out .* is a folder"),
        ({"mark_missing": True}, "does not take --mark_missing"),
    ],
)
def test_wrong_flags(data, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        prepare_3dhp(**{"raw": data} | flags)
    assert list(tmp_path.iterdir()) == []


def test_all_missing_files_are_listed(release):
    (release / "S5/Seq1/annot.mat").unlink()
    shutil.rmtree(release / "mpi_inf_3dhp_test_set")
    with pytest.raises(UserError) as caught:
        prepare_3dhp(raw=release)
    lines = str(caught.value).splitlines()
    assert f"    {release / 'S5/Seq1/annot.mat'}" in lines
    assert sum("annot_data.mat" in line for line in lines) == 6
    assert sum("annot.mat" in line for line in lines) == 1


def test_a_part_of_the_release_is_read_where_its_subjects_are_named(release, said):
    for number in range(3, 9):
        shutil.rmtree(release / f"S{number}")
    with pytest.raises(UserError, match="missing:.*\n.*S3/Seq1(.|\n)*glagcn prepare 3dhp --raw DIR --subjects"):
        prepare_3dhp(raw=release)
    cache = open_cache(prepare_3dhp(raw=release, subjects=("S2", "S1")))
    assert list(dict.fromkeys(info.subject for info in cache.train.sequences)) == ["S1", "S2"]
    assert any("the training set is only S2, S1 of the 8 subjects" in line for line in said)
    assert "is only S1, S2 of the 8 subjects; results are not comparable" in get_dataset("3dhp").warning(cache)
    with pytest.raises(UserError, match="invalid --subjects S9: must be some of S1,S2,"):
        prepare_3dhp(raw=release, subjects=("S1", "S9"))


def test_other_cameras_do_not_replace_the_cache_of_the_usual_ones(pair, said):
    path = prepare_3dhp(npz=pair, cameras=(8, *DEFAULT_CAMERAS[:-1]))  # all, in another order
    assert path == pair / "3dhp_gt_univ.h5"
    assert not any("--cache_dir" in line for line in said)
    before = path.read_bytes()
    assert prepare_3dhp(npz=pair, cameras=(0, 2)) == pair / "3dhp_gt_univ_cam0-2.h5"
    assert path.read_bytes() == before
    assert "only if it is renamed to 3dhp_gt_univ.h5 in a folder of its own" in said[-1]


def test_what_was_read_is_said(release, monkeypatch, said):
    monkeypatch.setitem(TRAIN_SEQUENCES, "S8/Seq2", (5, 25))
    prepare_3dhp(raw=release)
    rows = {line.split()[0]: line.split() for line in said}
    assert rows["S1/Seq2"] == ["S1/Seq2", "1", "1", "12", "8", "0", "50", "2048x2048", "96"]
    assert rows["S8/Seq2"] == ["S8/Seq2", "1", "1", "5", "8", "7", "25", "2048x2048", "40"]
    assert rows["TS6"][:8] == ["TS6", "1", "1", "12", "1", "0", "25", "1920x1080"]
    assert any("note: the 3D is univ_annot3" in line for line in said)
    assert any("15 training sequences are shorter" in line and "185 frames per camera" in line for line in said)
    assert any(line.startswith("warning: valid test frames") for line in said)
    assert f"wrote {release / '3dhp_gt_univ.h5'}" in said[-2]
    assert said[-1] == f"Train with: glagcn train --dataset 3dhp --root_path {release}"


def test_the_ori_pair_is_annot3_unless_asked_otherwise_and_a_contradiction_is_a_warning(tmp_path, said):
    tiny_3dhp.write_npz(tmp_path, FRAMES, annotation="annot3", suffix="_ori")
    assert prepare_3dhp(npz=tmp_path, annotation=None).name == "3dhp_gt_annot3.h5"
    assert not any(line.startswith("warning: TS") for line in said)
    assert any("data_train_3dhp_ori.npz is read as annot3, from its name" in line for line in said)
    said.clear()
    assert prepare_3dhp(npz=tmp_path, annotation="univ").name == "3dhp_gt_univ.h5"
    assert any(line.startswith("warning: files named") and "usually contain annot3, not univ" in line for line in said)
    warnings = [line for line in said if line.startswith("warning: TS")]
    assert [line.split(", but")[0] for line in warnings] == [f"warning: TS{n} was read as univ" for n in (5, 6)]
    assert set(warnings) < set(open_cache(tmp_path / "3dhp_gt_univ.h5").notes)


KILLED = """
import os, signal, sys
from pathlib import Path
from glagcn.data.cache import write_cache
from glagcn.data.mocap.motion import demo_source
write_cache(Path(sys.argv[1]), demo_source(), lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_the_next_preparation_removes_what_a_killed_one_left(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "demo_gt.h5")])
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.glob(".demo_gt.h5.*.tmp")
    os.utime(left, (0, 0))  # as if it were long ago
    prepared("demo", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["demo_gt.h5"]


# ---------------------------------------------------------------- what training does


def test_the_release_wins_over_the_npz_unless_it_is_incomplete(data, release, pair):
    source = find_3dhp(data, "univ", DEFAULT_CAMERAS)
    assert source.provenance()["kind"] == "official release"
    assert any("data_train_3dhp.npz is not used" in note for note in source.notes)
    (release / "S1/Seq1/annot.mat").unlink()
    shutil.copytree(pair, release, dirs_exist_ok=True)
    source = find_3dhp(release, "univ", DEFAULT_CAMERAS)
    assert source.provenance()["kind"] == "npz"
    assert any("the official release is not used, because 1 of its files are missing" in note for note in source.notes)


def test_training_prepares_once_in_the_cache_folder_if_there_is_one(pair, tmp_path, said):
    elsewhere = tmp_path / "cache"
    path = prepared("3dhp", pair, cache_dir=str(elsewhere))
    assert path == elsewhere / "3dhp_gt_univ.h5"
    assert "3dhp_gt_univ.h5 does not exist yet: writing it" in said[0]
    assert list(pair.glob("*.h5")) == []
    shutil.copy(path, pair)
    said.clear()
    assert prepared("3dhp", pair, cache_dir=str(elsewhere)) == path
    path.unlink()
    assert prepared("3dhp", pair, cache_dir=str(elsewhere)) == prepared("3dhp", pair) == pair / "3dhp_gt_univ.h5"
    assert said == []


def test_the_other_pair_is_pointed_out_not_used(tmp_path):
    tiny_3dhp.write_npz(tmp_path, FRAMES, annotation="annot3", suffix="_ori")
    message = r"data_train_3dhp_ori\.npz exists; its name implies the annotation annot3\. Pass --annotation annot3"
    with pytest.raises(UserError, match=message):
        prepared("3dhp", tmp_path)
    path = prepared("3dhp", tmp_path, annotation="annot3")
    assert open_cache(path).annotation == "annot3"
