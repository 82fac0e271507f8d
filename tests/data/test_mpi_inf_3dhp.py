"""The published formats: what is read equals what the files hold, and every wrong file says what is wrong."""

import h5py
import numpy as np
import pytest
import scipy.io

from glagcn.data.mpi_inf_3dhp import facts
from glagcn.data.mpi_inf_3dhp.facts import DEFAULT_CAMERAS, TRAIN_SEQUENCES
from glagcn.data.mpi_inf_3dhp.files import NpzPair, RawRelease, annotation_warning, projection_error
from glagcn.errors import UserError
from tests.data import tiny_3dhp

FRAMES = 12


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return tiny_3dhp.write_release(tmp_path_factory.mktemp("release"), FRAMES)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return tiny_3dhp.write_npz(tmp_path_factory.mktemp("npz"), FRAMES)


def raw(root, annotation="univ", cameras=DEFAULT_CAMERAS):
    return RawRelease(root, annotation, cameras)


def npz(root, annotation=None, cameras=DEFAULT_CAMERAS, named="univ"):
    return NpzPair(root, named, annotation, cameras)


def read_all(source):
    return [*source.read("train"), *source.read("test")]


@pytest.fixture
def one_train(tmp_path, monkeypatch):
    """A function that writes a release of one training sequence with changes, and reads it."""
    monkeypatch.setattr("glagcn.data.mpi_inf_3dhp.facts.TRAIN_SEQUENCES", {"S1/Seq1": (10, 25)})

    def read(edit=None, **changes):
        views = tiny_3dhp.take("S1/Seq1", FRAMES, 0)
        if edit:
            edit(views)
        tiny_3dhp.write_train_mat(tmp_path / "S1/Seq1/annot.mat", views, **changes)
        source = raw(tmp_path)
        return source, list(source.read("train"))

    return read


@pytest.fixture
def one_test(tmp_path, monkeypatch):
    """The same for one test sequence."""
    monkeypatch.setattr("glagcn.data.mpi_inf_3dhp.facts.TEST_SEQUENCES", ("TS6",))

    def read(frames=FRAMES, **changes):
        tiny_3dhp.write_test_mat(tmp_path / "TS6/annot_data.mat", tiny_3dhp.scene("TS6", frames, 0), **changes)
        source = raw(tmp_path)
        assert source.infos("test")[0].length == frames
        return next(source.read("test"))

    return read


def equal(found, expected, *names):
    for name in names or ("pixels", "millimetres", "valid"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


# ---------------------------------------------------------------- right files


def test_official_table_adds_up():
    assert sum(frames for frames, _ in TRAIN_SEQUENCES.values()) == 131_592
    assert {name: fps for name, (_, fps) in TRAIN_SEQUENCES.items()} == tiny_3dhp.FPS
    assert [sum(counts) for counts in facts.KNOWN_VALID_FRAMES.values()] == [2929, 2875]


@pytest.mark.parametrize("annotation", ["univ", "annot3"])
def test_training_values_are_those_of_the_mat_file(release, annotation):
    variable = {"univ": "univ_annot3", "annot3": "annot3"}[annotation]
    sequences = {s.info.name: s for s in raw(release, annotation).read("train")}
    assert len(sequences) == 16 * 8
    cells = scipy.io.loadmat(release / "S3/Seq2/annot.mat")
    sequence = sequences["S3/Seq2/cam7"]
    for channels, key, found in ((2, "annot2", sequence.pixels), (3, variable, sequence.millimetres)):
        for position, joint in enumerate(tiny_3dhp.SELECTED):
            columns = cells[key][7][0][:, joint * channels : (joint + 1) * channels]
            np.testing.assert_array_equal(found[:, position], columns.astype(np.float32))
        assert found.dtype == np.float32
    info = sequence.info
    assert (info.subject, info.camera, info.length, info.fps) == ("S3", 7, FRAMES, 50.0)
    assert (info.width, info.height) == (2048, 2048)
    assert sequence.valid.all()
    assert sequence.activity is None


def test_test_values_are_those_of_the_mat_file(release):
    for sequence in raw(release).read("test"):
        with h5py.File(release / "mpi_inf_3dhp_test_set" / sequence.info.name / "annot_data.mat") as file:
            np.testing.assert_array_equal(sequence.pixels, file["annot2"][:, 0].astype(np.float32))
            np.testing.assert_array_equal(sequence.millimetres, file["univ_annot3"][:, 0].astype(np.float32))
            np.testing.assert_array_equal(sequence.valid, file["valid_frame"][:, 0] == 1)
            np.testing.assert_array_equal(sequence.activity, file["activity_annotation"][:, 0])
        size = (1920, 1080) if sequence.info.name in ("TS5", "TS6") else (2048, 2048)
        assert (sequence.info.width, sequence.info.height) == size
        assert (sequence.info.subject, sequence.info.camera) == (sequence.info.name, -1)


@pytest.mark.parametrize("frames", [1, FRAMES])
def test_a_test_file_saved_again_as_v5_is_the_same(one_test, tmp_path, frames):
    """MATLAB's order of axes; it leaves out the last ones of size 1, here the frames."""
    sequence = one_test(frames)
    path = tmp_path / "TS6/annot_data.mat"
    with h5py.File(path) as file:
        variables = {name: values[()].T for name, values in file.items()}
    if frames == 1:
        variables["annot2"] = variables["annot2"][:, :, 0, 0]
    scipy.io.savemat(path, variables)
    assert raw(tmp_path).infos("test")[0].length == frames
    equal(next(raw(tmp_path).read("test")), sequence, "pixels", "millimetres", "valid", "activity")


def test_a_training_file_saved_again_as_7_3_is_the_same(one_train, tmp_path):
    """There a cell array is an array of references to its cells, in reversed axes."""
    _, sequences = one_train()
    path = tmp_path / "S1/Seq1/annot.mat"
    variables = {name: values for name, values in scipy.io.loadmat(path).items() if not name.startswith("__")}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in variables.items():
            if values.dtype != object:
                file[name] = values.T
                continue
            cells = file.create_dataset(name, values.T.shape, h5py.ref_dtype)
            for camera, cell in enumerate(values.ravel()):
                file[f"#refs#/{name}{camera}"] = cell.T
                cells[0, camera] = file[f"#refs#/{name}{camera}"].ref
    for again, sequence in zip(raw(tmp_path).read("train"), sequences, strict=True):
        assert again.info == sequence.info
        equal(again, sequence)


@pytest.mark.parametrize(("annotation", "suffix"), [("univ", ""), ("annot3", "_ori")])
def test_the_npz_gives_the_arrays_of_the_release(release, tmp_path, annotation, suffix):
    variable = facts.ANNOTATION_VARIABLES[annotation]
    tiny_3dhp.write_npz(tmp_path, FRAMES, annotation=variable, suffix=suffix)
    source = npz(tmp_path, named=annotation)
    assert source.annotation == annotation
    from_npz, from_raw = read_all(source), read_all(raw(release, annotation))
    assert [s.info for s in from_npz] == [s.info for s in from_raw]
    for a, b in zip(from_npz, from_raw, strict=True):
        equal(a, b)
        assert a.activity is None
    assert not [n for n in source.notes if n.startswith("warning") and "not those of a body" not in n]


def test_sequences_are_as_announced_and_cameras_are_chosen(release, pair):
    for source in (raw(release, cameras=(2, 0)), npz(pair, cameras=(2, 0))):
        for split in ("train", "test"):
            announced = source.infos(split)
            assert announced == [sequence.info for sequence in source.read(split)]
        assert [info.camera for info in source.infos("train")] == [2, 0] * 16
        provenance = source.provenance()
        assert provenance["cameras"] == [2, 0]
        paths = [file["path"] for file in provenance["files"]]
        assert paths[:2] + paths[16:17] in (
            ["S1/Seq1/annot.mat", "S1/Seq2/annot.mat", "mpi_inf_3dhp_test_set/TS1/annot_data.mat"],
            ["data_train_3dhp.npz", "data_test_3dhp.npz"],
        )
        assert len({file["sha256"] for file in provenance["files"]}) == len(paths) in (2, 22)


def test_frames_beyond_the_official_length_are_cut_and_counted(release, pair, monkeypatch):
    whole = [s for s in npz(pair).read("train") if s.info.name.startswith("S8/Seq2")]
    monkeypatch.setitem(TRAIN_SEQUENCES, "S8/Seq2", (5, 25))
    for source in (raw(release), npz(pair)):
        cut = [s for s in source.read("train") if s.info.name.startswith("S8/Seq2")]
        assert source.provenance()["cut_frames"] == {"S8/Seq2": FRAMES - 5}
        for some, every in zip(cut, whole, strict=True):
            assert some.info.length == len(some.valid) == 5
            np.testing.assert_array_equal(some.pixels, every.pixels[:5])
            np.testing.assert_array_equal(some.millimetres, every.millimetres[:5])


def test_rows_beyond_those_that_frames_counts_are_cut_and_noted(one_train):
    note = "S1/Seq1: matrices of 12 rows; only the first 8, listed in `frames`, are used"
    source, sequences = one_train(frames=np.arange(8)[:, None])
    assert {len(s.pixels) for s in sequences} == {len(s.millimetres) for s in sequences} == {8}
    assert source.notes.count(note) == 1
    assert not any("rows" in note for note in one_train()[0].notes)


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_3d_of_unscored_frames_may_be_anything(one_test, tmp_path, fill):
    arrays = tiny_3dhp.scene("TS6", FRAMES, 0)
    unscored = np.ones(FRAMES, dtype=bool)
    unscored[2:5] = False  # so few that they are not the median
    filled = np.where(unscored[:, None, None], fill, arrays["annot3"])
    sequence = one_test(univ_annot3=filled, valid_frame=1.0 - unscored)
    np.testing.assert_array_equal(sequence.millimetres, filled.astype(np.float32))
    source = raw(tmp_path)
    list(source.read("test"))
    assert any("TS6: the 3D is not finite in 9 unscored frames" in note for note in source.notes) == np.isnan(fill)
    assert any(note.startswith("warning: TS6 was read as univ") for note in source.notes)  # by the scored frames
    with pytest.raises(UserError, match="2D is not finite in 9 of 12 frames"):  # 2D is context, scored or not
        one_test(annot2=np.where(unscored[:, None, None], np.nan, arrays["annot2"]), valid_frame=1.0 - unscored)
    if np.isnan(fill):
        with pytest.raises(UserError, match="3D is not finite in 9 of 12 frames"):  # none is scored: all are checked
            one_test(univ_annot3=filled, valid_frame=np.zeros(FRAMES))


def test_2d_may_be_outside_the_image_and_far_outside_in_unscored_frames(one_test):
    pixels = tiny_3dhp.scene("TS6", FRAMES, 0)["annot2"]
    pixels[5, 3], pixels[6, 3] = 100_000, -3000
    scored = np.arange(FRAMES) != 5
    assert one_test(annot2=pixels, valid_frame=scored * 1.0).pixels[5:7, 3, 0].tolist() == [100_000, -3000]
    with pytest.raises(UserError, match=r"TS6: 2D coordinate x of joint 3 of 17 in frame 5 .* at most 19200 px"):
        one_test(annot2=pixels, valid_frame=np.ones(FRAMES))
    pixels[5, 3] = 1e30
    with pytest.raises(UserError, match=r"2D coordinate x of joint 3 .* is 1e\+30 px; .* at most 1.92e\+06 px"):
        one_test(annot2=pixels, valid_frame=scored * 1.0)


@pytest.mark.parametrize(
    ("base", "folder"),
    [("mpi_inf_3dhp", "mpi_inf_3dhp_test_set"), (".", "mpi_inf_3dhp_test_set/mpi_inf_3dhp_test_set"), (".", ".")],
)
def test_the_usual_nestings_are_found(tmp_path, base, folder):
    train = [tmp_path / base / name / "annot.mat" for name in tiny_3dhp.TRAIN_NAMES]
    for path in (*train, *(tmp_path / base / folder / name / "annot_data.mat" for name in tiny_3dhp.TEST_NAMES)):
        path.parent.mkdir(parents=True)
        path.touch()
    assert raw(tmp_path).missing == []
    (tmp_path / base / "S4/Seq2/annot.mat").unlink()
    assert raw(tmp_path).missing == [tmp_path / "S4/Seq2/annot.mat"]


def test_only_annot3_projects_onto_its_2d(release):
    for annotation, other in (("univ", "annot3"), ("annot3", "univ")):
        sequence = next(raw(release, annotation).read("test"))
        pixels, poses = sequence.pixels, sequence.millimetres
        assert (projection_error(pixels, poses) < 0.01) == (annotation == "annot3")
        assert annotation_warning("TS1", annotation, pixels, poses) is None
        assert f"pass --annotation {annotation}" in annotation_warning("TS1", other, pixels, poses)
        relative = poses - poses[:, 14:15]
        assert projection_error(pixels, relative) is annotation_warning("TS1", other, pixels, relative) is None


def test_an_npz_may_have_numbers_for_cameras(pair, tmp_path):
    train, _ = tiny_3dhp.npz_content(FRAMES)
    for take in train.values():
        take[0] = {int(camera): view for camera, view in take[0].items()}
    tiny_3dhp.save_npz(tmp_path / "data_train_3dhp.npz", train)
    for found, expected in zip(npz(tmp_path).read("train"), npz(pair).read("train"), strict=True):
        assert found.info == expected.info
        equal(found, expected)


# ---------------------------------------------------------------- wrong files


def edit(name, change, cameras=slice(None)):
    """A function that replaces an array of views by change(array)."""

    def edited(views):
        for arrays in views[cameras]:
            arrays[name] = change(arrays[name].copy())

    return edited


def put(place, value):
    """A function that sets a place of an array, which it returns."""

    def change(array):
        array[place] = value
        return array

    return change


def relative_to_the_pelvis(poses):
    return np.where(np.arange(28)[:, None] == tiny_3dhp.PELVIS, poses, poses - poses[:, [tiny_3dhp.PELVIS]])


def cells(shape, rows=FRAMES):
    """A cell array of matrices of 28 joints."""
    filled = np.empty(shape, dtype=object)
    for place in np.ndindex(shape):
        filled[place] = np.full((rows, 56), 500.0)
    return filled


TWO, FOUR = slice(2, 3), slice(4, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("univ_annot3", put((3, [7, 5]), np.nan), FOUR),
         r"S1/Seq1/cam4: 3D is not finite in 1 of 10 frames, first in frame 3 \(2 of 17 joints\)"),
        (edit("univ_annot3", lambda a: a / 1000), r"median distance of the joints from the pelvis is .*metres"),
        (edit("univ_annot3", lambda a: a / 10), r"from the pelvis is .*centimetres; multiply it by 10\."),
        (edit("univ_annot3", relative_to_the_pelvis), r"The pelvis is absolute but the other joints are relative"),
        (edit("annot2", lambda a: a / 1024 - 1), r"cam0: the largest 2D coordinate is .*normalised; expected pixels"),
        (edit("univ_annot3", put((3, tiny_3dhp.PELVIS, 2), 100_100), FOUR),
         r"cam4: 3D coordinate z of joint 14 of 17 in frame 3 \(both counted from 0\) is 1\.001e\+05 mm"),
        (edit("annot2", put((9, tiny_3dhp.SELECTED[0], 1), -20_500), TWO),
         r"cam2: 2D coordinate y of joint 0 of 17 in frame 9 .* is -2\.05e\+04 px; .* 20480 px from 0"),
        (edit("annot2", lambda a: a[:, :17]), r"annot2 of camera 0: found \(12, 34\), expected \(12, 56\)"),
        ({"univ_annot3": None}, "no variable univ_annot3; found annot2, annot3, .*frames"),
        ({"annot2": np.zeros((14, 1))}, "annot2 of camera 0: found no matrix"),
        ({"annot2": cells((14, 2))}, r"annot2 has 28 cells, shape \(14, 2\); expected one for each of the 14"),
        ({"annot2": cells((14, 1), FRAMES + 1)}, "13 frames of 2D but 12 frames of 3D"),
    ],
)  # fmt: skip
def test_wrong_training_files(one_train, change, message):
    with pytest.raises(UserError, match=message) as caught:
        one_train(**change) if isinstance(change, dict) else one_train(change)
    assert "annot.mat" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"valid_frame": None}, "no variable valid_frame; found activity_annotation, annot2, annot3, univ_annot3"),
        ({"valid_frame": np.full(FRAMES, 2)}, "valid-frame table contains 2.0; expected 0 or 1"),
        ({"valid_frame": np.ones(FRAMES - 1)}, r"valid-frame table has shape \(11, 1\).*expected 12 numbers"),
        ({"activity_annotation": np.full(FRAMES, 8)}, "activity of frame 0 is 8.0; expected a whole number 1..7"),
        ({"annot2": np.zeros((FRAMES, 28, 2))}, r"annot2 has shape \(12, 1, 28, 2\).*expected \(frames, 1, 17, 2\)"),
        ({"univ_annot3": np.zeros((FRAMES - 1, 17, 3))}, "12 frames of 2D but 11 frames of 3D"),
        ({"univ_annot3": np.full((FRAMES, 17, 3), np.nan)}, r"3D is not finite in 7 of 7 scored.*\(17 of 17 joints"),
    ],
)
def test_wrong_test_files(one_test, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        one_test(**changes)
    assert "TS6/annot_data.mat" in str(caught.value)


def test_a_count_of_frames_that_no_recording_has_is_refused_before_they_are_read(one_test, tmp_path):
    one_test()
    with h5py.File(tmp_path / "TS6/annot_data.mat", "r+") as file:
        del file["annot2"]
        file.create_dataset("annot2", (10**9, 1, 17, 2), "f8", chunks=(1000, 1, 17, 2))
    with pytest.raises(UserError, match=r"TS6/annot_data\.mat: annot2: 1000000000 frames; expected 1 to 1000000"):
        raw(tmp_path).infos("test")


def test_truncated_and_exchanged_mat_files(one_train, one_test, tmp_path):
    one_train(), one_test()
    train, test = tmp_path / "S1/Seq1/annot.mat", tmp_path / "TS6/annot_data.mat"
    for path, split in ((train, "train"), (test, "test")):
        content = path.read_bytes()
        for share in (0.02, 0.5, 0.95):
            path.write_bytes(content[: int(len(content) * share)])
            with pytest.raises(UserError, match=rf"{path.name}.*get it again"):
                list(raw(tmp_path).read(split))
        path.write_bytes(content)
    train.rename(tmp_path / "kept")
    test.rename(train)
    (tmp_path / "kept").rename(test)
    with pytest.raises(UserError, match=r"expected the annot\.mat of a training sequence"):
        raw(tmp_path).infos("train")
    with pytest.raises(UserError, match="no variable activity_annotation, valid_frame; found .*mpi_inf_3dhp_test_set"):
        raw(tmp_path).infos("test")


def view_5(**changes):
    """A change of camera 5 of "S2 Seq1"; None: without the array."""

    def change(train):
        view = train["S2 Seq1"][0]["5"]
        view.update(changes)
        train["S2 Seq1"][0]["5"] = {name: array for name, array in view.items() if array is not None}

    return change


@pytest.mark.parametrize(
    ("split", "change", "message"),
    [
        ("train", lambda d: d.clear(), r"data_train_3dhp\.npz: expected the sequences .*; missing: S1 Seq1, .*--raw"),
        ("train", lambda d: d.update({("S9", "Seq1"): 1}), r"missing: none; unknown: \('S9', 'Seq1'\). Get a complete"),
        ("train", lambda d: "text", "expected a dict of sequences .*found str"),
        ("train", lambda d: tiny_3dhp.npz_content(FRAMES)[1], "unknown: TS1, .*the train and the test file exchanged"),
        ("train", lambda d: d.update({"S2 Seq1": {"0": 1}}), r"expected the list \[cameras, fps\], found dict"),
        ("train", lambda d: d["S2 Seq1"][0].pop("5") and None, r"S2 Seq1: no camera 5; found 0, 1, 2, 4, 6, 7, 8"),
        ("train", view_5(data_3d=None), "S2 Seq1 camera 5: no data_3d; found data_2d"),
        ("train", lambda d: d["S2 Seq1"][0].update({"5": 3}), "camera 5: expected a dict with data_2d, data_3d"),
        ("train", view_5(data_2d=3), "data_2d must be an array of frames; found int"),
        ("train", view_5(data_3d=np.ones((FRAMES, 16, 3))), r"shape \(12, 16, 3\); expected"),
        ("test", lambda d: d["TS2"].pop("valid") is None, "TS2: no valid; found data_2d, data_3d"),
        ("test", lambda d: d["TS2"].update(valid=np.full(FRAMES, 0.5)), "TS2: the valid-frame table contains 0.5"),
    ],
)
def test_wrong_npz_files(tmp_path, split, change, message):
    content = dict(zip(("train", "test"), tiny_3dhp.npz_content(FRAMES), strict=True))
    content[split] = change(content[split]) or content[split]
    tiny_3dhp.save_npz(tmp_path / f"data_{split}_3dhp.npz", content[split])
    with pytest.raises(UserError, match=message) as caught:
        list(npz(tmp_path).read(split))
    assert f"data_{split}_3dhp.npz" in str(caught.value)
