"""MPI-INF-3DHP: the tables of its official evaluation, and how papers and tools average errors to MPJPE, PCK and AUC.

A protocol is an annotation, a joint set and an aggregation.  Metrics of different protocols are not comparable.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from glagcn.data.mpi_inf_3dhp.facts import TEST_SEQUENCES
from glagcn.errors import UserError
from glagcn.evaluate.metrics import MPJPE, as_array, joint_errors, joint_metrics, mean
from glagcn.skeletons import get_skeleton

Rows = dict[str, dict[str, float]]  # {row: {column: value}}
OfficialTables = dict[str, dict[str, Rows]]
Scores = dict[str, float]

JOINTS = get_skeleton("mpi3dhp17").joints

# The joints of the official PCK and AUC, without pelvis, spine and head (mpii_get_joints.m).
GROUPS = {
    "Head": [0], "Neck": [1], "Shou": [2, 5], "Elbow": [3, 6], "Wrist": [4, 7], "Hip": [8, 11], "Knee": [9, 12],
    "Ankle": [10, 13],
}  # fmt: skip
SCORED_JOINTS = sorted(joint for joints in GROUPS.values() for joint in joints)

# Number k of the data set's activity_annotation is entry k - 1.
ACTIVITIES = (
    "Standing/Walking", "Exercising", "Sitting", "Reaching/Crouching", "On The Floor", "Sports", "Miscellaneous",
)  # fmt: skip


# Valid frames of the first release.  P-STMO's spreadsheet and later ones weight results on the current files with them.
PSTMO_WEIGHTS = (603, 540, 505, 553, 276, 452)

# The test sequences of each scene, from the README of the data set.
SCENES = {"studio green screen": (1, 2), "studio": (3, 4), "outdoor": (5, 6)}


def official_3dhp(
    predicted: Sequence[Any], target: Sequence[Any], activity: Sequence[Any] | None, names: Sequence[str] | None = None
) -> OfficialTables:
    """The tables of the official evaluation (mpii_test_predictions_py.m), equal in every digit that it prints.

    predicted, target  any number of sequences [n,17,3], millimetres, relative to the root.  They are not aligned or
                       centred, and the root counts.
    activity           [n] numbers 1..7 for each sequence; None: no "activitywise" table.
    names              the rows of the sequences; None: TestSeq1..N.

    Returns {"sequencewise"|"activitywise": {"MPJPE"|"PCK"|"AUC": {row: {column: value}}}}: rows the sequences, or the
    activities and All (every frame pooled); columns the 17 joints and Average, or the joint groups and Total.  A row
    without frames is NaN.  Raises UserError for mismatched shapes, missing or repeated names, or unknown activities.
    """
    errors = sequence_errors(predicted, target)
    rows = [f"TestSeq{number}" for number in range(1, len(errors) + 1)] if names is None else list(names)
    if len(set(rows)) != len(rows) or len(rows) != len(errors):
        raise UserError(f"names of the sequences are {', '.join(rows)}; expected {len(errors)} different names")
    tables = {"sequencewise": _tables(dict(zip(rows, errors, strict=True)))}
    if activity is not None:
        labels = [as_array(values).reshape(-1) for values in activity]  # the published files have [n,1]
        found, expected = ([len(part) for part in parts] for parts in (labels, errors))
        if found != expected:
            raise UserError(f"activity labels for {found} frames; the sequences have {expected}")
        pooled, numbers = np.concatenate(errors), np.concatenate(labels)
        if wrong := set(np.unique(numbers)) - set(range(1, len(ACTIVITIES) + 1)):
            raise UserError(f"unknown activities {sorted(map(float, wrong))}; expected 1 to {len(ACTIVITIES)}")
        by_activity = {name: pooled[numbers == number] for number, name in enumerate(ACTIVITIES, start=1)}
        tables["activitywise"] = _tables(by_activity | {"All": pooled})
    return tables


def sequence_errors(predicted: Sequence[Any], target: Sequence[Any]) -> list[np.ndarray]:
    """The joint errors [n,17] of every sequence; arguments and UserError as in `official_3dhp`."""
    if len(predicted) != len(target) or not len(target):
        raise UserError(f"{len(predicted)} predicted and {len(target)} target sequences; expected one or more of each")
    errors = [joint_errors(*pair) for pair in zip(predicted, target, strict=True)]
    for number, frames in enumerate(errors, start=1):
        if frames.shape[1] != len(JOINTS):
            raise UserError(f"sequence {number} has {frames.shape[1]} joints; 3DHP's evaluation expects {len(JOINTS)}")
    return errors


def _tables(rows: dict[str, np.ndarray]) -> dict[str, Rows]:
    """A table for each metric, by title, from joint errors [n,17] for each row."""
    tables: dict[str, Rows] = {MPJPE.title: {}}
    for name, errors in rows.items():
        joints = mean(errors, axis=0)
        tables[MPJPE.title][name] = dict(zip(JOINTS, joints.tolist(), strict=True)) | {"Average": float(joints.mean())}
    # The official total weights the groups by their number of joints, which equals the metric over all 14 joints.
    groups = GROUPS | {"Total": SCORED_JOINTS}
    for metric in joint_metrics():
        tables[metric.title] = {
            name: {group: metric.share(errors[:, joints]) for group, joints in groups.items()}
            for name, errors in rows.items()
        }
    return tables


def scores_by_protocol(errors: Sequence[np.ndarray], annotation: str, names: Sequence[str]) -> dict[str, Scores]:
    """{protocol: {"mpjpe_mm", "pck", "auc"}} of the joint errors [n,17] of every sequence, in mm.

    annotation  annotation of the target: "univ", "annot3", or "" for neither.
    names       names of the sequences.
    Protocols for the other annotation are left out, and those for six sequences unless these are the test set.

    official-*   14 joints, all frames pooled (MATLAB's row All); named by the annotation
    pstmo-2929   univ: sequences weighted with the frame counts of the first release (P-STMO)
    mean-of-6    unweighted mean of the six sequences (D3DP), on either annotation
    mmpose17     annot3: 17 joints, pooled (mmpose 0.x)
    hdformer     groups of joints and the six sequences weighted equally (HDFormer), on either annotation
    """
    pooled = np.concatenate(errors)
    named = {f"official-{annotation}" if annotation else "official": joint_scores(pooled)}
    if _are_test_set(annotation, names):
        sequences = [joint_scores(frames) for frames in errors]
        if annotation == "univ":
            named["pstmo-2929"] = weighted(sequences, PSTMO_WEIGHTS)
        named["mean-of-6"] = weighted(sequences, [1] * 6)
        groups = [[joint_scores(frames, joints) for joints in GROUPS.values()] for frames in errors]
        named["hdformer"] = weighted([weighted(scores, [1] * len(GROUPS)) for scores in groups], [1] * 6)
    if annotation == "annot3":
        named["mmpose17"] = joint_scores(pooled, range(pooled.shape[1]))
    return named


def scenes(errors: Sequence[np.ndarray], annotation: str, names: Sequence[str]) -> dict[str, Scores]:
    """{scene: {"mpjpe_mm", "pck", "auc"}} over the pooled frames of its sequences; empty unless they are the test set.

    Arguments as in `scores_by_protocol`.
    """
    if not _are_test_set(annotation, names):
        return {}
    return {
        name: joint_scores(np.concatenate([errors[number - 1] for number in pair])) for name, pair in SCENES.items()
    }


def _are_test_set(annotation: str, names: Sequence[str]) -> bool:
    """Whether the sequences are the test set of MPI-INF-3DHP.  Those of the demo have its names, but no annotation."""
    return bool(annotation) and tuple(names) == TEST_SEQUENCES


def joint_scores(errors: np.ndarray, joints: Sequence[int] = tuple(SCORED_JOINTS)) -> Scores:
    """MPJPE over all joints of errors [n,17] in mm; PCK and AUC over `joints`."""
    scored = errors[:, list(joints)]
    return {MPJPE.name: float(mean(errors))} | {metric.name: metric.share(scored) for metric in joint_metrics()}


def weighted(scores: Sequence[Scores], weights: Sequence[float]) -> Scores:
    """The weighted mean of every metric."""
    return {name: float(np.average([entry[name] for entry in scores], weights=weights)) for name in scores[0]}
