import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.poses.joints import CONVENTIONS
from glagcn.poses.keypoints.read import FORMATS, read_keypoints
from tests.poses.keypoints import written
from tests.poses.keypoints.written import ABSENT, FRAMES, SIZE, expected, people

# layout: (format, joints, convention, who: all, the first one, ids)
LAYOUTS = {
    "alphapose": ("alphapose", 26, "halpe26", "ids"),
    "alphapose_cmu": ("alphapose", 18, "openpose_coco18", "all"),
    "alphapose_open": ("alphapose", 18, "openpose_coco18", "all"),
    "coco": ("coco", 17, "coco17", "all"),
    "openpose": ("openpose", 25, "openpose_body25", "all"),
    "mmpose_video": ("mmpose", 133, "coco_wholebody133", "all"),
    "mmpose_demo": ("mmpose", 17, "coco17", "all"),
    "mmpose_lists": ("mmpose", 17, "coco17", "all"),
    "mmpose_images": ("mmpose", 17, "coco17", "all"),
    "ultralytics_list": ("ultralytics", 17, "coco17", "ids"),
    "ultralytics_texts": ("ultralytics", 17, "coco17", "ids"),
    "ultralytics_lines": ("ultralytics", 17, "coco17", "ids"),
    "ultralytics_folder": ("ultralytics", 17, "coco17", "ids"),
    "labels": ("ultralytics_labels", 17, "coco17", "all"),
    "labels_tracked": ("ultralytics_labels", 17, "coco17", "ids"),
    "mediapipe_frames": ("mediapipe", 33, "mediapipe33", "all"),
    "mediapipe_single": ("mediapipe", 33, "mediapipe33", "first"),
    "mediapipe_by_number": ("mediapipe", 33, "mediapipe33", "first"),
    "mediapipe_rows": ("mediapipe", 33, "mediapipe33", "first"),
    "table_wide": ("landmark_table", 33, "mediapipe33", "first"),
    "table_numbered": ("landmark_table", 33, "mediapipe33", "ids"),
    "table_bare": ("landmark_table", 33, "mediapipe33", "first"),
    "table_long": ("landmark_table", 33, "mediapipe33", "ids"),
    "custom": ("videopose3d", 17, "coco17", "sure"),
    "detector": ("detectron", 17, "coco17", "all sure"),
    "array": ("arrays", 25, "openpose_body25", "first"),
    "array_first_axis": ("arrays", 17, None, "first"),
    "array_people": ("arrays", 17, "coco17", "all"),
    "array_and_confidence": ("arrays", 17, None, "first"),
}


def write(layout: str, root: Path) -> tuple[Path, np.ndarray]:
    """The file, and the poses that it is to hold."""
    _, joints, _, who = LAYOUTS[layout]
    keypoints = people(joints)
    path = getattr(written, layout)(root, keypoints)
    found = expected(keypoints[:, :1] if who in ("first", "sure") else keypoints)
    if "sure" in who:
        found[..., 2] = found[..., 2] > 0
    return path, found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_as_documented_is_read(tmp_path, layout):
    name, _, convention, who = LAYOUTS[layout]
    path, poses = write(layout, tmp_path)
    for format in (None, name):
        found = read_keypoints(path, format, image_size=SIZE)
        np.testing.assert_allclose(found.keypoints, poses, atol=2e-3)
        assert found.keypoints.dtype == np.float32
        assert found.convention == convention
        several = len(poses) > FRAMES
        persons = range(2 if several else 1)
        frames = [frame for frame in range(FRAMES) for person in persons if (frame, person) != ABSENT]
        assert found.frames.tolist() == frames
        assert np.diff(found.persons[:4]).tolist() == ([1, -1, 1] if who == "ids" else [0, 0, 0])
        assert who == "ids" or (found.persons == -1).all()
        assert found.length == FRAMES
        assert found.image_size == SIZE


@pytest.mark.parametrize("name", FORMATS)
def test_another_format_than_the_one_stated_is_refused(tmp_path, name):
    for layout, (right, *_) in LAYOUTS.items():
        (tmp_path / layout).mkdir(exist_ok=True)
        path, _ = write(layout, tmp_path / layout)
        if right != name and not (name == "arrays" and path.suffix == ".npz"):
            with pytest.raises(
                UserError, match=f"{path.name}.* is not {FORMATS[name].title}: found {FORMATS[right].title}"
            ):
                read_keypoints(path, name, image_size=SIZE)


# ---- what a file may also hold


def read_json(root: Path, value, name: str = "k.json", **choices):
    text = value if isinstance(value, str) else json.dumps(value)
    (root / name).write_text(text)
    return read_keypoints(root / name, **choices)


def pose(joints: int = 17, *changes) -> list[float]:
    """A flat pose: joint j at (10 + j, 20 + j), confidence 0.9; changes are (joint, (x, y, c))."""
    rows = [[10.0 + j, 20.0 + j, 0.9] for j in range(joints)]
    for joint, row in changes:
        rows[joint] = list(row)
    return [number for row in rows for number in row]


def moved(by: float, *changes) -> list[float]:
    return (np.reshape(pose(17, *changes), (17, 3)) + np.array([by, 0, 0])).ravel().tolist()


def row(keypoints, frame=0, **more) -> dict:
    return {"image_id": frame, "category_id": 1, "keypoints": keypoints, "score": 1.0, **more}


def ultralytics(*people, **more) -> list[dict]:
    """A frame of people, each a flat pose."""
    columns = [np.reshape(person, (-1, 3)).T.tolist() for person in people]
    return [{"name": "person", "keypoints": dict(zip(("x", "y", "visible"), c, strict=True)), **more} for c in columns]


NAN, NULL = float("nan"), None


@pytest.mark.parametrize(
    "mark",
    [(0, 0, 0.9), (-1, -1, 0.9), (5, 5, 0), (5, 5, 0.04), (NAN, 5, 0.9), (5, 5, NAN), (NULL, NULL, NULL), (5, 5, -1),
     (1e12, 5, 0.9), (float("inf"), 5, 1)],
)  # fmt: skip
def test_every_mark_of_a_missing_joint_is_one(tmp_path, mark):
    others = (1270, -470, 0.9), (5, 5, 0.06)  # somewhat outside the image, and just sure enough
    found = read_json(tmp_path, [row(pose(17, (3, mark), *enumerate(others, start=4)))], image_size=SIZE)
    assert found.keypoints[0, 3].tolist() == [0, 0, 0]
    assert (np.delete(found.keypoints[0], 3, axis=0)[:, 2] > 0).all()


def test_poses_without_a_joint_are_left_out_and_frames_keep_their_numbers(tmp_path):
    empty = [0.0] * 51
    rows = [row(pose(), "img_0107.png"), row(empty, "img_0103.png"), row(pose(), "img_0101.png")]
    found = read_json(tmp_path, rows)
    assert found.frames.tolist() == [101, 107]
    assert (found.convention, found.image_size, found.fps, found.length) == ("coco17", None, None, 108)


def test_the_marks_that_programs_put_before_a_text_are_read_over(tmp_path):
    text = json.dumps([row(pose())])
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "b.json").write_text(text, encoding="utf-16")
    for name in ("a.json", "b.json"):
        assert len(read_keypoints(tmp_path / name).frames) == 1


def test_ids_count_for_the_poses_that_have_one(tmp_path):
    found = read_json(tmp_path, [row(pose(), "0.jpg", idx=1), row(pose(), "1.jpg"), row(pose(), "2.jpg", idx=-1)])
    assert found.persons.tolist() == [1, -1, -1]


def test_of_two_poses_that_nearly_coincide_the_surer_or_the_one_with_an_id_is_kept(tmp_path):
    worse = moved(1, (4, (14, 24, 0.1)))
    rows = [row(worse), row(pose()), row(moved(90)), row(pose(), 1), row(worse, 1, track_id=3)]
    rows += [row(worse, 2, track_id=3), row(pose(), 2, track_id=4)]
    found = read_json(tmp_path, rows)
    assert found.frames.tolist() == [0, 0, 1, 2, 2]
    assert found.persons.tolist() == [-1, -1, 3, 3, 4]
    np.testing.assert_allclose(found.keypoints[:3, 0, 0], [10, 100, 11])


def test_the_usual_order_of_a_detector_is_overruled_by_what_is_stated(tmp_path):
    assert read_json(tmp_path, [row(pose())], joints="h36m17").convention == "h36m17"
    np.savez(tmp_path / "k.npz", keypoints=np.full((3, 17, 2), 9), joints="coco17")
    assert read_keypoints(tmp_path / "k.npz").convention == "coco17"
    assert read_keypoints(tmp_path / "k.npz", joints="mpi3dhp17").convention == "mpi3dhp17"


def test_openpose_in_parts_of_the_image_is_brought_to_pixels(tmp_path):
    keypoints = np.reshape(pose(25, (3, (640, 360, 0.9)), (5, (0, 0, 0))), (25, 3)) / [*SIZE, 1]
    people = [{"pose_keypoints_2d": keypoints.ravel().tolist()}]
    found = read_json(tmp_path, {"people": people}, image_size=SIZE, format="openpose").keypoints[0]
    np.testing.assert_allclose(found[[0, 3, 5]], [(10, 20, 0.9), (640, 360, 0.9), (0, 0, 0)], atol=1e-3)


def test_pairs_without_confidence_are_sure(tmp_path):
    found = read_json(tmp_path, [row(np.reshape(pose(), (17, 3))[:, :2].ravel().tolist())])
    assert found.keypoints[0, 16].tolist() == [26, 36, 1]


@pytest.mark.parametrize(
    ("value", "choices", "message"),
    [
        ("", {}, "is empty; expected keypoints as JSON"),
        ("[", {}, "is no JSON, is damaged or ends early"),
        ('[{"image_id": 1, "keypoi', {}, "ends early: .* in line 1, column 18"),
        ("[" * 100_000, {}, "is no JSON"),
        ([], {}, "holds no person in any frame"),
        ({"a": 1}, {}, "holds JSON of an object with a; expected AlphaPose JSON, COCO results JSON, MMPose JSON"),
        ([row(pose(33))], {"joints": "coco17"}, r"frame 0: 33 joints; expected 17, as coco17 \(COCO\) has"),
        ([row(pose(19))], {}, "holds poses of 19 joints; expected those of coco17, "),
        ([row(pose()), row(pose(26), 1)], {}, "frame 1: 26 joints; expected 17, as the other poses have"),
        ([row(pose(), -3)], {}, "frame number -3; expected 0 to "),
        ([row(pose(), track_id=4), row(moved(90), track_id=4)], {}, "person 4 is 2 times in frame 0; expected once"),
        ([row([0] * 51)], {}, "every joint of its 1 poses is missing"),
        ([row(pose()[:50])], {}, "keypoints: 50 numbers for a pose; expected x, y"),
        ([row("far")], {}, "keypoints is 'far'; expected numbers"),
        ([row(pose(), track_id="me")], {}, "the id of a person is 'me'; expected a whole number"),
        ([row(pose(), "a.jpg")], {}, "'a.jpg' holds no frame number"),
        ([row(pose(), "v1_1.jpg"), row(pose(), "v2_1.jpg")], {}, "are of different sequences"),
        ([[{"x": 0.5, "y": 0.5}] * 33], {}, "holds normalised coordinates, and does not say how large the image is"),
        ([[]] * 9, {}, "holds no person in any frame"),
        ([{"frame": n, "landmarks": []} for n in range(9)], {}, "holds no person in any frame"),
        ({"frames": [None] * 9}, {}, "holds no person in any frame"),
        (ultralytics(*[pose()] * 21), {}, "holds 21 people of one frame, as none has the number of a frame"),
        ([row(pose())], {"format": "yolo"}, "unknown format 'yolo'; must be one of alphapose, "),
        ([row(pose())], {"joints": "coco"}, "unknown joints 'coco'; must be one of coco17, "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path, value, choices, message):
    with pytest.raises(UserError, match=message) as caught:
        read_json(tmp_path, value, **choices)
    assert "k.json" in str(caught.value) or "unknown" in str(caught.value)


def test_a_content_that_does_not_fit_its_name_is_refused(tmp_path):
    np.save(tmp_path / "k.npy", np.ones((2, 17, 2)))
    for name, content, message in (
        ("a.npz", (tmp_path / "k.npy").read_bytes(), "ends in '.npz' and holds what a .npy file does"),
        ("a.json", (tmp_path / "k.npy").read_bytes(), "ends in '.json' and holds what a .npy file does"),
        ("a.npy", b"[]", "ends in '.npy' and holds text or nothing"),
        ("a.json", b"\x00\xff\xfe", "is no text"),
        ("a.txt", b"hello world\n", "holds text that is no labels; expected Ultralytics labels"),
        ("a.csv", b"a,b\n1,2\n", "has columns a, b and 1 rows; expected x and y of each landmark"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}.*{message}"):
            read_keypoints(tmp_path / name)
    with pytest.raises(UserError, match="no such file"):
        read_keypoints(tmp_path / "none.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no pictures, no \.json and no \.txt file"):
        read_keypoints(tmp_path / "empty")


def test_a_file_too_large_to_read_is_refused_by_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr("glagcn.poses.keypoints.content.MOST_BYTES", 1000)
    with pytest.raises(UserError, match=r"k\.json holds more than .* give one file or folder for each video"):
        read_json(tmp_path, [row(pose())] * 20)


def test_several_sequences_in_one_npz_are_named(tmp_path):
    positions = {"a.mp4": {"custom": [np.ones((2, 17, 2))]}, "b.mp4": {"custom": [np.ones((2, 17, 2))]}}
    np.savez(tmp_path / "k.npz", positions_2d=positions, metadata={})
    with pytest.raises(
        UserError, match=r"positions_2d holds 2 sequences \(a\.mp4/custom, b\.mp4/custom\); expected one"
    ):
        read_keypoints(tmp_path / "k.npz")


# ---- what is read although it is not as its tool writes it


def mmpose(person) -> dict:
    points = np.reshape(person, (-1, 3))
    return {"keypoints": points[:, :2].tolist(), "keypoint_scores": points[:, 2].tolist()}


BALL = {"name": "ball", "class": 32, "box": {}}
ONE, TWO = ultralytics(pose()), ultralytics(pose(), pose(17, (0, (300, 200, 0.8))))
MARKS = [[number / 99, number / 77, 0, 0.9] for number in range(33)]
IMAGES = [{"id": 100 + n, "file_name": f"{n:06d}.jpg", "width": SIZE[0], "height": SIZE[1]} for n in range(4)]
ANNOTATIONS = [
    {"id": n, "image_id": 100 + n, "category_id": 1, "keypoints": pose(17, (2, (9, 9, 2)))} for n in (0, 1, 3)
]
FLAT = np.reshape(pose(), (17, 3)).tolist()


@pytest.mark.parametrize(
    ("value", "frames", "said"),
    [
        ([ONE, None, ONE, [], ONE, ""], [0, 2, 4], None),
        ([json.dumps(ONE), "", json.dumps(ONE)], [0, 2], None),
        ([[mmpose(pose())], None, [mmpose(pose())]], [0, 2], None),
        ([[[mmpose(pose())]], [[mmpose(pose())]]], [0, 1], None),
        ({"people": [{"pose_keypoints_2d": pose(25)}]}, [0], None),
        ([{"people": [{"pose_keypoints_2d": pose(25)}, {}]}, {"people": [{}]}, {"people": None}], [0], None),
        ([ONE, TWO, [*ONE, BALL]], [0, 1, 1, 2], "left out 1 of 5 entries .* frame 2: an object with name, class, box"),
        ([row(pose(), 5), row(pose(), 6), row(pose()[:50], 8)], [5, 6], "frame 8: keypoints: 50 numbers for a pose"),
        ([ONE, ONE, ultralytics(pose(19))], [0, 1], "frame 2: 19 joints; expected 17, as the other poses have"),
        ([MARKS, MARKS, "?"], [0, 1], "frame 2: '.'; expected the landmarks"),
        (row(pose(), 3), [3], None),
        (ONE[0], [0], None),
        ([*ultralytics(pose(), moved(90), frame=4), *ultralytics(pose(), frame=7)], [4, 4, 7], None),
        ({"images": IMAGES, "annotations": ANNOTATIONS, "categories": []}, [0, 1, 3], None),
        ([FLAT, None, FLAT, []], [0, 2], None),
        ([[FLAT, np.reshape(moved(90), (17, 3)).tolist()], [FLAT]], [0, 0, 1], None),
        ({"keypoints": [FLAT, FLAT], "image_size": SIZE, "fps": 50, "joints": "coco17"}, [0, 1], None),
        ({"predictions": [[mmpose(pose())], [], [mmpose(pose())]]}, [0, 2], None),
        ([{"frame": 3, "keypoints": FLAT}, {"frame": 5, "keypoints": pose()}], [3, 5], None),
        ([[{"score": 0.9, "keypoints": [{"x": x, "y": y, "score": c} for x, y, c in FLAT]}], []], [0], None),
        ([[[str(number) for number in joint] for joint in FLAT], FLAT], [0, 1], None),
        (FLAT, [0], None),
    ],
)  # fmt: skip
def test_an_entry_that_does_not_fit_costs_no_other(tmp_path, caplog, value, frames, said):
    found = read_json(tmp_path, value, image_size=SIZE)
    assert found.frames.tolist() == frames
    assert re.search(said, caplog.text) if said else not caplog.records


def test_a_file_of_annotations_says_the_size_of_its_images_and_what_is_labelled(tmp_path):
    found = read_json(tmp_path, {"images": IMAGES[::-1], "annotations": ANNOTATIONS})
    assert (found.image_size, found.length, found.keypoints[0, 2, 2], found.format) == (SIZE, 4, 1, "COCO results JSON")


def test_other_files_in_a_folder_are_left_out(tmp_path, caplog):
    folder = written.openpose(tmp_path, people(25))
    (folder / "metadata.json").write_text('{"fps": 30}')
    assert read_keypoints(folder).length == FRAMES
    assert "left out 1 of 12 entries that are no pose, first metadata.json: an object with fps" in caplog.text


@pytest.mark.parametrize("name", ["IMG_{0}_{1:06d}.json", "clip_{1:03d}.json"])
def test_pictures_with_two_numbers_that_count_together_are_one_sequence(tmp_path, name):
    for number in range(3):
        person = {"meta_info": {}, "instance_info": [mmpose(pose())]}
        (tmp_path / name.format(101 + number, number)).write_text(json.dumps(person))
    assert read_keypoints(tmp_path).frames.tolist() == [0, 1, 2]


def test_what_is_packed_with_gzip_is_read(tmp_path):
    np.save(tmp_path / "k.npy", np.reshape(pose(25) * 3, (3, 25, 3)))
    (tmp_path / "k.json").write_text(json.dumps([ONE] * 3))
    for name in ("k.npy", "k.json"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        assert read_keypoints(tmp_path / f"{name}.gz").frames.tolist() == [0, 1, 2]
    (tmp_path / "k.json.gz").write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(UserError, match=r"k\.json\.gz cannot be read"):
        read_keypoints(tmp_path / "k.json.gz")


@pytest.mark.parametrize("shape", [(3, 40, 17, 2), (100, 25, 17, 3)])
def test_an_array_of_cameras_or_of_more_people_than_a_film_shows_is_refused(tmp_path, shape):
    np.save(tmp_path / "k.npy", np.random.default_rng(0).uniform(9, 400, shape))
    words = r"k\.npy: .* its first axis seems to be people or cameras, and the second frames"
    with pytest.raises(UserError, match=words):
        read_keypoints(tmp_path / "k.npy")
    (tmp_path / "k.json").write_text(json.dumps(np.load(tmp_path / "k.npy").tolist()))
    with pytest.raises(UserError, match=words.replace("npy", "json")):
        read_keypoints(tmp_path / "k.json")


def test_landmarks_in_an_array_of_four_columns_are_read_without_their_depth(tmp_path):
    np.save(tmp_path / "k.npy", np.array([MARKS] * 2))
    found = read_keypoints(tmp_path / "k.npy", image_size=SIZE)
    np.testing.assert_allclose(found.keypoints[1, 11], (11 / 99 * SIZE[0], 11 / 77 * SIZE[1], 0.9), rtol=1e-5)


@pytest.mark.parametrize(("separator", "point"), [(";", ","), ("\t", "."), ("\t", ",")])
def test_a_table_may_have_other_separators_and_decimal_commas(tmp_path, separator, point):
    path, poses = write("table_numbered", tmp_path)
    text = path.read_text().replace(",", separator).replace(".", point)
    path.write_text(text)
    np.testing.assert_allclose(read_keypoints(path, image_size=SIZE).keypoints, poses, atol=2e-3)


@pytest.mark.parametrize("individuals", [False, True])
def test_the_tables_of_deeplabcut_are_read_by_the_names_of_their_parts(tmp_path, individuals):
    keypoints = people(17)
    who = range(2 if individuals else 1)
    names = CONVENTIONS["coco17"].joints[::-1]
    columns = [(f"id{p}", name, axis) for p in who for name in names for axis in ("x", "y", "likelihood")]
    header = [["scorer", *("model" for _ in columns)], ["bodyparts", *(c[1] for c in columns)],
              ["coords", *(c[2] for c in columns)]]  # fmt: skip
    if individuals:
        header.insert(1, ["individuals", *(c[0] for c in columns)])
    rows = [[n, *keypoints[n][who, ::-1].ravel()] for n in range(FRAMES)]
    text = "\n".join(",".join("" if v != v else str(v) for v in line) for line in header + rows)
    (tmp_path / "k.csv").write_text(text)
    found = read_keypoints(tmp_path / "k.csv", image_size=SIZE)
    np.testing.assert_allclose(found.keypoints, expected(keypoints[:, who]), atol=1e-3)
    assert (found.convention, np.unique(found.persons).tolist()) == ("coco17", [0, 1] if individuals else [-1])


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "k.npz", keypoints=np.zeros((1000, 17, 2)))
    monkeypatch.setattr("glagcn.poses.keypoints.content.MOST_UNPACKED", 100_000)
    with pytest.raises(UserError, match=r"k\.npz holds more than 0\.1 MB"):
        read_keypoints(tmp_path / "k.npz")


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    evil = np.empty((3, 2), object)
    evil[:] = Evil()
    np.savez(tmp_path / "v.npz", boxes=evil, keypoints=evil)
    np.savez(tmp_path / "k.npz", positions_2d=Evil())
    np.save(tmp_path / "k.npy", evil)
    for name in ("v.npz", "k.npz", "k.npy"):
        with pytest.raises(UserError, match=name):
            read_keypoints(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_damaged_or_another_costs_no_other_of_its_folder(tmp_path, caplog):
    for frame in range(4):
        (tmp_path / f"v_{frame:012d}_keypoints.json").write_text(
            json.dumps({"people": [{"pose_keypoints_2d": pose(25)}]})
        )
    (tmp_path / "v_000000000004_keypoints.json").write_text('{"people": [')
    assert read_keypoints(tmp_path).frames.tolist() == [0, 1, 2, 3]
    assert re.search("left out 1 of 5 entries .* first v_000000000004.*ends early", caplog.text)


@pytest.mark.parametrize(("more", "ids"), [(["", " 7", ""], [-1, 7, -1]), ([" 0.9", " 0.9 7", " 0.8"], [-1, 7, -1])])
def test_label_lines_with_and_without_an_id_and_other_texts_beside_them(tmp_path, caplog, more, ids):
    line = "0 .5 .5 .1 .2 " + " ".join(map(str, (np.reshape(pose(), (17, 3)) / [*SIZE, 1]).ravel()))
    for frame, end in enumerate(more, start=1):
        (tmp_path / f"v_{frame}.txt").write_text(f"{line}{end}\n")
    (tmp_path / "classes.txt").write_text("person\n")
    found = read_keypoints(tmp_path, image_size=SIZE)
    assert (found.frames.tolist(), found.persons.tolist()) == ([0, 1, 2], ids)
    assert "classes.txt: text that is no labels" in caplog.text
