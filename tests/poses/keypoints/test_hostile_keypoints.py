"""Any content is read or refused with a UserError; nothing else escapes."""

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from glagcn.errors import UserError
from glagcn.poses.keypoints.read import read_keypoints
from tests.poses.keypoints import written
from tests.poses.keypoints.test_formats import LAYOUTS
from tests.poses.keypoints.written import SIZE

MUTATIONS = int(os.environ.get("KEYPOINT_MUTATIONS", "12"))
SEED = int(os.environ.get("KEYPOINT_SEED", "0"))
VALUES = (
    None, True, "", "x", "12", "9" * 30, -1, 0, 3, 1e308, float("inf"), float("nan"), 10**400, 2**63, {}, [], [[]],
    [None], [{}], {"x": 1}, {"0": []}, [[1, 2], [3]], ["a", "b"], [1] * 51, [[[1, 2, 3]] * 17],
)  # fmt: skip


def change_value(rng: random.Random, text: str) -> str:
    """A JSON text with one of its values replaced, removed or doubled."""
    try:
        value = json.loads(text)
    except ValueError:
        return change_text(rng, text.encode()).decode(errors="replace")
    node, place = {"": value}, ""
    while isinstance(node[place], dict | list) and node[place] and rng.random() < 0.85:
        node = node[place]
        place = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
    choice = rng.random()
    if choice < 0.7:
        node[place] = rng.choice(VALUES)
    elif choice < 0.85 and isinstance(node, list):
        node.append(node[place])
    elif isinstance(node, list) or place != "":
        del node[place]
    return json.dumps(node[""] if place == "" and "" in node else value)


def change_text(rng: random.Random, content: bytes) -> bytes:
    """Some bytes changed, removed or put in, or the end cut off."""
    for _ in range(rng.choice((1, 1, 3, 30))):
        at = rng.randrange(len(content) + 1)
        choice = rng.random()
        if choice < 0.15:
            content = content[:at]
        elif choice < 0.5:
            content = content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
        elif choice < 0.75:
            content = content[:at] + content[at + rng.randrange(40) :]
        else:
            content = content[:at] + rng.choice((b",", b"-", b"9" * 20, b"\n", b"[", b"nan", b"\0")) + content[at:]
    return content


@pytest.mark.parametrize("layout", LAYOUTS)
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path, layout):
    keypoints = written.people(LAYOUTS[layout][1])
    path = getattr(written, layout)(tmp_path, keypoints)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for number in range(MUTATIONS):
        rng = random.Random(f"{SEED} {layout} {number}")
        file = rng.choice(files)
        whole = file.read_bytes()
        if file.suffix == ".json" and rng.random() < 0.7:
            file.write_text(change_value(rng, whole.decode()))
        else:
            file.write_bytes(change_text(rng, whole))
        try:
            found = read_keypoints(path, image_size=rng.choice((SIZE, None)))
        except UserError as error:
            refused = str(error)
        else:
            refused = ""
            check(found)
        file.write_bytes(whole)
        assert not refused or (str(path) in refused and len(refused) < 2000), refused


def check(found) -> None:
    """What is promised of everything that is read."""
    assert len(found.frames) == len(found.keypoints) == len(found.persons) > 0
    assert np.isfinite(found.keypoints).all()
    assert (np.diff(found.frames) >= 0).all()
    assert found.frames[0] >= 0
    assert (found.keypoints[found.keypoints[..., 2] == 0] == 0).all()
    assert (found.keypoints[..., 2] > 0).any(axis=1).all()


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
