"""`glagcn live` of files and standard input, with stand-ins for detectors."""

import io
import json
import sys
from pathlib import Path

import pytest

from glagcn.commands import live
from tests.command_line import assert_refused
from tests.commands.filmed import FPS, SIZE
from tests.poses.stand_ins import film_people, install


def test_live_writes_a_line_for_each_pose(verb, shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    install(monkeypatch, "mediapipe")
    film_people(Path("clip.mp4"), 12, people=2)
    for model, file in (("causal", "a.jsonl"), ("centred", "b.jsonl")):
        ended = verb(f"live clip.mp4 --checkpoint {model} --out {file}")
        assert ended.code == 0, ended.err
        header, *rows = map(json.loads, Path(file).read_text().splitlines())
        assert (header["image_size"], len(header["joints"])) == (list(SIZE), len(rows[0]["pose_mm"]))
        assert len(rows) >= 12  # the grid has 30 places a second, the film 25
        assert rows[0]["time_s"] == pytest.approx(0, abs=0.05)
        assert rows[-1]["time_s"] == pytest.approx(11 / FPS, abs=0.05)
    ended = verb("live clip.mp4 --out -")
    assert ended.out == Path("a.jsonl").read_text()  # messages are on stderr
    assert "12 frames, with a person in 12" in ended.err


def test_live_reads_standard_input(verb, shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    install(monkeypatch, "ultralytics", "lap")
    film_people(Path("clip.mkv"), 12, people=2)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("clip.mkv").read_bytes())))
    ended = verb("live - --out a.jsonl")
    assert ended.code == 0, ended.err
    assert len(Path("a.jsonl").read_text().splitlines()) == 13


def test_live_refusals(verb, shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film_people(Path("empty.mp4"), 6, people=0)
    install(monkeypatch)
    assert_refused(verb("live empty.mp4 --out -"), 'pip install "glagcn\\[detect\\]"')
    install(monkeypatch, "mediapipe")
    assert_refused(verb("live front --out -"), "CAMERA front", "number of a camera, a video file, or -")
    assert_refused(verb("live empty.mp4 --out a.jsonl"), "finds nobody in any of 6 frames")
    assert_refused(verb("live empty.mp4 --out no/a.jsonl"), "cannot write no/a.jsonl")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if live.sys.platform == "linux":  # not on an emulated Windows
        assert_refused(verb("live empty.mp4"), "no display for a window", "--out -")
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert_refused(verb("live 0 --out -"), "pip install opencv-python")
