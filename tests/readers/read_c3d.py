"""Read person.c3d with ezc3d and with c3d, and compare with person.npz."""

import sys
import warnings
from pathlib import Path

import c3d
import ezc3d
import numpy as np

folder = Path(sys.argv[1])
truth = np.load(folder / "person.npz")
x, y, z = np.moveaxis(truth["poses_mm"] + truth["root_mm"][:, None], -1, 0)
expected = np.full((truth["frame"][-1] + 1, len(truth["joints"]), 3), np.nan)
expected[truth["frame"]] = np.stack([x, z, -y], axis=-1)
there = np.isfinite(expected[:, 0, 0])
assert 0 < there.sum() < len(there)

read = ezc3d.c3d(str(folder / "person.c3d"))
point = read["parameters"]["POINT"]
assert (point["UNITS"]["value"], point["RATE"]["value"][0]) == (["mm"], 50.0)
assert len(point["LABELS"]["value"]) == point["USED"]["value"][0] == expected.shape[1]
one = read["data"]["points"][:3].transpose(2, 1, 0)
assert (np.isnan(one).all(axis=(1, 2)) == ~there).all()
assert ((read["data"]["meta_points"]["residuals"][0] == -1).all(axis=0) == ~there).all()

warnings.filterwarnings("ignore", message="No analog data")
with (folder / "person.c3d").open("rb") as file:
    reader = c3d.Reader(file)
    assert reader.point_rate == 50
    assert [label.strip() for label in reader.point_labels] == point["LABELS"]["value"]
    rows = np.stack([points for _, points, _ in reader.read_frames()])
assert ((rows[..., 3] == -1).all(axis=1) == ~there).all()
for name, places in (("ezc3d", one), ("c3d", rows[..., :3])):
    apart = np.abs(places[there] - expected[there]).max()
    assert apart < 0.01, f"{name}: {apart} mm"
    print(f"{name}: {len(places)} frames, {there.sum()} with the person, positions within {apart:.4f} mm")
