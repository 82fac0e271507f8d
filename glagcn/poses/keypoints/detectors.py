"""What detectors write of people: AlphaPose, COCO results, MMPose, OpenPose and Ultralytics.

They differ in what a person is, and in what people lie in:

    alphapose    {"image_id": "12.jpg", "keypoints": [x, y, c, ...], "score": 2.9, "box": [...], "idx": 1}, all in a
                 list; {"12.jpg": {"bodies": [{"joints": [x, y, c, ...]}]}} (--format cmu), or "people" (--format open)
    coco         {"image_id": 12, "category_id": 1, "keypoints": [x, y, v, ...], "score": 0.9}, all in a list
    mmpose       {"keypoints": [[x, y], ...], "keypoint_scores": [c, ...], "bbox": [[...]], "bbox_score": s} in
                 [{"frame_id": 0, "instances": [...]}]                            the inferencer, of a video
                 {"meta_info": {}, "instance_info": [{"frame_id": 1, "instances": []}]}  the demos; frames from 1
                 [...] in a file for each image, or [[...], ...]                  the inferencer; its "predictions"
    openpose     {"person_id": [-1], "pose_keypoints_2d": [x, y, c, ...]}, older "pose_keypoints", in {"people": [...]},
                 a file NAME_000000000012_keypoints.json for each frame
    ultralytics  {"name": "person", "track_id": 1, "keypoints": {"x": [...], "y": [...], "visible": [...]}}, a list for
                 each frame: as it is or as a text, in a list, one after the other, or in a file for each frame
    labels       of Ultralytics: see below

So a frame is a list of people, or an object with such a list.  Its number is what it or its people state, else the
number in the name of the file or image, else its place in the list.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from glagcn.errors import UserError
from glagcn.poses.checks import MOST_PEOPLE
from glagcn.poses.gaps import with_confidence
from glagcn.poses.joints import CONVENTIONS, MEDIAPIPE33
from glagcn.poses.keypoints.content import (
    FRAME,
    TIME,
    Content,
    Format,
    Found,
    as_numbers,
    as_whole,
    entry,
    frames_of_names,
    parse_json,
    person_of,
    shown,
    time_of,
)

PEOPLE = ("people", "bodies", "instances", "instance_info", "predictions")  # under which a frame has its people
FLAT = ("pose_keypoints_2d", "pose_keypoints", "joints")
SCORES = ("keypoint_scores", "scores")  # of MMPose, and of ViTPose in Transformers
ANY = ""  # the format of files without people
Frames = list[tuple[Any, list, float | None]]
"""(what states the number, people, the time that it states) of every frame; a ValueError for what cannot be read."""


def _format_of(person: Any) -> str | None:
    """The name of the format that writes such a person; None in what is no person."""
    if not isinstance(person, dict):
        return None
    if "pose_keypoints_2d" in person or "pose_keypoints" in person:
        return "openpose"
    if isinstance(person.get("joints"), list):
        return "alphapose"
    keypoints = person.get("keypoints")
    if isinstance(keypoints, dict):
        return "ultralytics" if {"x", "y"} <= set(keypoints) else None
    if isinstance(keypoints, list) and any(key in person for key in SCORES):
        return "mmpose"
    if isinstance(keypoints, list) and 0 < len(keypoints) != len(MEDIAPIPE33) and "image_id" not in person:
        parts = {type(part) for part in keypoints}  # numbers, [x, y, c] or {"x": ..., "y": ..., "score": ...}
        single = parts != {list} or not any(isinstance(part, list) for point in keypoints for part in point)
        return "coco" if single and (parts == {dict} or entry(person, (*FRAME, *TIME)) is not None) else None
    if "keypoints" not in person or "image_id" not in person:
        return None
    named = isinstance(person["image_id"], str) or "idx" in person or "box" in person
    return "alphapose" if named else "coco"


def _people(content: Content, frame: Any) -> list:
    """The people of a frame; of null, empty lists, objects and texts: nobody."""
    if isinstance(frame, str) and frame.strip():
        try:
            frame = parse_json(content.path, frame)
        except ValueError as problem:
            return [problem]
    if isinstance(frame, ValueError):  # a file that cannot be read
        return [frame]
    if isinstance(frame, dict):
        frame = next((frame[key] for key in PEOPLE if key in frame), [frame])
    if not isinstance(frame, list) and frame:
        return [ValueError(f"{shown(frame)}; expected a list of people")]
    if frame and all(isinstance(part, list) for part in frame):  # one image of a batch
        frame = [person for part in frame for person in part]
    return [person for person in frame or () if person not in (None, "", [], {})]


def _frames(content: Content) -> Frames:
    """The frames of a content."""
    value = content.value
    if isinstance(value, dict) and isinstance(value.get("annotations"), list):
        return _annotated(content, value)
    if isinstance(value, dict) and not any(key in value for key in (*PEOPLE, "keypoints", *FLAT)):
        frames = [(name, _people(content, frame)) for name, frame in value.items()]  # files, or images in one
        bad = "{}; expected the people of a frame"
        return [
            (name, people, time_of(value[name]))
            if _some(people)
            else (
                name,
                [value[name] if isinstance(value[name], ValueError) else ValueError(bad.format(shown(value[name])))],
                None,
            )
            for name, people in frames
        ]
    if isinstance(value, dict) and isinstance(value.get("instance_info"), list):
        value = value["instance_info"]
    predictions = value.get("predictions") if isinstance(value, dict) else None
    if isinstance(predictions, list) and all(isinstance(frame, list) for frame in predictions):
        value = predictions
    value = value if isinstance(value, list) else [value]
    if _most(value):
        stated: list[Any] = [entry(person, FRAME) if isinstance(person, dict) else None for person in value]
        if stated.count(None) * 2 > len(stated):
            times = [time_of(person) for person in value]
            if None in times:
                return [(0, value, None)]
            stated = np.unique(np.array(times, np.float64), return_inverse=True)[1].reshape(-1).tolist()
            content.counted = True
        rows, number = [], 0
        for said, person in zip(stated, value, strict=True):
            number = number if said is None else said
            lost = said is None and _format_of(person)
            people = [ValueError("a person without the number of a frame") if lost else person]
            rows.append((number, people, time_of(person)))
        return rows
    stated = [entry(part, FRAME) if isinstance(part, dict) else None for part in value]
    if None in stated:
        content.counted, stated = True, list(range(len(value)))
    return [(number, _people(content, part), time_of(part)) for number, part in zip(stated, value, strict=True)]


def _annotated(content: Content, value: dict) -> Frames:
    """The frames of a COCO annotation file: {"images": [...], "annotations": [...], "categories": [...]}."""
    images = [image for image in value.get("images") or () if isinstance(image, dict)]
    sizes = [(image.get("width"), image.get("height")) for image in images]
    if sizes and sizes.count(sizes[0]) == len(sizes) and all(isinstance(s, int) and s > 0 for s in sizes[0]):
        content.image_size = sizes[0]  # type: ignore[assignment]
    categories = [c["keypoints"] for c in value.get("categories") or () if isinstance(c, dict) and c.get("keypoints")]
    content.joints = content.joints or (_of_names(categories[0]) if len(categories) == 1 else None)
    people: dict[str, list] = {str(image.get("id")): [] for image in images}
    known = len(people)
    for row in value["annotations"]:
        if isinstance(row, dict) and row.get("keypoints"):  # others have boxes or outlines alone
            people.setdefault(str(row.get("image_id")), []).append(row)
    if len(people) > known:
        raise UserError(f"{content.path}: {len(people) - known} images of annotations are not under 'images'")
    names: list[Any] = [str(image.get("file_name")) for image in images]
    try:
        frames_of_names(content.path, names)
    except UserError:
        names = list(range(len(images)))
    return [(name, found, None) for name, found in zip(names, people.values(), strict=True)]


def _some(people: list) -> bool:
    return not people or any(_format_of(person) for person in people)


def _most(people: list) -> bool:
    there = [person for person in people if person]
    return sum(_format_of(person) is not None for person in there) * 2 > len(there)


def _recognise(content: Content) -> tuple[str | None, Frames]:
    """The name of the format, ANY for none in particular, and the frames; None for another."""
    if content.people is None:
        frames = _frames(content)
        kinds = Counter(_format_of(person) for _, people, _ in frames for person in people)
        name = kinds.most_common(1)[0][0] if kinds else ANY
        if name == "openpose" and content.kind == "json" and isinstance(content.value, dict):
            name = "openpose" if set(PEOPLE) & set(content.value) else "alphapose"
        content.people = name, frames
    return content.people


def _fits(name: str) -> Callable[[Content], bool]:
    return lambda content: _recognise(content)[0] in (name, ANY)


def _read(content: Content) -> Iterator[Found]:
    (name, frames), value = _recognise(content), content.value
    if name == ANY:
        return
    if content.kind == "json" and len(frames) == 1 and len(frames[0][1]) > MOST_PEOPLE:
        raise UserError(
            f"{content.path} holds {len(frames[0][1])} people of one frame, as none has the number of a frame; expected"
            " 'frame' or 'image_id' beside the keypoints of each, or a list of people for each frame"
        )
    stated_names = [stated for stated, people, _ in frames if isinstance(stated, str) and _some(people)]
    names = frames_of_names(content.path, dict.fromkeys(stated_names))
    annotated = isinstance(value, dict) and "annotations" in value
    first = 0
    if isinstance(value, dict) and "instance_info" in value:
        content.joints = content.joints or _named(value.get("meta_info"))
        first = min(1, *(as_whole("a frame's number", stated) for stated, *_ in frames))
    for stated, people, time in frames:
        if isinstance(stated, str) and stated not in names:
            yield stated, people[0], None
            continue
        frame = names[stated] if isinstance(stated, str) else as_whole("a frame's number", stated) - first
        yield frame, None, None
        content.add_time(frame, {"time": time})
        for person in people:
            try:
                pose = _pose(content, person)
                if annotated and pose is not None:  # 1 is labelled and hidden, 2 is labelled and seen
                    pose[:, 2] = np.minimum(pose[:, 2], 1)
                yield frame, pose, person_of(person)
            except ValueError as problem:
                yield frame, problem, None


def _pose(content: Content, person: dict) -> np.ndarray | None:
    """The keypoints [J,3] of a person; None of somebody of whom there is nothing but hands or a face."""
    if isinstance(person, ValueError):
        raise person
    key = next((key for key in (*FLAT, "keypoints") if isinstance(person, dict) and key in person), None)
    if key is None:
        raise ValueError(f"{shown(person)}; expected a person with 'keypoints'")
    points = person[key]
    if key in FLAT:
        return _of_list(content, key, points) if points else None
    if isinstance(points, dict):
        x: Any = points.get("x")
        columns = [x, points.get("y"), points.get("visible") or [1.0] * len(x if isinstance(x, list) else ())]
        if not all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
            raise ValueError(f"x, y and visible are {shown(points)}; expected equal lists")
        return as_numbers("keypoints", columns).T if columns[0] else None
    scored = next((key for key in SCORES if key in person), None)
    if scored is None:
        if isinstance(points, list) and all(isinstance(point, dict) for point in points):
            points = [[point.get("x"), point.get("y"), point.get("score", 1.0)] for point in points]
        return _of_list(content, "keypoints", points)
    points = as_numbers("keypoints", points)
    scores = as_numbers(scored, person[scored])
    if points.ndim != 2 or points.shape[1] not in (2, 3) or scores.shape != points.shape[:1] or not len(points):
        raise ValueError(
            f"keypoints of shape {list(points.shape)} and scores of shape {list(scores.shape)}; expected [J,2] and [J]"
        )
    return np.concatenate([points[:, :2], scores[:, None]], axis=1)


def _of_list(content: Content, key: str, values: Any) -> np.ndarray:
    """A pose [J,3] of a flat list x, y, c, x, y, c, ... or x, y, x, y, ..., or of one list for each joint."""
    numbers = as_numbers(key, values)
    if numbers.ndim == 1:
        counts = content.counts() if content.joints else {17}
        pairs = len(numbers) % 3 > 0 and len(numbers) % 2 == 0 and len(numbers) // 2 in counts
        channels = 2 if pairs else 3
        if len(numbers) % channels or not len(numbers):
            raise ValueError(f"{key}: {len(numbers)} numbers for a pose; expected x, y, confidence of each joint")
        numbers = numbers.reshape(-1, channels)
    if numbers.ndim != 2 or numbers.shape[1] not in (2, 3) or not len(numbers):
        raise ValueError(f"{key}: a pose of shape {list(numbers.shape)}; expected x, y, confidence of each joint")
    return with_confidence(numbers)


def _named(meta: Any) -> str | None:
    """The convention whose joints MMPose's meta_info names."""
    names = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
    return _of_names([names.get(str(number)) for number in range(len(names))]) if isinstance(names, dict) else None


def _of_names(names: Any) -> str | None:
    return next((c.name for c in CONVENTIONS.values() if list(c.joints) == names), None)


# ---- labels of Ultralytics, `save_txt=True`: labels/NAME_12.txt, a line for each person, `class x y w h` and x, y,
# visible of each joint, all in parts of the image, then the confidence (save_conf) and the id (tracking) where they
# were asked for.  Frames count from 1; where there is no label of frame 0, they are counted from 0 here.

BOX = 5  # class x y w h


def _lines(text: str) -> list[list]:
    return [line.split() for line in text.splitlines() if line.strip()]


def _is_label(line: list[str]) -> bool:
    return len(line) > BOX and line[0].isdigit()


def _labels_fit(content: Content) -> bool:
    good = [all(map(_is_label, _lines(text))) for text in content.value.values()]
    return sum(good) * 2 > len(good)


def _read_labels(content: Content) -> Iterator[Found]:
    files = {name: _lines(text) for name, text in content.value.items()}
    names = [name for name, lines in files.items() if all(map(_is_label, lines))]  # others are classes.txt and the like
    frames = frames_of_names(content.path, names) if len(names) > 1 else dict.fromkeys(names, 0)
    first = min(1, *frames.values(), 1)
    joints, channels = _layout(content, Counter(len(line) for name in names for line in files[name]))
    end = BOX + joints * channels
    poses: list[tuple[int, np.ndarray, list[float]]] = []  # with the numbers after the joints
    for name, lines in files.items():
        if name not in frames:
            yield name, ValueError("text that is no labels"), None
            continue
        yield frames[name] - first, None, None
        for line in lines:
            try:
                numbers = [float(word) for word in line]
            except ValueError as problem:
                yield frames[name] - first, ValueError(f"{problem}; expected numbers"), None
                continue
            if 0 <= len(line) - end <= 2:
                pose = with_confidence(np.array(numbers[BOX:end]).reshape(joints, channels))
                poses.append((frames[name] - first, pose, numbers[end:]))
            else:
                yield frames[name] - first, ValueError(f"{len(line)} numbers; expected {end} to {end + 2}"), None
    lengths = {len(more) for *_, more in poses}  # a confidence is in all lines or none, an id in those of the tracked
    ids = 2 not in lengths and (0 in lengths or all(more[0].is_integer() for *_, more in poses))
    for frame, pose, more in poses:
        yield frame, pose, int(more[-1]) if len(more) == 2 or (more and ids) else None


def _layout(content: Content, lengths: Counter[int]) -> tuple[int, int]:
    """The joints of most lines and the numbers of each: COCO's 17 where they fit, as published models have them."""
    length = max(lengths, key=lengths.__getitem__, default=BOX + 3 * 17)
    for joints in sorted(content.counts(), key=lambda count: (count != 17, count)):
        for channels in (3, 2):
            if 0 <= length - BOX - joints * channels <= 2:
                return joints, channels
    counts = ", ".join(map(str, sorted(content.counts())))
    raise UserError(f"{content.path}: lines of {length} numbers; expected class, box and a pose of {counts} joints")


DETECTORS = (
    Format("alphapose", "AlphaPose JSON", ("json", "folder"), _fits("alphapose"), _read),
    Format("coco", "COCO results JSON", ("json",), _fits("coco"), _read),
    Format("mmpose", "MMPose JSON", ("json", "folder"), _fits("mmpose"), _read),
    Format("ultralytics", "Ultralytics JSON", ("json", "folder"), _fits("ultralytics"), _read),
    Format("openpose", "OpenPose JSON", ("folder", "json"), _fits("openpose"), _read),
    Format("ultralytics_labels", "Ultralytics labels", ("labels",), _labels_fit, _read_labels),
)
