"""The protocols of MPI-INF-3DHP: how papers and tools average errors to MPJPE, PCK and AUC.

A protocol is an annotation, a joint set and an aggregation.  Metrics of different protocols are not comparable.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from glagcn.data.sources.mpi_inf_3dhp.facts import TEST_SEQUENCES
from glagcn.evaluation.metrics import MPJPE, joint_metrics, mean
from glagcn.evaluation.mpi_inf_3dhp_tables import GROUPS, SCORED_JOINTS, sequence_errors

Scores = dict[str, float]

# Valid frames of the first release.  P-STMO's spreadsheet and later ones weight results on the current files with them.
PSTMO_WEIGHTS = (603, 540, 505, 553, 276, 452)

# The test sequences of each scene, from the README of the data set.
SCENES = {"studio green screen": (1, 2), "studio": (3, 4), "outdoor": (5, 6)}


def protocols(
    predicted: Sequence[Any], target: Sequence[Any], annotation: str, names: Sequence[str]
) -> dict[str, Scores]:
    """{protocol: {"mpjpe_mm", "pck", "auc"}} of predicted sequences [n,17,3], mm, relative to the root.

    annotation  annotation of the target: "univ", "annot3", or "" for neither.
    names       names of the sequences.
    Protocols for the other annotation are left out, and those for six sequences unless these are the test set.

    official-*   14 joints, all frames pooled (MATLAB's row All); named by the annotation
    pstmo-2929   univ: sequences weighted with the frame counts of the first release (P-STMO)
    mean-of-6    unweighted mean of the six sequences (D3DP), on either annotation
    mmpose17     annot3: 17 joints, pooled (mmpose 0.x)
    hdformer     groups of joints and the six sequences weighted equally (HDFormer), on either annotation

    Raises UserError as `metrics.official_3dhp` does.
    """
    errors = sequence_errors(predicted, target)
    pooled = np.concatenate(errors)
    named = {f"official-{annotation}" if annotation else "official": joint_scores(pooled)}
    if _are_test_set(annotation, names):
        sequences = [joint_scores(frames) for frames in errors]
        if annotation == "univ":
            named["pstmo-2929"] = weighted(sequences, PSTMO_WEIGHTS)
        named["mean-of-6"] = weighted(sequences, [1] * 6)
        named["hdformer"] = weighted([_score_groups(frames) for frames in errors], [1] * 6)
    if annotation == "annot3":
        named["mmpose17"] = joint_scores(pooled, range(pooled.shape[1]))
    return named


def scenes(predicted: Sequence[Any], target: Sequence[Any], annotation: str, names: Sequence[str]) -> dict[str, Scores]:
    """{scene: {"mpjpe_mm", "pck", "auc"}} over the pooled frames of its sequences; empty unless they are the test set.

    Arguments and UserError as in `protocols`.
    """
    errors = sequence_errors(predicted, target)
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


def _score_groups(errors: np.ndarray) -> Scores:
    groups = [joint_scores(errors, joints) for joints in GROUPS.values()]
    return weighted(groups, [1] * len(groups))
