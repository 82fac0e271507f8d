"""The page that plays people: what is in it, and in Chromium, where there is one, what it does."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from glagcn.poses.writers.html import page, people_html
from glagcn.skeletons import get_skeleton
from tests.poses.people import person, random_poses

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TRY = """<script>
const seen = [], note = () => seen.push([time, playing, view.turn, view.away, data.people[1].shown]);
const drag = (type, x) => space.dispatchEvent(new PointerEvent(type, { pointerId: 1, clientX: x, clientY: 300 }));
space.setPointerCapture = () => {};
note();
find("play").click(); drag("pointerdown", 300); drag("pointermove", 400); drag("pointerup", 400); note();
find("scrub").value = 0.2; find("scrub").oninput(); space.dispatchEvent(new WheelEvent("wheel", { deltaY: 500 }));
find("people").querySelectorAll("input")[1].click(); note();
window.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" })); space.ondblclick(); note();
document.body.dataset.seen = JSON.stringify(seen);
</script>"""


def two_people():
    skeleton = get_skeleton("h36m17")
    root = np.linspace((0, 0, 3000), (500, 0, 4000), 10)
    one = person(random_poses(skeleton, 10), root=root)
    other = person(random_poses(skeleton, 4), frames=np.array([2, 3, 7, 8]), person=7)
    other.pixels[1, 4] = np.nan
    return [one, other]


def data_of(text: str) -> dict:
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_holds_the_people_and_needs_nothing_else(tmp_path):
    people = two_people()
    (written,) = people_html(tmp_path / "a.html", people)
    text = written.read_text(encoding="utf-8")
    assert not re.search(r"https?:|src=|href=|import[ (]|@import|fetch\(", text)
    data = data_of(text)
    assert data["joints"] == list(people[0].joints)
    assert [each["person"] for each in data["people"]] == [0, 7]
    one, other = data["people"]
    upright = (people[0].xyz + people[0].root[:, None])[..., [0, 2, 1]] * [1, 1, -1]
    np.testing.assert_allclose(np.reshape(one["xyz"], (10, 17, 3)), upright, atol=0.51)
    assert other["frames"] == [2, 3, 7, 8]
    np.testing.assert_allclose(other["times"], people[1].seconds, atol=1e-4)
    pixels = np.array(other["pixels"], float).reshape(4, 17, 2)
    assert np.isnan(pixels[1, 4]).all()
    assert np.isfinite(pixels).sum() == pixels.size - 2


def test_a_name_cannot_end_the_data():
    skeleton = get_skeleton("h36m17")
    skeleton = replace(skeleton, joints=("</script><b>", *skeleton.joints[1:]))
    one = person(random_poses(skeleton, 3), skeleton=skeleton)
    text = page([one])
    assert "</script><b>" not in text
    assert data_of(text)["joints"][0] == "</script><b>"


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
def test_in_a_browser_it_plays_orbits_and_scrubs(tmp_path):
    path = tmp_path / "a.html"
    path.write_text(page(two_people()).replace("</body>", f"{TRY}</body>"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=900,600", "--virtual-time-budget=500",
             f"--user-data-dir={tmp_path / 'profile'}"]  # fmt: skip
    shown = subprocess.run(
        [BROWSER, *flags, f"--screenshot={tmp_path / 'a.png'}", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    begin, dragged, scrubbed, reset = json.loads(re.search(r'data-seen="([^"]*)"', shown.stdout)[1])
    assert begin[1] is True
    assert (dragged[1], dragged[2]) == (False, pytest.approx(begin[2] - 0.8))
    assert scrubbed[0] == pytest.approx(0.2)
    assert scrubbed[3] > 1.5 * begin[3]
    assert scrubbed[4] is False
    assert reset[0] == pytest.approx(0.2 + 1 / 25)
    assert reset[2:4] == begin[2:4]
    assert "0.24 s, frame 6" in shown.stdout
    with Image.open(tmp_path / "a.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 100  # bones of several shades
