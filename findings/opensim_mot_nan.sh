#!/usr/bin/env bash
# OpenSim 4.6 (PyPI wheel, June 2026), a .mot file of angles in which one value of one row is unknown, written as NaN.
#
# One would guess: what reads NaN in a .trc file (TimeSeriesTableVec3, inverse kinematics: a missing marker) reads it in
# a .mot file too, or refuses the file.
# What happens: OpenSim::Storage, the class that reads motions in many of its tools, logs all
# rows as read ("nr=5"), takes the NaN for 0, keeps the values of the row before in the columns after it, and drops every
# later row.  No warning, no exception.
# TimeSeriesTable reads the same file whole, with the NaN.
# Why it matters: a writer of joint angles that marks gaps as TRC wants it gives motions that end at the first gap, with
# a joint that is straight there.  Rows with gaps have to be left out, or filled.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opensim==4.6
cd "$folder" # OpenSim writes a log where it runs
"$folder/venv/bin/python" - <<'PY'
import math
import sys

import opensim

rows = [f"{k / 10:.1f}\t{10 + k}\t{'NaN' if k == 2 else 20 + k}\t{30 + k}" for k in range(5)]
head = ["angles", "version=1", "nRows=5", "nColumns=4", "inDegrees=yes", "endheader", "time\thip\tknee\tankle"]
with open("angles.mot", "w") as file:
    file.write("\n".join([*head, *rows]) + "\n")

table = opensim.TimeSeriesTable("angles.mot")
knee = [table.getDependentColumn("knee")[row] for row in range(table.getNumRows())]
storage = opensim.Storage("angles.mot")
read = []
for row in range(storage.getSize()):
    data = storage.getStateVector(row).getData()
    read.append([data.get(column) for column in range(data.size())])
print("opensim", opensim.GetVersion())
print("TimeSeriesTable:", len(knee), "rows, knee", knee)
print("Storage:", len(read), "rows,", read)
as_described = len(knee) == 5 and math.isnan(knee[2]) and len(read) == 3 and read[2][1] == 0
print("as described" if as_described else "CHANGED")
sys.exit(not as_described)
PY
