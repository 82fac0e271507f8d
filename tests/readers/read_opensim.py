"""Read person.trc and person.mot with OpenSim, compare with person.npz, and run its scaling and inverse kinematics."""

import sys
import xml.etree.ElementTree as Xml
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import opensim

opensim.Logger.setLevelString("Error")  # the model's geometry is not needed
folder = Path(sys.argv[1]).resolve()
truth = np.load(folder / "person.npz")
x, y, z = np.moveaxis(truth["poses_mm"] + truth["root_mm"][:, None], -1, 0)
frames = np.arange(truth["frame"][0], truth["frame"][-1] + 1)
expected = np.full((len(frames), len(truth["joints"]), 3), np.nan)
expected[truth["frame"] - frames[0]] = np.stack([x, z, -y], axis=-1)
there = np.isfinite(expected[:, 0, 0])

# ---- markers
trc, mot = str(folder / "person.trc"), str(folder / "person.mot")
table = opensim.TimeSeriesTableVec3(trc)
names = list(table.getColumnLabels())
rows = np.array(
    [[row[k].to_numpy() for k in range(len(names))] for row in map(table.getRowAtIndex, range(len(frames)))]
)
assert (table.getNumRows(), len(names)) == expected.shape[:2]
np.testing.assert_allclose(table.getIndependentColumn(), frames / 50, atol=1e-6)
assert (np.isnan(rows).all(axis=(1, 2)) == ~there).all()
apart = np.abs(rows - expected)[there].max()
assert apart < 0.001, f"{apart} mm"
data = opensim.MarkerData(trc)
assert (data.getNumFrames(), data.getNumMarkers(), data.getUnits().getLabel()) == (*expected.shape[:2], "millimeters")
print(f"TRC: {len(frames)} frames, {there.sum()} with the person, {len(names)} markers, within {apart:.4f} mm")

# ---- angles
storage, angles = opensim.Storage(mot), opensim.TimeSeriesTable(mot)
assert storage.getSize() == angles.getNumRows() == there.sum()
assert storage.isInDegrees()
assert storage.getColumnLabels().getSize() == angles.getNumColumns() + 1
print(f"MOT: {storage.getSize()} rows, {', '.join(angles.getColumnLabels())}")


# ---- scaling and inverse kinematics with the model and set-ups of Pose2Sim
setups = Path(find_spec("Pose2Sim").submodule_search_locations[0]) / "OpenSim_Setup"
model = opensim.Model(str(setups / "Model_Pose2Sim_simple.osim"))
model.set_MarkerSet(opensim.MarkerSet(str(setups / "Markers_Coco17.xml")))
model.initSystem()
model.printToXML(str(folder / "model.osim"))


def setup(name, **values):
    """A set-up of Pose2Sim with other values; measurements with its Nose, which is no joint, are left out."""
    tree = Xml.parse(setups / name)
    for key, value in values.items():
        for element in tree.iter(key):
            element.text = str(value)
    for measurement in tree.iter("Measurement"):
        if any("Nose" in (pair.text or "") for pair in measurement.iter("markers")):
            measurement.find("apply").text = "false"
    tree.write(folder / name)
    return str(folder / name)


times = f"{frames[0] / 50} {frames[40] / 50}"
scaling = setup(
    "Scaling_Setup_Pose2Sim_Coco17.xml", model_file="model.osim", marker_file="person.trc", time_range=times,
    scaling_order=" measurements", output_model_file="scaled.osim",
)  # fmt: skip
tree = Xml.parse(scaling)
for placer in tree.iter("MarkerPlacer"):
    placer.find("apply").text = "false"
tree.write(scaling)
opensim.ScaleTool(scaling).run()
kinematics = setup(
    "IK_Setup_Pose2Sim_Coco17.xml", model_file=folder / "scaled.osim", marker_file=trc,
    output_motion_file=folder / "ik.mot", time_range=times, report_errors="true", results_directory=folder,
)  # fmt: skip
opensim.InverseKinematicsTool(kinematics).run()
found = opensim.TimeSeriesTable(str(folder / "ik.mot"))
print(f"IK: {found.getNumRows()} frames, {found.getNumColumns()} coordinates")
assert found.getNumRows() == 41
for name in ("knee_angle_r", "knee_angle_l", "hip_flexion_r", "hip_flexion_l"):
    ours, theirs = (table.getDependentColumn(name).to_numpy()[:41] for table in (angles, found))
    together = np.corrcoef(ours, theirs)[0, 1]
    print(f"{name}: correlation with that of the .mot {together:.2f}")
    assert together > 0.7
