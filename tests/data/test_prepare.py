"""Preparation as users meet it: what is found, what is said, where the cache goes, and what is refused."""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from glagcn.data.cache import open_cache
from glagcn.data.dataset import PrepareFlags, take_table
from glagcn.data.datasets import get_dataset
from glagcn.data.mpi_inf_3dhp.dataset import (
    DEFAULT_CAMERAS,
    KNOWN_VALID_FRAMES,
    TRAIN_SEQUENCES,
    short_sequences_line,
    valid_frames_line,
)
from glagcn.data.mpi_inf_3dhp.files import find_3dhp
from glagcn.data.prepare import prepare
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
    shutil.copytree(data, tmp_path / "raw", ignore=shutil.ignore_patterns("*.npz"))
    return tmp_path / "raw"


@pytest.fixture
def pair(data, tmp_path):
    """A copy of the npz pair alone."""
    (tmp_path / "npz").mkdir()
    for file in data.glob("*.npz"):
        shutil.copy(file, tmp_path / "npz")
    return tmp_path / "npz"


def prepare_3dhp(out=None, **flags):
    """The path of the cache that `glagcn prepare 3dhp` writes."""
    return prepare("3dhp", PrepareFlags(**flags), out)[0]


# ---------------------------------------------------------------- glagcn prepare


def test_release_and_npz_give_the_same_cache(release, pair):
    from_raw = open_cache(prepare_3dhp(raw=release))
    from_npz = open_cache(prepare_3dhp(npz=pair, annotation=None))
    assert from_raw.path == release / "3dhp_gt_univ.h5"
    assert from_npz.path == pair / "3dhp_gt_univ.h5"
    for name in ("train", "test"):
        a, b = getattr(from_raw, name), getattr(from_npz, name)
        assert a.sequences == b.sequences
        np.testing.assert_array_equal(a.pixels, b.pixels)
        np.testing.assert_array_equal(a.millimetres, b.millimetres)
        np.testing.assert_array_equal(a.valid, b.valid)
    assert len(from_raw.train.valid) == 16 * 8 * FRAMES
    assert from_raw.test.activity is not None
    assert from_npz.test.activity is None
    assert any("no activities" in note for note in from_npz.notes)
    assert from_raw.provenance["kind"] == "official release"
    assert len(from_raw.provenance["files"]) == 22


def test_annotation_cameras_and_out(release, tmp_path):
    out = tmp_path / "new" / "folder" / "my.h5"
    path = prepare_3dhp(raw=release, annotation="annot3", cameras=(0, 3), out=out)
    cache = open_cache(path)
    assert path == out
    assert cache.annotation == "annot3"
    assert [info.camera for info in cache.train.sequences] == [0, 3] * 16
    frames = tiny_3dhp.scene("TS1", FRAMES, 0)
    np.testing.assert_array_equal(cache.test.millimetres[:FRAMES], frames["annot3"].astype(np.float32))


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
    assert said[-1].startswith("note: cameras 0,2 are not the default ones")
    assert "3dhp_gt_univ.h5" in said[-1]
    assert "--cameras" in said[-1]


def test_what_was_read_is_said(release, monkeypatch, said):
    monkeypatch.setitem(TRAIN_SEQUENCES, "S8/Seq2", (5, 25))
    prepare_3dhp(raw=release)
    rows = {line.split()[0]: line.split() for line in said}
    assert rows["S1/Seq2"] == ["S1/Seq2", "12", "8", "0", "50", "2048x2048", "96"]
    assert rows["S8/Seq2"] == ["S8/Seq2", "5", "8", "7", "25", "2048x2048", "40"]
    assert rows["TS6"][:6] == ["TS6", "12", "1", "0", "25", "1920x1080"]
    assert any("note: the 3D is univ_annot3" in line for line in said)
    assert any("15 training sequences are shorter" in line and "185 frames per camera" in line for line in said)
    assert any(line.startswith("warning: valid test frames") for line in said)
    assert f"wrote {release / '3dhp_gt_univ.h5'}" in said[-1]


def test_progress_is_a_plain_line_now_and_then(release, monkeypatch, said):
    monkeypatch.setattr("glagcn.progress.SECONDS_BETWEEN_LINES", 0.0)
    prepare_3dhp(raw=release)
    lines = [line for line in said if line.startswith("read ")]
    assert len(lines) == 16 * 8 + 6
    assert lines[-1] == f"read {FRAMES * 134} of {FRAMES * 134} frames, up to test TS6"


def test_progress_is_a_bar_on_a_terminal(release, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    prepare_3dhp(raw=release)
    assert f"/{FRAMES * 134 / 1000:.2f}k" in capsys.readouterr().err


def test_known_valid_counts_are_recognised(release):
    split = open_cache(prepare_3dhp(raw=release)).test
    assert valid_frames_line(split).startswith("warning")
    known = tuple(int(split.valid[k * FRAMES : (k + 1) * FRAMES].sum()) for k in range(6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KNOWN_VALID_FRAMES, "some release", known)
        assert valid_frames_line(split) == f"valid test frames {'/'.join(map(str, known))}: the some release"


def test_contradicting_data_warn_after_reading(tmp_path, said):
    tiny_3dhp.write_npz(tmp_path, FRAMES, annotation="annot3")
    cache = open_cache(prepare_3dhp(npz=tmp_path, annotation=None))
    warnings = [line for line in said if line.startswith("warning: TS")]
    assert len(warnings) == 2
    assert set(warnings) < set(cache.notes)


def test_the_ori_pair_is_annot3_unless_asked_otherwise(tmp_path, said):
    tiny_3dhp.write_npz(tmp_path, FRAMES, annotation="annot3", suffix="_ori")
    assert prepare_3dhp(npz=tmp_path, annotation=None).name == "3dhp_gt_annot3.h5"
    assert any("data_train_3dhp_ori.npz is read as annot3, from its name" in line for line in said)
    said.clear()
    assert prepare_3dhp(npz=tmp_path, annotation="univ").name == "3dhp_gt_univ.h5"
    assert any(line.startswith("warning: files named") and "usually contain annot3, not univ" in line for line in said)


@pytest.mark.parametrize("both", [True, False])
def test_raw_and_npz_are_exclusive(data, both):
    with pytest.raises(UserError, match=r"either --raw DIR .* or --npz DIR"):
        prepare_3dhp(raw=data if both else None, npz=data if both else None)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"annotation": "univ_annot3"}, "invalid --annotation univ_annot3: must be one of univ, annot3"),
        ({"cameras": (0, 14)}, "invalid --cameras 0,14: must be different numbers from 0 to 13"),
        ({"cameras": (1, 1)}, "--cameras 1,1"),
        ({"cameras": ()}, "--cameras"),
    ],
)
def test_wrong_flags(data, flags, message):
    with pytest.raises(UserError, match=message):
        prepare_3dhp(raw=data, **flags)


def test_folders_and_files_that_are_not_there(tmp_path, release):
    with pytest.raises(UserError, match="is not a folder"):
        prepare_3dhp(raw=tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no npz pair in .*missing:\n.*data_train_3dhp\.npz\n.*data_test_3dhp\.npz"):
        prepare_3dhp(npz=tmp_path)
    with pytest.raises(UserError, match=r"--out .* is a folder"):
        prepare_3dhp(raw=release, out=tmp_path)
    (release / "S5/Seq1/annot.mat").unlink()
    shutil.rmtree(release / "mpi_inf_3dhp_test_set")
    with pytest.raises(UserError) as caught:
        prepare_3dhp(raw=release)
    lines = str(caught.value).splitlines()
    assert f"    {release / 'S5/Seq1/annot.mat'}" in lines
    assert sum("annot_data.mat" in line for line in lines) == 6
    assert sum("annot.mat" in line for line in lines) == 1


def test_an_unwritable_place_names_the_flags(release, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--cache_dir \(training\) or --out \(glagcn prepare\)"):
        prepare_3dhp(raw=release, out=tmp_path / "file/a.h5")


def test_a_damaged_file_leaves_nothing_behind(release):
    views = tiny_3dhp.take("S8/Seq2", FRAMES, 0)
    views[5]["annot2"][2, 14] = np.nan
    tiny_3dhp.write_train_mat(release / "S8/Seq2/annot.mat", views)
    before = sorted(release.rglob("*"))
    with pytest.raises(UserError, match=r"S8/Seq2/annot\.mat: S8/Seq2/cam5: 2D is not finite in 1 of 12 frames"):
        prepare_3dhp(raw=release)
    assert sorted(release.rglob("*")) == before


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
    assert len(list(tmp_path.glob(".demo_gt.h5.*.tmp"))) == 1
    prepared("demo", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["demo_gt.h5"]


# ---------------------------------------------------------------- what training does


def test_the_release_wins_over_the_npz(data):
    source = find_3dhp(data, "univ", DEFAULT_CAMERAS)
    assert source.provenance()["kind"] == "official release"
    assert any("data_train_3dhp.npz is not used" in note for note in source.notes)


def test_an_incomplete_release_gives_way_to_a_complete_npz(data, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(data, root)
    (root / "S1/Seq1/annot.mat").unlink()
    source = find_3dhp(root, "univ", DEFAULT_CAMERAS)
    assert source.provenance()["kind"] == "npz"
    assert any("the official release is not used, because 1 of its files are missing" in note for note in source.notes)


def test_nothing_found_lists_what_was_looked_for_and_the_demo(tmp_path):
    with pytest.raises(UserError) as caught:
        prepared("3dhp", tmp_path)
    for part in (
        str(tmp_path), "3dhp_gt_univ.h5", "S1..S8/Seq1..Seq2/annot.mat", "TS1..TS6/annot_data.mat",
        "data_train_3dhp.npz and data_test_3dhp.npz", "https://", "--dataset demo",
    ):  # fmt: skip
        assert part in str(caught.value)


def test_the_other_pair_is_pointed_out_not_used(tmp_path):
    tiny_3dhp.write_npz(tmp_path, FRAMES, annotation="annot3", suffix="_ori")
    message = r"data_train_3dhp_ori\.npz exists; its name implies the annotation annot3\. Pass --annotation annot3"
    with pytest.raises(UserError, match=message):
        prepared("3dhp", tmp_path)
    path = prepared("3dhp", tmp_path, annotation="annot3")
    assert open_cache(path).annotation == "annot3"


def test_training_prepares_once_and_says_so(pair, said):
    path = prepared("3dhp", pair)
    assert path == pair / "3dhp_gt_univ.h5"
    assert "3dhp_gt_univ.h5 does not exist yet: writing it" in said[0]
    said.clear()
    stamp = path.stat().st_mtime_ns
    assert prepared("3dhp", pair) == path
    assert path.stat().st_mtime_ns == stamp
    assert said == []


def test_cache_dir_comes_first(pair, tmp_path):
    elsewhere = tmp_path / "cache"
    path = prepared("3dhp", pair, cache_dir=str(elsewhere))
    assert path == elsewhere / "3dhp_gt_univ.h5"
    assert list(pair.glob("*.h5")) == []
    shutil.copy(path, pair)
    assert prepared("3dhp", pair, cache_dir=str(elsewhere)) == path
    path.unlink()
    assert prepared("3dhp", pair, cache_dir=str(elsewhere)) == pair / "3dhp_gt_univ.h5"


def test_demo_data_are_made(tmp_path):
    path = prepared("demo", tmp_path / "not" / "yet")
    assert path == tmp_path / "not" / "yet" / "demo_gt.h5"
    assert open_cache(path).dataset == "demo"


def test_unknown_data_sets_and_2d_sources(tmp_path):
    with pytest.raises(UserError, match="unknown data set 'h37m': must be one of h36m, humaneva15, 3dhp, mocap, demo"):
        prepared("h37m", tmp_path)
    with pytest.raises(UserError, match="invalid --keypoints cpn: must be one of gt for --dataset 3dhp"):
        prepared("3dhp", tmp_path, keypoints="cpn")


def test_the_table_has_one_row_per_take_and_a_total(release):
    split = open_cache(prepare_3dhp(raw=release)).train
    lines = take_table(split, {}).text().splitlines()
    assert len(lines) == 1 + 16 + 1
    assert len({len(line) for line in lines}) == 1
    assert lines[-1].split() == ["all", "views", str(len(split.valid)), str(len(split.valid))]


@pytest.mark.parametrize(
    ("short", "words"),
    [
        (["S1/Seq1"], "1 training sequence is shorter than the official length (S1/Seq1): "),
        (
            ["S1/Seq1", "S1/Seq2", "S2/Seq1"],
            "3 training sequences are shorter than the official length (S1/Seq1, S1/Seq2, S2/Seq1): ",
        ),
        (["S1/Seq1", "S1/Seq2", "S2/Seq1", "S8/Seq2"], "(S1/Seq1, S1/Seq2, S2/Seq1, ...): "),
    ],
)
def test_short_sequences_are_named(release, monkeypatch, short, words):
    for name, (frames, fps) in TRAIN_SEQUENCES.items():
        monkeypatch.setitem(TRAIN_SEQUENCES, name, (frames if name in short else FRAMES, fps))
    assert words in short_sequences_line(open_cache(prepare_3dhp(raw=release)).train)


def test_sequences_of_official_length_are_not_called_short(release, monkeypatch):
    for name, (_, fps) in TRAIN_SEQUENCES.items():
        monkeypatch.setitem(TRAIN_SEQUENCES, name, (FRAMES, fps))
    assert short_sequences_line(open_cache(prepare_3dhp(raw=release)).train) is None
