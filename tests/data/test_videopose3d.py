"""VideoPose3D's files: what is read is what they hold, seen by the cameras; and every wrong file says what is wrong."""

import numpy as np
import pytest

from glagcn.commands.prepare import prepare
from glagcn.data.cache import open_cache, write_cache
from glagcn.data.dataset import PrepareFlags
from glagcn.data.videopose3d.cameras import cameras_of, project
from glagcn.data.videopose3d.files import VideoPose3DFiles
from glagcn.errors import UserError
from tests.data import tiny_videopose3d
from tests.data.test_cameras import to_world
from tests.data.tiny_videopose3d import H36M_KEPT, H36M_SUBJECTS, HUMANEVA_SUBJECTS
from tests.prepared import prepared

FRAMES = 24
H36M_NAMES = ("Directions 1", "Walking", "Walking 1")
HUMANEVA_NAMES = ("Jog 1 chunk0", "Jog 1 chunk2", "Walking 1 chunk0", "Walking 1 chunk2")
CPN, COCO = "cpn_ft_h36m_dbb", "detectron_pt_coco"
COCO_SIDES = tiny_videopose3d.COCO_METADATA["keypoints_symmetry"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with the files of both data sets; not to be changed."""
    root = tmp_path_factory.mktemp("videopose3d")
    tiny_videopose3d.write_h36m(root, frames=FRAMES)
    return tiny_videopose3d.write_humaneva(root, frames=FRAMES)


@pytest.fixture(scope="module")
def contents():
    """What the files of both data sets hold."""
    return {
        "h36m": tiny_videopose3d.h36m_content(frames=FRAMES),
        "humaneva15": tiny_videopose3d.humaneva_content(frames=FRAMES),
    }


def prepare_videopose3d(name, npz, keypoints=None, out=None):
    """The path of the cache that `glagcn prepare NAME` writes."""
    return prepare(name, PrepareFlags(npz=npz, keypoints=keypoints), out)


def read_all(source):
    return [*source.read("train"), *source.read("test")]


# ---------------------------------------------------------------- what is read


READ = [
    ("h36m", "gt", "h36m17", H36M_SUBJECTS, H36M_NAMES),
    ("h36m", CPN, "h36m17", H36M_SUBJECTS, H36M_NAMES),
    ("humaneva15", "gt", "humaneva15", HUMANEVA_SUBJECTS, HUMANEVA_NAMES),
    ("humaneva15", COCO, "humaneva15_coco17", HUMANEVA_SUBJECTS, HUMANEVA_NAMES),
]


@pytest.mark.parametrize(("dataset", "keypoints", "skeleton", "subjects", "actions"), READ)
def test_the_source_has_what_the_cameras_see(root, contents, dataset, keypoints, skeleton, subjects, actions):
    source, content = VideoPose3DFiles(root, dataset, keypoints), contents[dataset]
    assert (source.dataset, source.keypoints, source.annotation, source.skeleton) == (dataset, keypoints, "", skeleton)
    found = read_all(source)
    assert [sequence.info for sequence in found] == [*source.infos("train"), *source.infos("test")]
    cameras = range(4 if dataset == "h36m" else 3)
    assert [s.info.name for s in found] == [f"{s}/{a}/cam{k}" for s in subjects for a in actions for k in cameras]
    for sequence in found:
        info = sequence.info
        if dataset == "h36m":
            size, kept = (50, 1000, 1002 if info.camera in (0, 3) else 1000), H36M_KEPT
        else:
            size, kept = (60, 640, 480), slice(None)
        assert (info.length, info.fps, info.width, info.height) == (FRAMES, *size)
        assert sequence.pixels.dtype == sequence.millimetres.dtype == np.float32
        assert sequence.valid.all()
        assert sequence.activity is None
        camera = cameras_of(dataset, info.subject)[info.camera]
        world = content["3d"][info.subject][info.action][:, kept]
        np.testing.assert_allclose(to_world(sequence.millimetres, camera) / 1000, world, atol=2e-6)
        views = content[keypoints]["positions_2d"][info.subject][info.action]
        np.testing.assert_array_equal(sequence.pixels, views[info.camera][:FRAMES])
        if (dataset, keypoints) == ("h36m", "gt"):
            np.testing.assert_allclose(sequence.pixels, project(sequence.millimetres, camera), atol=2e-3)


def test_what_is_left_out_is_said_once(root):
    notes = {}
    for dataset, keypoints in (("h36m", "gt"), ("h36m", CPN), ("humaneva15", "gt"), ("humaneva15", COCO)):
        source = VideoPose3DFiles(root, dataset, keypoints)
        read_all(source)
        notes[keypoints, dataset] = source.notes
    longer = "2D longer than 3D in 7 takes: cut by at most 3 frames"
    corrupt = "left out corrupt takes (NaN in the 3D): Validate/S3/Walking 1 chunk4"
    assert notes["gt", "h36m"] == [longer]
    assert notes[CPN, "h36m"] == ["left out 2D without 3D: S2", longer]
    assert notes["gt", "humaneva15"] == [corrupt]
    unlabelled = ", ".join(f"Unlabeled/{subject}" for subject in (*HUMANEVA_SUBJECTS, "S4"))
    assert notes[COCO, "humaneva15"] == [f"left out 2D without 3D: {unlabelled}", corrupt]


def test_the_metadata_tell_the_skeleton_of_an_unknown_2d_source(tmp_path, contents):
    humaneva = contents["humaneva15"]
    tiny_videopose3d.save(tmp_path, "humaneva15", {"3d": humaneva["3d"], "a": humaneva["gt"], "b": humaneva[COCO]})
    for keypoints, skeleton, joints in (("a", "humaneva15", 15), ("b", "humaneva15_coco17", 17)):
        source = VideoPose3DFiles(tmp_path, "humaneva15", keypoints)
        assert source.skeleton == skeleton
        assert next(iter(source.read("train"))).pixels.shape[1] == joints


# ---------------------------------------------------------------- odd files that can be read


@pytest.fixture
def change(tmp_path):
    """change("h36m", edit): the source of miniature files after edit(positions_3d, 2D dict); a fresh copy each time."""

    def make(dataset, edit, keypoints="gt"):
        make_content = getattr(tiny_videopose3d, f"{dataset.removesuffix('15')}_content")
        content = make_content((keypoints,), frames=6)
        edit(content["3d"], content[keypoints])
        tiny_videopose3d.save(tmp_path, dataset, content)
        return VideoPose3DFiles(tmp_path, dataset, keypoints)

    return make


def test_views_may_be_a_tuple_or_an_array_and_a_confidence_is_left_out_aloud(change):
    def edit(_, two_d):
        for actions in two_d["positions_2d"].values():
            for action, views in actions.items():
                actions[action] = [np.concatenate([view, np.ones((*view.shape[:2], 1))], axis=2) for view in views]
        actions = two_d["positions_2d"]["S1"]
        actions["Walking"], actions["Walking 1"] = tuple(actions["Walking"]), np.array(actions["Walking 1"])

    source = change("h36m", edit)
    sequences = read_all(source)
    assert len(sequences) == 7 * 3 * 4
    assert all(sequence.pixels.shape[1:] == (17, 2) for sequence in sequences)
    assert source.notes.count("the 2D has a third value for each joint: taken for a confidence and left out") == 1


@pytest.mark.parametrize("absent", [None, np.zeros((0, 17, 2)), []])
def test_a_camera_without_2d_is_left_out_with_a_note(change, absent):
    def edit(_, two_d):
        two_d["positions_2d"]["S1"]["Walking 1"][1] = absent
        two_d["positions_2d"]["S9"]["Directions 1"] = [absent] * 4

    expected = {sequence.info.name: sequence for sequence in read_all(change("h36m", lambda *_: None))}
    source = change("h36m", edit)
    found = {sequence.info.name: sequence for sequence in read_all(source)}
    absent_names = ["S1/Walking 1/cam1", *(f"S9/Directions 1/cam{number}" for number in range(4))]
    assert list(found) == [name for name in expected if name not in absent_names]
    np.testing.assert_array_equal(found["S1/Walking 1/cam2"].pixels, expected["S1/Walking 1/cam2"].pixels)
    assert found["S1/Walking 1/cam2"].info.camera == 2
    assert f"left out cameras without 2D: {', '.join(absent_names)}" in source.notes


def test_poses_of_17_joints_are_taken_in_order(change):
    def edit(poses, _):
        for actions in poses.values():
            for action in actions:
                actions[action] = actions[action][:, H36M_KEPT]

    source = change("h36m", edit)
    assert len(read_all(source)) == 7 * 3 * 4
    assert "the 3D has 17 joints instead of 32: read as the joints of h36m17" in source.notes
    assert not any(note.startswith("warning") for note in source.notes)


def test_a_part_of_the_subjects_is_read_with_a_warning(change):
    def edit(poses, two_d):
        for subject in ("S5", "S6", "S7", "S8", "S11"):
            del poses[subject], two_d["positions_2d"][subject]

    source = change("h36m", edit)
    assert len(read_all(source)) == 2 * 3 * 4
    assert any(note.startswith("warning: data_3d_h36m.npz has no 3D of S5, S6, S7, S8, S11") for note in source.notes)


def test_subjects_without_cameras_are_left_out(change):
    def edit(poses, two_d):
        poses["Train/S4"] = poses["Train/S1"]
        two_d["positions_2d"]["Train/S4"] = two_d["positions_2d"]["Train/S1"]

    source = change("humaneva15", edit)
    assert "Train/S4" not in {sequence.info.subject for sequence in read_all(source)}
    assert "left out subjects without known cameras: Train/S4" in source.notes


def exchange_cameras(_, two_d):
    for actions in two_d["positions_2d"].values():
        for views in actions.values():
            views[0], views[1] = views[1], views[0]


@pytest.mark.parametrize("keypoints", ["gt", CPN])
def test_exchanged_cameras_are_one_warning(change, keypoints):
    source = change("h36m", exchange_cameras, keypoints)
    warnings = [note for note in (read_all(source), source.notes)[1] if note.startswith("warning")]
    assert len(warnings) == 1
    assert "large reprojection error in 14 views (median: S1 cam0" in warnings[0]
    assert "S1 cam2" not in warnings[0]


# ---------------------------------------------------------------- files that are refused


def s1(key, make, action="Walking 1"):
    """A function that replaces one thing of S1 by what `make` makes of it."""

    def edit(poses, two_d):
        actions = poses["S1"] if key == "3d" else two_d["positions_2d"]["S1"]
        actions[action] = make(actions[action])

    return edit


def views(make):
    return s1("2d", lambda views: [make(view.copy()) for view in views])


def put(place, value):
    def change(array):
        array = array.copy()
        array[place] = value
        return array

    return change


def without(*keys):
    def edit(poses, two_d):
        for key in keys:
            poses.pop(key, None)
            two_d["positions_2d"].pop(key, None)

    return edit


def metadata(**changes):
    return lambda _, two_d: two_d["metadata"].update(changes)


WRONG_H36M = [
    # the 3D
    (
        s1("3d", lambda x: 1000 * x),
        r"data_3d_h36m\.npz: S1/Walking 1: .*seems to be in millimetres; multiply it by 0.001",
    ),
    (s1("3d", lambda x: 0.01 * x), r"S1/Walking 1: the median distance .* Convert the 3D to metres"),
    (s1("3d", put((2, 3), np.nan)), r"S1/Walking 1: 3D is not finite in 1 of 6 frames, first in frame 2"),
    (s1("3d", put((2, 6, 0), 101)), r"S1/Walking 1: 3D coordinate x of joint 4 of 17 in .* is 101 m"),
    (s1("3d", lambda x: x[:0]), r"data_3d_h36m\.npz: S1/Walking 1: the 3D has no frames"),
    (s1("3d", lambda x: x[:, :20]), r"S1/Walking 1: the 3D has shape \(6, 20, 3\); expected \(frames, 32, 3\)"),
    (s1("3d", lambda x: x.tolist()), r"S1/Walking 1: the 3D is list of 6; expected an array \(frames, 32, 3\)"),
    (s1("3d", lambda x: x.astype(str)), r"S1/Walking 1: the 3D has type <U32; expected numbers"),
    # the 2D
    (views(put((2, 3), np.nan)), r"data_2d_h36m_gt\.npz: S1/Walking 1/cam0: joints are missing.* in 1 of 6 frames"),
    (views(lambda x: x / 1000), r"data_2d_h36m_gt\.npz: S1/Walking 1/cam0: .*the 2D looks normalised"),
    (views(lambda x: x[:5]), r"S1/Walking 1/cam0: 5 frames of 2D but 6 frames of 3D in data_3d_h36m\.npz"),
    (views(lambda x: x[:, :16]), r"S1/Walking 1/cam0: the 2D has shape \(6, 16, 2\); expected \(frames, 17, 2\)"),
    (s1("2d", lambda v: v[:3]), r"gt\.npz: S1/Walking 1: the 2D is list of 3; expected a list of 4 arrays.*54138969"),
    (s1("2d", lambda v: "four"), r"S1/Walking 1: the 2D is str of 4; expected a list of 4"),
    (s1("2d", lambda v: [*v[:3], "none"]), r"S1/Walking 1/cam3: the 2D is str of 4; expected an array"),
    # one against the other
    (
        lambda _, t: t["positions_2d"].pop("S5"),
        r"the 3D of S5/Directions 1, but .*data_2d_h36m_gt\.npz has no 2D of it",
    ),
    # the splits and the nesting
    (
        without("S9", "S11"),
        r"data_3d_h36m\.npz: no usable take of S9, S11, so the test split is empty; found 3D of S1, S5",
    ),
    (without(*H36M_SUBJECTS), r"so the train split is empty; found 3D of no subject"),
    (lambda p, _: p.update(S1=[1, 2]), r"data_3d_h36m\.npz: positions_3d of S1 is list of 2; expected positions_3d "),
    (lambda _, t: t.update(positions_2d=None), r"data_2d_h36m_gt\.npz: positions_2d is NoneType; expected pos"),
    (lambda p, _: p["S1"].update({"a/cam0": 1}), r"positions_3d has the name 'a/cam0'; expected short names"),
    (lambda p, _: p["S1"].update({"é": 1}), r"positions_3d has the name 'é'; expected"),
    (lambda p, _: p["S1"].update({"a" * 99: 1}), r"positions_3d has the name 'aaa"),
    (lambda p, _: p.update({(1, 2): {}}), r"positions_3d has the name \(1, 2\); expected"),
    # the metadata
    (lambda _, t: t.pop("metadata"), r"2d_h36m_gt\.npz: no key 'metadata'; found positions_2d; expected .*DATASETS"),
    (lambda _, t: t.update(metadata=None), r"data_2d_h36m_gt\.npz: metadata has NoneType; expected num_joints"),
    (
        lambda _, t: t["metadata"].pop("num_joints"),
        r"metadata has the keys keypoints_symmetry; expected num_joints and",
    ),
    (metadata(num_joints=16), r"metadata has num_joints 16 and .*; expected 17 and .* for h36m17"),
    (metadata(keypoints_symmetry=COCO_SIDES), r"left and right joints \[\[1, 3, .* expected 17 and \[\[4, 5"),
    (metadata(keypoints_symmetry=7), r"left and right joints 7; expected 17"),
]


@pytest.mark.parametrize(("edit", "message"), WRONG_H36M)
def test_wrong_files_of_h36m(change, edit, message):
    with pytest.raises(UserError, match=message):
        read_all(change("h36m", edit))


WRONG_HUMANEVA = [
    (metadata(num_joints=17), r"num_joints 17 and .*; expected 15 and .* for humaneva15\.", "gt"),
    (metadata(num_joints=20), r"humaneva15_mine\.npz: metadata has num_joints 20; expected 15 .* or 17", "mine"),
    (metadata(keypoints_symmetry=[[*range(1, 8)], [*range(8, 15)]]), r"expected 17 and \[\[1, 3, 5, 7, 9, ", COCO),
    (lambda p, _: [array.__setitem__(0, np.nan) for s in HUMANEVA_SUBJECTS[3:] for array in p[s].values()],
     r"data_3d_humaneva15\.npz: no usable take of Validate/S1, .*, so the test split is empty", "gt"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "message", "keypoints"), WRONG_HUMANEVA)
def test_wrong_files_of_humaneva(change, edit, message, keypoints):
    with pytest.raises(UserError, match=message):
        read_all(change("humaneva15", edit, keypoints))


# ---------------------------------------------------------------- preparing


def test_the_cache_of_other_2d_joints_holds_what_is_read(root, tmp_path, said):
    cache = open_cache(prepare_videopose3d("humaneva15", root, COCO, tmp_path / "a.h5"))
    source = VideoPose3DFiles(root, "humaneva15", COCO)
    for split in ("train", "test"):
        found, read = getattr(cache, split), list(source.read(split))
        assert list(found.sequences) == [sequence.info for sequence in read]
        np.testing.assert_array_equal(found.pixels, np.concatenate([s.pixels for s in read]))
        np.testing.assert_array_equal(found.millimetres, np.concatenate([s.millimetres for s in read]))
        assert (found.pixels.shape[1], found.millimetres.shape[1]) == (17, 15)
    assert (cache.skeleton, cache.annotation) == (source.skeleton, "")
    assert list(cache.notes) == source.notes
    assert all(f"note: {note}" in said for note in source.notes)


def test_the_table_has_a_row_for_each_subject(root, tmp_path, said):
    provenance = open_cache(prepare_videopose3d("h36m", root, out=tmp_path / "a.h5")).provenance
    assert provenance["cut_frames"] == {f"{subject}/Walking": 3 for subject in H36M_SUBJECTS}
    assert [file["path"] for file in provenance["files"]] == ["data_3d_h36m.npz", "data_2d_h36m_gt.npz"]
    rows = {line.split()[0]: line.split() for line in said}
    assert rows["S11"] == ["S11", "2", "3", str(3 * FRAMES), "4", "3", "50", "1000x1002/1000x1000", str(12 * FRAMES)]
    assert [line.split()[2] for line in said if line.strip().startswith("all views")] == [
        str(60 * FRAMES),
        str(24 * FRAMES),
    ]


def test_a_selection_that_is_empty_leaves_nothing(tmp_path):
    tiny_videopose3d.write_humaneva(tmp_path, frames=3)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="--actions Fly"):
        prepared("humaneva15", tmp_path, cache_dir=str(tmp_path / "cache"), actions=("Fly",))
    assert sorted(tmp_path.rglob("*")) == before


def test_missing_files_are_named_with_what_there_is_and_how_to_get_them(root, tmp_path):
    with pytest.raises(UserError) as caught:
        prepared("h36m", root, keypoints="cpn_typo")
    text = str(caught.value)
    assert f"no Human3.6M with the 2D source 'cpn_typo' found in {root}. Looked for the cache h36m_cpn_typo.h5" in text
    assert "of which data_2d_h36m_cpn_typo.npz is missing" in text
    assert f"Available 2D sources: {CPN}, gt; select one with -k NAME" in text
    assert "https://github.com/facebookresearch/VideoPose3D/blob/main/DATASETS.md" in text
    assert "--dataset demo" in text
    with pytest.raises(UserError, match=r"data_3d_humaneva15\.npz and data_2d_humaneva15_gt\.npz is missing"):
        prepare_videopose3d("humaneva15", tmp_path)


def test_the_verb(verb, root, tmp_path):
    done = verb(f"prepare h36m --npz {root} -k {CPN} --out {tmp_path}/h36m_{CPN}.h5")
    assert done.code == 0, done.err
    assert f"--dataset h36m --root_path {tmp_path} -k {CPN}" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("h36m --raw {root}", "does not take --raw; it takes --npz, --keypoints, --mark_missing, --out"),
        ("3dhp --npz {root} -k cpn", "invalid --keypoints cpn: must be one of gt for --dataset 3dhp"),
        ("h36m --npz {root} -k sh", "data_2d_h36m_sh.npz is missing"),
        ("h36m --npz {root} -k ../gt", "invalid --keypoints '../gt': must be the NAME of a file data_2d_h36m_NAME.npz"),
    ],
)  # fmt: skip
def test_the_verb_refuses_what_does_not_fit(verb, root, arguments, message):
    ended = verb(f"prepare {arguments.format(root=root)}")
    assert ended.code == 2
    assert message in ended.err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda p: p * (1, -1) + (0, 1000), None),
        (lambda p: p - 500, r"split in images of 1000x100[02]: .*\(0, 0\) seems to be the middle of the image"),
        (lambda p: p[:, np.roll(np.arange(17), 1)], "the joints seem to be shifted by one place"),
        (lambda p: p * 6, "seem to be of a larger image"),
    ],
)
def test_2d_that_no_filmed_person_has_is_refused_or_noted(tmp_path, caplog, changed, message):
    content = tiny_videopose3d.h36m_content(("gt",))
    for actions in content["gt"]["positions_2d"].values():
        for views in actions.values():
            views[:] = [changed(view).astype(np.float32) for view in views]
    tiny_videopose3d.save(tmp_path, "h36m", content)
    source = VideoPose3DFiles(tmp_path, "h36m", "gt")
    if message:
        with pytest.raises(UserError, match=message):
            write_cache(tmp_path / "out.h5", source)
        assert not (tmp_path / "out.h5").exists()
        return
    write_cache(tmp_path / "out.h5", source)
    assert any("y seems to count upwards" in note for note in source.notes)
